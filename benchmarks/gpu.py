"""Benchmarks on a bare GPU machine, which has only Python, PyTorch, NumPy, pyarrow and safetensors.

One call of a few minutes measures what ``nesf bench`` does and, on top, trains preset ``fast`` to its end with the
curve of its errors against time, decodes in chunks of growing size, and shows what the time goes to:

    python benchmarks/gpu.py --train lcs6a_train.parquet --val lcs6a_val.parquet --out gpu-bench

It writes ``gpu.json`` and ``gpu.txt``. Without data it takes synthetic crystals, whose errors mean nothing.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import torch

from nesf import codec
from nesf.bench import page
from nesf.bench.agreement import full_agreement
from nesf.bench.decoding_speed import decoding
from nesf.bench.effort import GPU, QUICK, Effort
from nesf.bench.learning_curve import learning_curve
from nesf.bench.peak import PRECISIONS
from nesf.bench.profile import profiled
from nesf.bench.suite import measure
from nesf.bench.timing import interleaved
from nesf.bench.training_speed import package_training
from nesf.bench.workload import drawn, synthetic
from nesf.codec import Codec
from nesf.config import FAST, PAPER, Config
from nesf.data import Dataset, load_dataset
from nesf.metrics import COLUMNS

PROFILED_STEPS = 20
LARGEST_CHUNK = 1 << 15


def main() -> None:
    """Measure and write."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    model = codec.load(options.model)
    model.model.to(device)
    # Enough synthetic crystals for a step of training, few enough for a quick one.
    train = load_dataset(options.train) if options.train else synthetic(model.card.domain.vocabulary, 256)
    val = load_dataset(options.val) if options.val else synthetic(model.card.domain.vocabulary, 16, seed=1)
    effort = _tiny() if options.quick else GPU
    output = Output(options.out)
    started = time.perf_counter()
    values = measure(model, val, train, effort, lambda stage: output.say(f"measuring: {stage}")).to_dict()
    output.keep(**values)
    output.say(page.introduction(values))
    for table in page.tables(values):
        output.say(f"\n{table.title}\n" + "\n".join("  " + " | ".join(row) for row in (table.heads, *table.rows)))
    config = _config(options)
    parts: dict[str, Callable[[], Any]] = {
        "memory_bandwidth": lambda: _bandwidth(values, device),
        "large_chunks": lambda: _large_chunks(model, val, device, effort, output),
        "profiles": lambda: _profiles(model, val, train, config, device, output, quick=options.quick),
        "training_curve": lambda: _curve(config, train, val, device, options, output),
    }
    if options.agreement:
        parts["full_agreement"] = lambda: full_agreement(model, val.crystals)
    for name, part in parts.items():
        output.say(f"\n{name.replace('_', ' ')}")
        output.keep(**{name: part()})
    output.say(page.agreement_text(output.values))
    output.keep(wall_seconds=time.perf_counter() - started)
    output.say(f"\n{output.values['wall_seconds']:.0f} s in all; written to {options.out}")


class Output:
    """What is found out: shown at once, and written at once, so that an interruption loses nothing.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: dict[str, Any] = {}
        (folder / "gpu.txt").write_text("", encoding="utf-8")

    def say(self, text: str) -> None:
        """Show a text and add it to the text file."""
        print(text, flush=True)
        with (self.folder / "gpu.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def keep(self, **values: Any) -> None:
        """Add values to the JSON file."""
        self.values |= values
        (self.folder / "gpu.json").write_text(json.dumps(self.values, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="Parquet table to train on")
    parser.add_argument("--val", type=Path, help="Parquet table to decode and evaluate")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-bench")), help="folder to write")
    parser.add_argument("--model", default="lcs6a-paper", help="the model that decodes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, help="of training at most; by default 3, with --quick a tenth")
    parser.add_argument("--every", type=float, default=10.0, help="seconds of training between two evaluations")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of preset fast's training")
    parser.add_argument("--agreement", action="store_true", help="decode all of --val literally, too")
    parser.add_argument("--quick", action="store_true", help="measure as little as possible, to try the script")
    options = parser.parse_args()
    if options.minutes is None:
        options.minutes = 0.1 if options.quick else 3.0
    return options


def _tiny() -> Effort:
    sizes = {"batches": (4,), "preset_steps": 1, "decode": 4, "literal": 1, "growth": (1, 4), "queries": (64, 256)}
    return dataclasses.replace(QUICK, seconds=0.0, rounds=1, chunk=2, **sizes)


def _config(options: argparse.Namespace) -> Config:
    values = FAST.to_dict()
    for text in options.set:
        key, _, value = text.partition("=")
        try:
            values["training"][key] = json.loads(value)
        except json.JSONDecodeError:
            values["training"][key] = value
    return Config.from_dict(values)


def _bandwidth(values: dict[str, Any], device: torch.device) -> dict[str, float]:
    """Bytes a second of a copy, and operations per byte: what the machine offers, what one layer alone needs."""
    size = 1 << (30 if device.type == "cuda" else 26)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    time_taken = interleaved({"copy": lambda: target.copy_(source)}, device, least=5)["copy"].fastest
    rate = 2 * size / time_taken
    found = {"bytes_per_second": rate}
    width = PAPER.network.position_field[-1]
    for precision, kind in PRECISIONS.items():
        found[f"machine_{precision}"] = values["peak"]["flops_per_second"][precision] / rate
        # A hidden layer that reads and writes its features once, for each query.
        found[f"layer_{precision}"] = 2 * width * width / (2 * width * kind.itemsize)
    return found


def _large_chunks(
    model: Codec, val: Dataset, device: torch.device, effort: Effort, output: Output
) -> list[dict[str, float]]:
    """Crystals decoded a second, by how many are handed over at once."""
    taken = [crystal for crystal in val.crystals if model.refusal(crystal) is None]
    rows, size = [], max(effort.growth) // 16 or 1
    while size <= min(LARGEST_CHUNK, 2 * max(effort.growth)):
        job = decoding(model, drawn(taken, size))
        try:
            timing = interleaved({"job": job}, device, least=effort.rounds)["job"]
        except torch.OutOfMemoryError:
            output.say(f"  {size}: out of memory")
            break
        rows.append({"crystals": size, "per_second": size / timing.seconds})
        output.say(f"  {size:6d} crystals at once: {size / timing.seconds:,.0f} crystals/s")
        size *= 4
    return rows


def _profiles(
    model: Codec, val: Dataset, train: Dataset, config: Config, device: torch.device, output: Output, *, quick: bool
) -> dict[str, dict[str, Any]]:
    taken = [crystal for crystal in val.crystals if model.refusal(crystal) is None]
    size = 4 if quick else 1024
    jobs = {"decoding": decoding(model, drawn(taken, size))}
    for name, preset, steps in (("training_fast", config, PROFILED_STEPS), ("training_paper", PAPER, 2)):
        training = dataclasses.replace(preset.training, precision="auto", **({"batch": 4} if quick else {}))
        crystals = drawn(train.crystals, training.batch * (1 if quick else steps))
        jobs[name] = package_training(dataclasses.replace(preset, training=training), crystals, train.crystals, device)
    found = {name: profiled(job, device) for name, job in jobs.items()}
    for name, profile in found.items():
        output.say(
            f"\n{name}: {profile.seconds:.3f} s, device busy {100 * profile.busy_share:.0f} %, matrix products "
            f"{100 * profile.product_share:.0f} % of that; bound by {profile.bound}\n{profile.table}"
        )
    return {name: dataclasses.asdict(profile) for name, profile in found.items()}


def _curve(
    config: Config, train: Dataset, val: Dataset, device: torch.device, options: argparse.Namespace, output: Output
) -> dict[str, Any]:
    points: list[dict[str, Any]] = []
    output.say("  training s | with evaluations s | epoch | " + " | ".join(column.title for column in COLUMNS))
    curve = learning_curve(config, train.crystals, val.crystals, device, minutes=options.minutes, every=options.every)
    reached = None
    for point in curve:
        points.append(dataclasses.asdict(point))
        errors = [point.score[column.key] for column in COLUMNS]
        shown = " | ".join("–" if error is None else f"{error:.3f}" for error in errors)
        output.say(f"  {point.seconds:.1f} | {point.wall_seconds:.1f} | {point.epoch} | {shown}")
        if reached is None and point.reaches_paper():
            reached = point.seconds
    finished = points[-1]["epoch"] == config.training.epochs
    if val.name.startswith("lcs6a_val"):
        output.say(
            f"  the paper's validation row: {'not reached' if reached is None else f'reached at {reached:.1f} s'}"
        )
    return {"finished": finished, "paper_row_reached_seconds": reached, "config": config.to_dict(), "points": points}


if __name__ == "__main__":
    main()
