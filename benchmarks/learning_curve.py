"""Errors against minutes: evaluates models that were kept during a training.

``nesf train`` keeps the best weights so far in the folder of the run. To have those of several moments, copy them while
it runs (the card in each file knows its epoch and minutes), and measure afterwards, when nothing else takes time:

    nesf train lcs6a_train.parquet --val lcs6a_val.parquet --out runs/lcs6a &
    while sleep 20; do cp -u runs/lcs6a/model.safetensors kept/$(date +%s).safetensors; done
    python benchmarks/learning_curve.py lcs6a_val.parquet kept/*.safetensors --out docs/learning-curve

It writes ``learning-curve.csv`` and ``learning-curve.svg``.
"""

import argparse
import csv
from pathlib import Path

from nesf import codec, plots
from nesf.data import load_dataset
from nesf.evaluation import evaluate
from nesf.metrics import COLUMNS, published


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="validation table of LCS6Å")
    parser.add_argument("models", type=Path, nargs="+", help="weights of one training at several moments")
    parser.add_argument("--out", type=Path, default=Path("learning-curve"), help="path without ending")
    options = parser.parse_args()
    crystals = load_dataset(options.data).crystals
    paper = published("lcs6a", "val")
    assert paper is not None
    rows: dict[int, list[float]] = {}
    for path in options.models:
        model = codec.load(path)
        if model.card.training["epoch"] in rows:
            continue
        score = evaluate(model, crystals).to_dict()
        errors = [score[column.key] for column in COLUMNS]
        rows[model.card.training["epoch"]] = [model.card.training["minutes"], *errors]
        print(model.card.training["epoch"], rows[model.card.training["epoch"]], flush=True)
    epochs = sorted(rows)
    with options.out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "minutes", *[column.key for column in COLUMNS]])
        writer.writerows([epoch, *[round(value, 4) for value in rows[epoch]]] for epoch in epochs)
    curves = {
        column.label: [rows[epoch][1 + i] / paper.mean[column.key] for epoch in epochs]
        for i, column in enumerate(COLUMNS)
    }
    plots.learning_curve([rows[epoch][0] for epoch in epochs], curves).savefig(options.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
