"""Reconstruct a large table in one process: memory stays flat, no descriptor leaks, every crystal is accounted for.

    python tests/long/soak.py mp_cells20.parquet [--model universal] [--crystals N] [--plot soak.png] [--out soak.json]

Memory is flat if, in the last two thirds of the time, it does not rise by more than 64 MiB above the highest value of
the first third; descriptors, if their number does not rise by more than two. (Of fewer than 4,096 crystals that is only
reported, because most of the time goes into the start.) A crystal is accounted for if its id
stands either in the table of what was found or, with a reason, in the csv file of what was left out.
"""

import argparse
import csv
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

MIB = 2**20
FEWEST_TO_JUDGE = 4096
MOST_RISE_MIB = 64.0
MOST_MORE_DESCRIPTORS = 2


class Watch(threading.Thread):
    """Notes seconds, resident and proportional memory (MiB) and open descriptors of this process, every so often."""

    def __init__(self, every: float) -> None:
        super().__init__(daemon=True)
        self.every, self.ended = every, threading.Event()
        self.notes: list[tuple[float, float, float, int]] = []

    def run(self) -> None:
        begin = time.monotonic()
        while not self.ended.wait(self.every):
            self.notes.append((time.monotonic() - begin, *memory_mib(), len(list(Path("/proc/self/fd").iterdir()))))


def memory_mib() -> tuple[float, float]:
    """Resident and proportional memory of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    found = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines if line.endswith("kB")}
    return found["Rss"], found["Pss"]


def reconstruct(table: Path, model: str, folder: Path) -> tuple[int, Watch, float]:
    """Run the command; its status, what was noted meanwhile, and the seconds it took."""
    from nesf.cli import main

    rows = pq.ParquetFile(table).metadata.num_rows
    watch = Watch(1.0 if rows > 10_000 else 0.25)
    watch.start()
    begin = time.monotonic()
    status = main(["reconstruct", model, str(table), "--out", str(folder / "found.parquet")])
    watch.ended.set()
    watch.join()
    return status, watch, time.monotonic() - begin


def account(table: Path, folder: Path) -> dict[str, Any]:
    """How many crystals were given, found and left out; ids that are nowhere or twice; how often each reason occurs."""
    given = Counter(pq.read_table(table, columns=["material_id"])["material_id"].to_pylist())
    found = Counter(pq.read_table(folder / "found.parquet", columns=["material_id"])["material_id"].to_pylist())
    path = folder / "found.left_out.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline=""))) if path.exists() else []
    left_out = Counter(row["id"] for row in rows)
    reasons = Counter(" ".join(row["reason"].split()[:4]) for row in rows if row["reason"])
    return {
        "crystals": given.total(),
        "found": found.total(),
        "left_out": left_out.total(),
        "without_reason": sum(not row["reason"] for row in rows),
        "lost": sorted((given - found - left_out).elements())[:20],
        "invented": sorted((found + left_out - given).elements())[:20],
        "reasons": dict(reasons.most_common(10)),
    }


def rise(values: list[float]) -> float:
    """How far the last two thirds rise above the highest value of the first third."""
    third = max(1, len(values) // 3)
    return max(values[third:], default=values[0]) - max(values[:third])


def draw(watch: Watch, path: Path, title: str) -> None:
    """Plot memory and descriptors against time."""
    from matplotlib.figure import Figure

    seconds, resident, proportional, descriptors = zip(*watch.notes, strict=True)
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot(seconds, resident, label="resident (RSS)")
    above.plot(seconds, proportional, label="proportional (PSS)", linestyle="--")
    above.axvline(seconds[len(seconds) // 3], color="0.7", linewidth=1, label="warm-up ends")
    above.set_ylim(0)
    above.set_ylabel("memory [MiB]")
    above.set_title(title, fontsize=10)
    above.legend()
    below.plot(seconds, descriptors, color="tab:green")
    below.set_ylim(0)
    below.set_ylabel("descriptors")
    below.set_xlabel("seconds")
    figure.savefig(path, dpi=110)


def broken(values: dict[str, Any]) -> list[str]:
    """The promises that were not kept, each as a sentence."""
    long = values["crystals"] >= FEWEST_TO_JUDGE
    checks = {
        f"Crystals got lost: {values['lost']}.": bool(values["lost"]),
        f"Crystals came from nowhere: {values['invented']}.": bool(values["invented"]),
        f"{values['without_reason']} crystals are left out without a reason.": values["without_reason"] > 0,
        f"Memory rose by {values['memory_rise_mib']} MiB.": long and values["memory_rise_mib"] > MOST_RISE_MIB,
        f"Descriptors rose by {values['descriptor_rise']}.": long and values["descriptor_rise"] > MOST_MORE_DESCRIPTORS,
    }
    return [sentence for sentence, is_broken in checks.items() if is_broken]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", default="universal")
    parser.add_argument("--crystals", type=int, help="only so many, from the beginning")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, table = Path(name), options.table
        if options.crystals is not None:
            table = folder / "given.parquet"
            pq.write_table(pq.read_table(options.table).slice(0, options.crystals), table)
        status, watch, seconds = reconstruct(table, options.model, folder)
        if status != 0:
            print(f"The command ended with status {status}.")
            return 1
        values = {"model": options.model, "table": options.table.name, **account(table, folder)}
    memory = [note[1] for note in watch.notes]
    values |= {
        "seconds": round(seconds, 1),
        "crystals_per_second": round(values["crystals"] / seconds, 1),
        "memory_highest_mib": round(max(memory), 1),
        "memory_last_mib": round(memory[-1], 1),
        "memory_rise_mib": round(rise(memory), 1),
        "descriptors_most": max(note[3] for note in watch.notes),
        "descriptor_rise": rise([note[3] for note in watch.notes]),
    }
    values["broken"] = broken(values)
    text = json.dumps(values, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    if options.plot is not None:
        title = f"{options.model}: {values['crystals']} crystals of {options.table.name} in {seconds:.0f} s"
        draw(watch, options.plot, title)
    return 1 if values["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
