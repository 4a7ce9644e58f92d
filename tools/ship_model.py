"""Put a trained model into the package, with what it scores in its card.

    python tools/ship_model.py RUN NAME VALIDATION.parquet [MORE.parquet ...] [--limits LIMITS.txt]

Network and weights are those of the run; what decides how it encodes and decodes (corrections, estimation) is that of
its preset as it stands now, so that it can be tuned on validation data without a new training. LIMITS.txt has a known
limit on each line.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from nesf import weights
from nesf.codec import Codec
from nesf.config import PRESETS
from nesf.crystal import Failure
from nesf.data import load_dataset
from nesf.evaluation import report
from nesf.match import Judge
from nesf.metrics import score

SHIPPED = Path(__file__).parents[1] / "src" / "nesf" / "shipped"
LARGEST_BYTES = 8_000_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--limits", type=Path)
    options = parser.parse_args()
    model, card = weights.load(options.run / "model.safetensors")
    preset = PRESETS[card.preset]  # type: ignore[index]
    anchors = replace(card.config.network.anchors, corrections=preset.network.anchors.corrections)
    network = replace(card.config.network, anchors=anchors)
    config = replace(card.config, network=network, estimation=preset.estimation)
    limits = tuple(options.limits.read_text(encoding="utf-8").splitlines()) if options.limits else ()
    card = replace(card, name=options.name, config=config, limits=limits)
    model.settings = network
    codec = Codec(model, card)
    with Judge(2, codec.tolerance) as judge:
        scores = dict(measure(codec, table, judge) for table in options.tables)
    SHIPPED.mkdir(exist_ok=True)
    path = SHIPPED / f"{options.name}.safetensors"
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if size > LARGEST_BYTES:
        raise SystemExit(f"{options.run} has {size} bytes of weights; at most {LARGEST_BYTES} are shipped.")
    weights.save(path, model, replace(card, scores=scores))
    weights.write_sums(SHIPPED)
    print(path, path.stat().st_size, "bytes")


def measure(codec: Codec, table: Path, judge: Judge) -> tuple[str, dict[str, Any]]:
    """What ``nesf evaluate --match`` says of a table, without the lists of single crystals."""
    data = load_dataset(table)
    pairs = list(zip(data.crystals, codec.reconstruct(data.crystals), strict=True))
    described = {"name": data.name, "sha256": data.sha256}
    values = report(codec, score(pairs), described, judge(pairs).score(), judge.settings)
    reasons = [one.reason for _, one in pairs if isinstance(one, Failure)]
    print(data.name, {key: value for key, value in values.items() if isinstance(value, (int, float))}, reasons[:3])
    return data.name, {key: value for key, value in values.items() if key not in ("failure_reasons", "protocol")}


if __name__ == "__main__":
    main()
