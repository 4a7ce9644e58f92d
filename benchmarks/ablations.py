"""What each choice of the preset ``universal`` is worth: one training a row, all of the same budget.

    python benchmarks/ablations.py universal_train.parquet --validation mp20_val.parquet \
        --score lcs6a_val.parquet icsg3d_val.parquet mp20_val.parquet --epochs 5 --out ablations

Every row is ``nesf train`` with the options shown and ``nesf evaluate``; what is there already is not done again.
The table is written to OUT/ablations.md as it grows.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

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
    "31 tokens of 6, an anchor each": [*TOKENS, "31", *ONE_ANCHOR],
    "37 tokens of 5, an anchor each": [*TOKENS, "37", *ONE_ANCHOR],
    "40 tokens of 4, an anchor each": [*TOKENS, "40", *ONE_ANCHOR],
    "no doubled cells": ["--training.double", "0"],
    "no exchange between atoms": ["--network.anchors.encoder-layers", "0"],
    "no exchange between tokens": ["--network.anchors.decoder-layers", "0"],
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
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("ablations"))
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    options = parser.parse_args()
    done: dict[str, list[dict[str, float]]] = {}
    for name in options.rows:
        done[name] = row(name, options)
        write(options, done)


def row(name: str, options: argparse.Namespace) -> list[dict[str, float]]:
    """Train and score a variant, or read what an earlier call found."""
    run = options.out / name.replace(" ", "-").replace(",", "").replace(":", "").replace("'", "")
    flags = ROWS[name]
    preset = [] if "--preset" in flags else ["--preset", "universal"]
    if not (run / "model.safetensors").exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        epochs = ["--training.epochs", str(options.epochs), "--training.validate-every", str(options.epochs)]
        begin = [*NESF, "train", str(options.train), "--val", str(options.validation), "--out", str(run)]
        subprocess.run([*begin, *preset, *epochs, *flags], check=True)
    found = []
    for table in options.score:
        scores = run / f"{table.stem}.json"
        if not scores.exists():
            subprocess.run([*NESF, "evaluate", str(run), str(table), "--json", str(scores)], check=True)
        found.append(json.loads(scores.read_text()))
    return found


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
