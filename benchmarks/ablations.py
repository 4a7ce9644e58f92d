"""What each choice of the preset ``universal`` is worth: one training a row, all of the same budget.

    python benchmarks/ablations.py universal_train.parquet --validation mp20_val.parquet \
        --score lcs6a_val.parquet icsg3d_val.parquet mp20_val.parquet --crystals 12000 --epochs 6 --out ablations

Every row is ``nesf train`` with the options shown on the same part of the training table, and ``nesf evaluate`` on the
same part of each table to score, of crystals that are in the range of the training part, so that no row is charged for
what it refuses. What is there already is not done again. The table is written to OUT/ablations.md as it grows.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from nesf.data import load_dataset
from nesf.domain import Domain
from nesf.io.table import write_table

SEED, SCORED = 0, 1000
"""Of the choice of crystals; most that are scored of a table."""
NESF = [sys.executable, "-m", "nesf"]
TOKENS, ONE_ANCHOR = ("--network.anchors.tokens",), ("--network.anchors.anchors-per-token", "1")
ROWS: dict[str, list[str]] = {
    "the preset": [],
    "preset fast: the paper's network, exchanged elements": ["--preset", "fast"],
    "no order of atoms": ["--network.anchors.no-ordered"],
    "squares of errors": ["--loss.measure", "squares"],
    "elements never exchanged": ["--training.permute-elements", "0"],
    "no shift, strain or rattle": ["--training.shift", "0", "--training.strain", "0", "--training.rattle", "0"],
    "no noise on z": ["--training.latent-noise", "0"],
    "three times the noise on z": ["--training.latent-noise", "0.03"],
    "23 tokens of 8, two anchors each": [*TOKENS, "23", "--network.anchors.anchors-per-token", "2"],
    "31 tokens of 6, an anchor each": [*TOKENS, "31", *ONE_ANCHOR],
    "37 tokens of 5, an anchor each": [*TOKENS, "37", *ONE_ANCHOR],
    "40 tokens of 4, an anchor each": [*TOKENS, "40", *ONE_ANCHOR],
    "no doubled cells": ["--training.double", "0"],
    "no exchange between atoms": ["--network.anchors.encoder-layers", "0"],
    "no exchange between tokens": ["--network.anchors.decoder-layers", "0"],
    "no look back at the error": ["--network.anchors.corrections", "0"],
    "half as wide": ["--network.anchors.width", "64"],
}
KEYS = ("atoms_error_percent", "position_actual", "species_actual_percent", "length_error")
HEAD = ("atoms %", "position Å", "species %", "length Å")


def main() -> None:
    """All rows asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("train", type=Path)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--score", type=Path, nargs="+", required=True)
    parser.add_argument("--crystals", type=int, default=12_000, help="of the training table, chosen at random")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64, help="small ones make more steps of a short training")
    parser.add_argument("--base", default="", help="options of all rows but for those that set them themselves")
    parser.add_argument("--out", type=Path, default=Path("ablations"))
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cut(options)
    done: dict[str, list[dict[str, float]]] = {}
    for name in options.rows:
        done[name] = row(name, options)
        write(options, done)


def cut(options: argparse.Namespace) -> None:
    """Put the parts that are trained on and scored in the places of the tables."""
    generator = np.random.default_rng(SEED)

    def part(table: Path, most: int, domain: Domain | None = None) -> Path:
        crystals = [c for c in load_dataset(table).crystals if domain is None or domain.refusal(c) is None]
        target = options.out / f"{table.stem}.parquet"
        if not target.exists():
            write_table(target, [crystals[i] for i in sorted(generator.permutation(len(crystals))[:most])])
        return target

    options.train = part(options.train, options.crystals)
    domain = Domain.of(load_dataset(options.train).crystals)
    options.score = [part(table, SCORED, domain) for table in options.score]
    options.validation = part(options.validation, SCORED, domain)


def row(name: str, options: argparse.Namespace) -> list[dict[str, float]]:
    """Train and score a variant, or read what an earlier call found."""
    run = options.out / name.replace(" ", "-").replace(",", "").replace(":", "").replace("'", "")
    flags = beside(options.base.split(), ROWS[name])
    preset = [] if "--preset" in flags else ["--preset", "universal"]
    if not (run / "model.safetensors").exists():
        epochs = ["--training.epochs", str(options.epochs), "--training.validate-every", str(options.epochs)]
        epochs += ["--training.batch", str(options.batch)]
        begin = [*NESF, "train", str(options.train), "--val", str(options.validation), "--out", str(run)]
        subprocess.run([*begin, *preset, *epochs, *flags], check=True)
    found = []
    for table in options.score:
        scores = run / f"{table.stem}.json"
        if not scores.exists():
            subprocess.run([*NESF, "evaluate", str(run), str(table), "--json", str(scores)], check=True)
        found.append(json.loads(scores.read_text()))
    return found


def beside(base: list[str], own: list[str]) -> list[str]:
    """The options of a row with those of all rows that it does not set; another preset has a network of its own."""
    if "--preset" in own:
        return own
    return [word for at in range(0, len(base), 2) if base[at] not in own for word in base[at : at + 2]] + own


def write(options: argparse.Namespace, done: dict[str, list[dict[str, float]]]) -> None:
    """The table so far."""
    columns = [f"{table.stem}: {head}" for table in options.score for head in HEAD]
    lines = ["| " + " | ".join(["variant", "options", *columns]) + " |", "|---|---|" + "---:|" * len(columns)]
    for name, scores in done.items():
        values = [f"{score[key]:.4g}" if score[key] is not None else "–" for score in scores for key in KEYS]
        lines.append("| " + " | ".join([name, f"`{' '.join(ROWS[name])}`" if ROWS[name] else "", *values]) + " |")
    (options.out / "ablations.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
