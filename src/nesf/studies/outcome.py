"""What a study finds: values, tables, pictures and crystals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nesf.crystal import Crystal
from nesf.plots import Figure


class Table(NamedTuple):
    """A table of plain values.

    Attributes:
        title: what it shows.
        heads: titles of its columns, with units.
        rows: values; None where there is none.
        note: what a reader has to know about the rows.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


class Picture(NamedTuple):
    """A figure with its caption."""

    figure: Figure
    caption: str


@dataclass(frozen=True)
class Outcome:
    """The result of a study.

    Attributes:
        title: of the study.
        summary: what was done and what came out, in a few sentences with the figures that matter.
        values: everything measured, ready for JSON.
        tables: by file name without ending.
        pictures: by file name without ending.
        pages: interactive pages, complete HTML documents by file name without ending.
        structures: crystals by path in the study's folder: one in a ``.cif``, any number in an ``.extxyz``.
    """

    title: str
    summary: str
    values: Mapping[str, Any]
    tables: Mapping[str, Table] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)
    structures: Mapping[str, Sequence[Crystal]] = field(default_factory=dict)
