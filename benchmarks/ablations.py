"""What each choice of the preset ``universal`` is worth: one training a row, all of the same budget.

    python benchmarks/ablations.py universal_train.parquet --validation mp20_val.parquet \
        --score lcs6a_val.parquet icsg3d_val.parquet mp20_val.parquet --out ablations

Every row is ``nesf train`` with the options shown on the same part of the training table. Its model is scored on the
same part of each table, of crystals that are in the range of the training part, so that no row is charged for what it
refuses; and on those of the validation table in four ways more: in cells that are doubled twice, with elements at
random, with noise on z, and encoded without looking back. What is there already is not done again. The table is written
to OUT/ablations.md as it grows.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import nesf
from nesf.codec import Codec
from nesf.config import UNIVERSAL
from nesf.crystal import Crystal
from nesf.data import load_dataset
from nesf.domain import Domain
from nesf.io.table import write_table
from nesf.metrics import score
from nesf.output import whole_file

SEED, SCORED = 0, 1000
"""Of the choice of crystals; most that are scored of a table."""
NESF = [sys.executable, "-m", "nesf"]
SCORES = 2
"""Counts up where rows are scored in another way."""
NOISE = 0.03
"""Standard deviation of what is added to each number of z in one of the scores."""
DOUBLED = range(5, 11)
"""Atoms of the crystals whose cells are doubled twice: 20 to 40 then."""
ELEMENTS = UNIVERSAL.network.layout.elements
COMMON = [1, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 20, 22, 26, 29, 30]
"""Elements that are in the range of every training part."""
ENCODER, DECODER = "--network.anchors.encoder-layers", "--network.anchors.decoder-layers"
ROWS: dict[str, list[str]] = {
    "the preset": [],
    "copied, and nothing learned": ["--training.learning-rate", "1e-12"],
    "nothing copied": ["--network.anchors.no-copied"],
    "no exchange between atoms": [ENCODER, "0"],
    "no exchange between tokens": [DECODER, "0"],
    "three rounds of each exchange": [ENCODER, "3", DECODER, "3"],
    "half as wide": ["--network.anchors.width", "64"],
    "squares of errors": ["--loss.measure", "squares"],
    "no loss of anchors": ["--loss.anchors", "0"],
    "elements never exchanged": ["--training.permute-elements", "0"],
    "elements never mixed": ["--training.mix-elements", "0"],
    "no shift, strain or rattle": ["--training.shift", "0", "--training.strain", "0", "--training.rattle", "0"],
    "no doubled cells": ["--training.double", "0"],
    "no noise on z": ["--training.latent-noise", "0"],
    "three times the noise on z": ["--training.latent-noise", "0.03"],
}


def main() -> None:
    """All rows asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("train", type=Path)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--score", type=Path, nargs="+", required=True)
    parser.add_argument("--crystals", type=int, default=12_000, help="of the training table, chosen at random")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("ablations"))
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    check_same(options)
    cut(options)
    done: dict[str, dict[str, list[float]]] = {}
    for name in options.rows:
        done[name] = row(name, options)
        write(options, done)


def check_same(options: argparse.Namespace) -> None:
    """End where the folder holds rows of another budget or of other tables, which would be taken for these."""
    tables = [str(table) for table in (options.train, options.validation, *options.score)]
    mine = json.dumps({"crystals": options.crystals, "epochs": options.epochs, "tables": tables, "scores": SCORES})
    kept = options.out / "options.json"
    theirs = kept.read_text(encoding="utf-8") if kept.exists() else "unknown ones"
    if any(options.out.iterdir()) and theirs != mine:
        raise SystemExit(f"{options.out} holds rows of other options, {theirs}; choose another --out.")
    kept.write_text(mine, encoding="utf-8")


def cut(options: argparse.Namespace) -> None:
    """Put the parts that are trained on and scored in the places of the tables."""

    def part(table: Path, most: int, domain: Domain | None = None) -> Path:
        # Of each table by itself, so that an interruption changes no choice.
        generator = np.random.default_rng([SEED, *table.stem.encode()])
        crystals = [c for c in load_dataset(table).crystals if domain is None or domain.refusal(c) is None]
        target = options.out / f"{table.stem}.parquet"
        if not target.exists():
            write_table(target, [crystals[i] for i in sorted(generator.permutation(len(crystals))[:most])])
        return target

    options.train = part(options.train, options.crystals)
    domain = Domain.of(load_dataset(options.train).crystals)
    domain = replace(domain, max_elements=ELEMENTS)
    options.score = [part(table, SCORED, domain) for table in options.score]
    options.validation = part(options.validation, SCORED, domain)


def row(name: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Train and score a variant, or read what an earlier call found."""
    run = options.out / name.replace(" ", "-").replace(",", "")
    flags = ["--preset", "universal", *ROWS[name]]
    if not (run / "model.safetensors").exists():
        epochs = ["--training.epochs", str(options.epochs), "--training.validate-every", str(options.epochs)]
        begin = [*NESF, "train", str(options.train), "--val", str(options.validation), "--out", str(run)]
        subprocess.run([*begin, *epochs, *flags], check=True)
    found = run / "ablation.json"
    if not found.exists():
        values = json.dumps(scores(nesf.load(run), options))
        with whole_file(found) as path:
            path.write_text(values, encoding="utf-8")
    return json.loads(found.read_text(encoding="utf-8"))


def scores(codec: Codec, options: argparse.Namespace) -> dict[str, list[float]]:
    """Counts, positions and species of each table, and of the validation table in harder ways."""
    found = {table.stem: scored(codec, load_dataset(table).crystals) for table in options.score}
    crystals = load_dataset(options.validation).crystals
    small = [twice(twice(crystal)) for crystal in crystals if len(crystal) in DOUBLED]
    small = [crystal for crystal in small if codec.refusal(crystal) is None]
    found[f"{len(small)} doubled twice"] = scored(codec, small)
    random = np.random.default_rng(SEED)
    found["of eight elements"] = scored(
        codec, [relabelled(crystal, random) for crystal in crystals if len(crystal) >= ELEMENTS]
    )
    found[f"noise {NOISE} on z"] = scored(codec, crystals, NOISE)
    network = codec.card.config.network
    codec.model.settings = replace(network, anchors=replace(network.anchors, corrections=0))
    found["without looking back"] = scored(codec, crystals)
    return found


def scored(codec: Codec, crystals: Sequence[Crystal], noise: float = 0.0) -> list[float]:
    """Wrong counts in %, position error (actual) in angstrom and wrong species in %, both to the nearest images.

    An atom on a face that noise takes across it is listed at the other end of the cell.
    """
    z = codec.encode(crystals)
    z = z + noise * np.random.default_rng(SEED).normal(size=z.shape).astype(z.dtype)
    result = score(list(zip(crystals, codec.decode(z, [crystal.id for crystal in crystals]), strict=True)))
    return [result.atoms_error_percent, result.periodic.position_actual, result.periodic.species_actual_percent]


def relabelled(crystal: Crystal, random: np.random.Generator) -> Crystal:
    """The crystal with elements at random, of as many kinds as there may be."""
    kinds = random.permutation(COMMON)[:ELEMENTS]
    numbers = random.permutation([*kinds, *random.choice(kinds, len(crystal) - ELEMENTS)])
    return Crystal(crystal.id, numbers, crystal.cart, crystal.cell)


def twice(crystal: Crystal) -> Crystal:
    """The crystal in a cell that is doubled along its shortest edge."""
    edge = int(np.argmin(crystal.lengths))
    cell = crystal.cell.copy()
    cell[edge] *= 2
    cart = np.concatenate((crystal.cart, crystal.cart + crystal.cell[edge]))
    return Crystal(crystal.id, np.concatenate((crystal.numbers, crystal.numbers)), cart, cell)


def write(options: argparse.Namespace, done: dict[str, dict[str, list[float]]]) -> None:
    """The table so far."""
    columns = list(next(iter(done.values())))
    lines = ["| variant | options | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for name, found in done.items():
        cells = ["{:.2f} / {:.4f} / {:.2f}".format(*found[column]) for column in columns]
        lines.append("| " + " | ".join([name, f"`{' '.join(ROWS[name])}`" if ROWS[name] else "", *cells]) + " |")
    (options.out / "ablations.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
