"""The embedded data set: real compounds built from space group, lattice constants and occupied positions."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

from nesf.crystal import Crystal
from nesf.io.structures import Cell, convert
from nesf.io.wyckoff import from_wyckoff

# The last space group of each crystal system.
LAST_GROUP = {
    "triclinic": 2,
    "monoclinic": 15,
    "orthorhombic": 74,
    "tetragonal": 142,
    "trigonal": 167,
    "hexagonal": 194,
    "cubic": 230,
}


@dataclass(frozen=True)
class Compound:
    """One row of the table: a crystal as the literature prints it.

    Attributes:
        id: unique name, formula and structure.
        formula: chemical formula as usually written.
        name: mineral or trivial name.
        structure_type: name of the type, with its Strukturbericht symbol where it has one.
        space_group: Hermann-Mauguin symbol; origin 1 where there are two, hexagonal axes where rhombohedral.
        number: international number of the space group.
        lengths: a, b, c in angstrom.
        angles_deg: alpha, beta, gamma in degrees.
        sites: element and fractional coordinates of one site of each orbit.
        source: where it is printed.
        note: conditions other than room temperature, or what differs from the print; may be empty.
        density: handbook value in g/cm³, None where none is widely printed.
    """

    id: str
    formula: str
    name: str
    structure_type: str
    space_group: str
    number: int
    lengths: tuple[float, float, float]
    angles_deg: tuple[float, float, float]
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    source: str
    note: str = ""
    density: float | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Compound":
        """From a row of the table, which gives only the free lattice constants."""
        values = dict(row)
        cell = values.pop("cell")
        a = cell["a"]
        gamma = 120.0 if crystal_system(row["number"]) in ("trigonal", "hexagonal") else 90.0
        values["lengths"] = (a, cell.get("b", a), cell.get("c", a))
        values["angles_deg"] = (cell.get("alpha", 90.0), cell.get("beta", 90.0), cell.get("gamma", gamma))
        values["sites"] = tuple(_site(text) for text in row["sites"])
        return cls(**values)

    @property
    def crystal_system(self) -> str:
        """One of the seven crystal systems."""
        return crystal_system(self.number)

    def crystal(self) -> Crystal:
        """The crystal in the cell that the literature prints."""
        properties = {
            "name": self.name,
            "structure_type": self.structure_type,
            "spacegroup": self.number,
            "crystal_system": self.crystal_system,
            "source": f"{self.source} ({self.note})" if self.note else self.source,
        }
        return from_wyckoff(self.id, self.space_group, self.lengths, self.angles_deg, self.sites, properties)


def crystal_system(number: int) -> str:
    """The crystal system of a space group, by its international number.

    >>> crystal_system(225), crystal_system(166)
    ('cubic', 'trigonal')
    """
    return next(system for system, last in LAST_GROUP.items() if number <= last)


@cache
def compounds() -> tuple[Compound, ...]:
    """All rows of the table, in its order: elements, then AB, AB2, and larger formulas.

    >>> compounds()[0].name, compounds()[0].lengths
    ('aluminium', (4.0494, 4.0494, 4.0494))
    """
    text = (files("nesf.data") / "textbook.toml").read_text(encoding="utf-8")
    return tuple(Compound.from_row(row) for row in tomllib.loads(text)["compound"])


def textbook(cell: Cell = "conventional") -> list[Crystal]:
    """The textbook crystals, built and brought into the wanted cell.

    Args:
        cell: the conventional standard cell, on which models are trained, the primitive one, or the printed one
            ("as-is").

    Returns:
        One crystal for each compound, with the properties name, structure_type, spacegroup (number),
        crystal_system and source.

    Raises:
        NesfError: where ``cell`` is none of these.
    """
    return [convert(crystal, cell) for crystal in _printed()]


@cache
def _printed() -> tuple[Crystal, ...]:
    return tuple(compound.crystal() for compound in compounds())


def _site(text: str) -> tuple[str, tuple[float, float, float]]:
    symbol, x, y, z = text.split()
    return symbol, (float(Fraction(x)), float(Fraction(y)), float(Fraction(z)))
