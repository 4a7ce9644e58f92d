"""A study's folder: its outcome, and what it takes to get that outcome again."""

import csv
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import nesf
from nesf.data.datasets import Dataset
from nesf.errors import NesfError
from nesf.io.output import whole_file
from nesf.precision import best_device
from nesf.runs import hardware
from nesf.studies.models import Model, method_of
from nesf.studies.outcome import Outcome

FORMAT = 1
RECORD = "study.json"
DOTS_PER_INCH = 110


def describe_model(model: Model) -> dict[str, Any]:
    """Method, name, preset and hash of the weights of a model."""
    card = model.card
    return {"method": method_of(model), "name": card.name, "preset": card.preset, "sha256": model.fingerprint}


def describe_data(data: Dataset) -> dict[str, Any]:
    """Name, hash and size of a data set."""
    return {"name": data.name, "sha256": data.sha256, "crystals": len(data.crystals)}


@dataclass(frozen=True)
class Record:
    """Where an outcome comes from.

    Attributes:
        study: name of the study.
        command: the command line.
        seed: of everything random; None where nothing is.
        models: the models asked (``describe_model``).
        data: the data sets used (``describe_data``).
        settings: all other parameters, ready for JSON.
        started: time when the study began, seconds since the epoch.
    """

    study: str
    command: str
    seed: int | None
    models: Sequence[Mapping[str, Any]]
    data: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    started: float = field(default_factory=time.time)

    def write(self, outcome: Outcome, folder: Path) -> None:
        """Write ``study.json``, a csv for each table, a PNG for each picture, and the pages into a folder.

        A number that is not finite is written as none.
        """
        text = json.dumps(_finite(self._described(outcome)), indent=1, ensure_ascii=False, allow_nan=False)
        # Removed first and written last, so that a folder with a record is complete.
        (folder / RECORD).unlink(missing_ok=True)
        for name, table in outcome.tables.items():
            with whole_file(folder / f"{name}.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(_finite([table.heads, *table.rows]))
        for name, picture in outcome.pictures.items():
            with whole_file(folder / f"{name}.png") as path:
                picture.figure.savefig(path, format="png", dpi=DOTS_PER_INCH)
        for name, page in outcome.pages.items():
            with whole_file(folder / f"{name}.html") as path:
                path.write_text(page, encoding="utf-8")
        with whole_file(folder / RECORD) as path:
            path.write_text(text + "\n", encoding="utf-8")

    def _described(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "study": self.study,
            "title": outcome.title,
            "summary": outcome.summary,
            "tables": {name: {"title": t.title, "note": t.note} for name, t in outcome.tables.items()},
            "pictures": {name: picture.caption for name, picture in outcome.pictures.items()},
            "pages": list(outcome.pages),
            "provenance": {
                "command": self.command,
                "seed": self.seed,
                "models": [dict(one) for one in self.models],
                "data": [dict(one) for one in self.data],
                "settings": dict(self.settings),
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
                "minutes": round((time.time() - self.started) / 60, 2),
                "hardware": hardware(best_device()),
                "software": {"nesf": nesf.__version__, "torch": torch.__version__, "python": platform.python_version()},
            },
            "values": dict(outcome.values),
        }


def _finite(value: Any) -> Any:
    """The same with None for every number that is not finite, for which JSON has no word."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(folder: Path) -> dict[str, Any]:
    """The content of a folder's ``study.json``.

    Raises:
        NesfError: where there is none, or it is not one of ours.
    """
    path = folder / RECORD
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NesfError(f"{path} cannot be read as the record of a study: {error}.") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise NesfError(f"{path} is not a record of format {FORMAT}; run the study again.")
    return values
