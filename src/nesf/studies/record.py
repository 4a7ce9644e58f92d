"""A study's folder: its outcome, and what it takes to get that outcome again."""

import csv
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import torch

import nesf
from nesf.data.datasets import Dataset
from nesf.errors import NesfError
from nesf.io.export import inert
from nesf.io.writing import write_cif, write_extxyz
from nesf.lock import alone
from nesf.output import whole_file, writing
from nesf.precision import best_device
from nesf.runs import hardware
from nesf.studies.models import Model, method_of
from nesf.studies.outcome import Outcome

FORMAT = 1
RECORD = "study.json"
DOTS_PER_INCH = 110
DEEPEST = 20
"""Tables within tables of a record; ours have a few."""
DIGITS = 6
"""Significant digits of the numbers in a csv file; ``study.json`` has all of them."""


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
        """Write ``study.json``, a csv for each table, a PNG for each picture, pages and structures into a folder.

        What an earlier record of the folder lists is removed first, and nothing else. A number that is not finite is
        written as none.
        """
        text = json.dumps(_finite(self._described(outcome)), indent=1, ensure_ascii=False, allow_nan=False)
        with alone(folder / RECORD, wait=True):
            self._write(outcome, folder, text)

    def _write(self, outcome: Outcome, folder: Path, text: str) -> None:
        earlier = _listed(folder)
        # Removed first and written last, so that a folder with a record is complete.
        with writing(folder / RECORD):
            (folder / RECORD).unlink(missing_ok=True)
        for path in earlier:
            _remove(path, folder)
        for name, table in outcome.tables.items():
            with whole_file(folder / f"{name}.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(_short(_finite([table.heads, *table.rows])))
        for name, picture in outcome.pictures.items():
            with whole_file(folder / f"{name}.png") as path:
                picture.figure.savefig(path, format="png", dpi=DOTS_PER_INCH)
        for name, page in outcome.pages.items():
            with whole_file(folder / f"{name}.html") as path:
                path.write_text(page, encoding="utf-8")
        for place, crystals in outcome.structures.items():
            if place.endswith(".cif"):
                # Every atom as it was found; not moved onto a space group.
                write_cif(crystals[0], folder / place, symmetrize=False)
            else:
                write_extxyz(crystals, folder / place)
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
            "structures": list(outcome.structures),
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


def _short(rows: list[list[Any]]) -> list[list[Any]]:
    """The same rows with no more digits than a reader can use, and nothing that a spreadsheet would compute."""
    return [[float(f"{one:.{DIGITS}g}") if isinstance(one, float) else inert(one) for one in row] for row in rows]


def _listed(folder: Path) -> list[Path]:
    """The files that the record of a folder lists; none where there is no record that can be read."""
    try:
        values = read_record(folder)
        named = [*(f"{one}.csv" for one in values["tables"]), *(f"{one}.png" for one in values["pictures"])]
        named += [f"{one}.html" for one in values["pages"]]
        named += [str(one) for one in values.get("structures", [])]
    except (NesfError, KeyError, TypeError):
        return []
    # A record may be from elsewhere, and must not reach beyond its folder.
    places = [PurePosixPath(one) for one in named]
    return [folder / place for place in places if not place.is_absolute() and ".." not in place.parts]


def _remove(path: Path, folder: Path) -> None:
    """Remove a file, and the folders within the study's own that it leaves empty."""
    if path.is_dir() or not path.resolve().is_relative_to(folder.resolve()):
        return
    path.unlink(missing_ok=True)
    for above in path.parents:
        if above == folder or not above.is_dir() or any(above.iterdir()):
            return
        above.rmdir()


def _deeper_than(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper_than(one, levels - 1) for one in inner)


def read_record(folder: Path) -> dict[str, Any]:
    """The content of a folder's ``study.json``.

    Raises:
        NesfError: where there is none, or it is not one of ours.
    """
    path = folder / RECORD
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NesfError(f"{path} cannot be read as the record of a study: {error}.") from None
    if _deeper_than(values, DEEPEST):
        raise NesfError(f"{path} has tables within tables, more than {DEEPEST} deep; run the study again.")
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise NesfError(f"{path} is not a record of format {FORMAT}; run the study again.")
    return values
