"""Put a trained model into the package, with what it scores on its validation data in its card.

    python tools/ship_model.py RUN NAME VALIDATION.parquet

Network and weights are those of the run; estimation parameters are those of its preset as it stands now, so that
they can be tuned on validation data without a new training.
"""

import sys
from dataclasses import replace
from pathlib import Path

from nesf import weights
from nesf.codec import Codec
from nesf.config import PRESETS
from nesf.data import load_dataset
from nesf.evaluation import evaluate, report

SHIPPED = Path(__file__).parents[1] / "src" / "nesf" / "shipped"
LARGEST_BYTES = 4_000_000


def main(run: str, name: str, validation: str) -> None:
    model, card = weights.load(Path(run) / "model.safetensors")
    estimation = PRESETS[card.preset].estimation  # type: ignore[index]
    card = replace(card, name=name, config=replace(card.config, estimation=estimation))
    data = load_dataset(validation)
    score = evaluate(Codec(model, card), data.crystals)
    found = report(Codec(model, card), score, {"name": data.name, "sha256": data.sha256})
    card = replace(card, scores={data.name: found})
    SHIPPED.mkdir(exist_ok=True)
    path = SHIPPED / f"{name}.safetensors"
    weights.save(path, model, card)
    if path.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {LARGEST_BYTES} are shipped.")
    print(path, path.stat().st_size, "bytes", found)


if __name__ == "__main__":
    main(*sys.argv[1:])
