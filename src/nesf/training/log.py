"""The log of a training: a line of JSON for each epoch."""

import json
import os
from pathlib import Path

from nesf.errors import NesfError
from nesf.output import whole_file, writing
from nesf.training.loop import EpochReport


def add(path: Path, epoch: EpochReport, lasting: bool) -> None:
    """Write the line of an epoch; ``lasting``, so that it and those before outlast a loss of power."""
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(vars(epoch)) + "\n")
        if lasting:
            file.flush()
            os.fsync(file.fileno())


def trim(path: Path, epochs: int) -> None:
    """Drop the lines of epochs that the checkpoint does not hold, because they will be trained again.

    Args:
        path: the file, which need not be there.
        epochs: that the checkpoint holds.

    Raises:
        NesfError: where one of the lines that are kept is damaged.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    kept, last = [], 0
    for number, line in enumerate(lines, 1):
        try:
            epoch = int(json.loads(line)["epoch"])
        except (ValueError, KeyError, TypeError):
            # Killed, or cut off from power, while it wrote: that is the end of the log, and after the checkpoint.
            if last == epochs:
                break
            raise NesfError(f"Line {number} of {path} is damaged; delete the file to go on without it.") from None
        if epoch <= epochs:
            kept.append(line.rstrip(b"\n") + b"\n")
            last = epoch
    if kept != lines:
        with whole_file(path) as target:
            target.write_bytes(b"".join(kept))
