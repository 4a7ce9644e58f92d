"""The studies of a folder, read back."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nesf.crystal import Failure
from nesf.errors import NesfError
from nesf.studies.record import RECORD, read_record

ORDER = (
    "table1",
    "errors-by-size",
    "reconstructions",
    "interpolate",
    "map",
    "properties",
    "sensitivity",
    "spacegroups",
    "search",
)
"""The studies as a page shows them; others follow by name."""
PNG = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 24
"""How far a PNG tells its width and height."""


class WrittenTable(NamedTuple):
    """A table as it was read back: its cells are texts."""

    title: str
    note: str
    heads: list[str]
    rows: list[list[str]]


class WrittenPicture(NamedTuple):
    """A picture as it was read back."""

    caption: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """What a study's folder holds.

    Attributes:
        folder: its name.
        study: name of the study.
        title: of the study.
        summary: what came out.
        tables: by file name without ending.
        pictures: by file name without ending.
        pages: file names of interactive pages, without ending.
        provenance: all that it takes to get the outcome again.
    """

    folder: str
    study: str
    title: str
    summary: str
    tables: Mapping[str, WrittenTable]
    pictures: Mapping[str, WrittenPicture]
    pages: Sequence[str]
    provenance: Mapping[str, Any]


def collect(folder: Path) -> tuple[list[Section], list[Failure]]:
    """The studies of a folder in their order, and the folders that could not be read.

    Raises:
        NesfError: where there is no study, or none that can be read.
    """
    sections: list[Section] = []
    broken: list[Failure] = []
    for record in sorted(folder.glob(f"*/{RECORD}")):
        try:
            sections.append(read_section(record.parent))
        except NesfError as error:
            broken.append(Failure(record.parent.name, str(error)))
    if not sections:
        why = "; run one, for example `nesf study errors-by-size`."
        if broken:
            why = f" that can be read; the first of {len(broken)}: {broken[0].reason}"
        raise NesfError(f"{folder} holds no study{why}")
    return sorted(sections, key=_place), broken


def _place(section: Section) -> tuple[int, str, str]:
    known = section.study in ORDER
    return ORDER.index(section.study) if known else len(ORDER), "" if known else section.study, section.folder


def read_section(folder: Path) -> Section:
    """A study from its folder.

    Raises:
        NesfError: where it is not as ``Record.write`` leaves it.
    """
    values = read_record(folder)
    try:
        return Section(
            folder.name,
            str(values["study"]),
            str(values["title"]),
            str(values["summary"]),
            {name: _table(folder, name, entry) for name, entry in dict(values["tables"]).items()},
            {name: _picture(folder, name, str(entry)) for name, entry in dict(values["pictures"]).items()},
            [_page(folder, name) for name in list(values["pages"])],
            dict(values["provenance"]),
        )
    except OSError as error:
        raise NesfError(f"{error.filename} cannot be read: {error.strerror or error}; run the study again.") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise NesfError(f"{folder / RECORD} is not as a study writes it ({reason}); run the study again.") from None


def _file(folder: Path, name: Any, ending: str) -> Path:
    """A file of a study; a record may be from elsewhere, and must not reach beyond its folder."""
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{name!r} is not the name of a file")
    return folder / f"{name}.{ending}"


def _table(folder: Path, name: str, entry: Mapping[str, Any]) -> WrittenTable:
    title, note = str(entry["title"]), str(entry["note"])
    path = _file(folder, name, "csv")
    with path.open(newline="", encoding="utf-8") as file:
        heads, *rows = list(csv.reader(file)) or [[]]
    if any(len(row) != len(heads) for row in rows):
        raise ValueError(f"{path.name} has rows of another length than its first")
    return WrittenTable(title, note, heads, rows)


def _picture(folder: Path, name: str, caption: str) -> WrittenPicture:
    path = _file(folder, name, "png")
    png = path.read_bytes()
    if not png.startswith(PNG) or len(png) < HEADER_BYTES:
        raise ValueError(f"{path.name} is not a PNG picture")
    return WrittenPicture(caption, png)


def _page(folder: Path, name: str) -> str:
    path = _file(folder, name, "html")
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    return name
