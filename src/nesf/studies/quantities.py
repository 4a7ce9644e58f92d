"""Columns of data sets that are quantities, and can be predicted as such."""

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from nesf.crystal import Crystal
from nesf.data.datasets import Dataset
from nesf.errors import NesfError

UNITS = MappingProxyType(
    {
        "energy_above_hull": "eV/atom",
        "total_magnetization": "μB/formula unit",
        "band_gap": "eV",
        "formation_energy_per_atom": "eV/atom",
        "bulk_modulus": "GPa",
        "shear_modulus": "GPa",
    }
)
"""Units of the properties that the tables of the project carry."""
_GROUPS = ("spacegroup", "spacegroupnumber", "internationalnumber", "sg", "sgnumber")


def number(value: Any) -> float:
    """A property as a number; NaN where it is none."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def title(name: str) -> str:
    """A property as it is called in tables, with its unit where that is known."""
    words = name.replace("_", " ")
    return f"{words} ({UNITS[name]})" if name in UNITS else words


def check_quantities(names: Sequence[str], *data: Dataset) -> None:
    """Raise ``NesfError`` unless all names are quantities of each data set.

    A name or a mark is none, nor is the number of a space group: that of two groups says nothing of how alike they are.
    """
    if not names:
        raise NesfError("Give at least one property to predict.")
    for one in data:
        there = {name for crystal in one.crystals for name in crystal.properties}
        for name in names:
            if name not in there:
                raise NesfError(f"No crystal of {one.name} has the property {name!r}; it has {_others(one)}.")
            if (reason := _objection(name, one.crystals)) is not None:
                raise NesfError(f"{name!r} of {one.name} {reason}, no quantity to predict; it has {_others(one)}.")


def _others(data: Dataset) -> str:
    there = sorted({name for crystal in data.crystals for name in crystal.properties})
    known = [name for name in there if name in UNITS]
    return ", ".join(known or [name for name in there if _objection(name, data.crystals) is None]) or "none at all"


def _objection(name: str, crystals: Sequence[Crystal]) -> str | None:
    """Why a property is no quantity; None where it is one, or where no value of it is known."""
    if "".join(filter(str.isalpha, name.lower())) in _GROUPS:
        return "is the number of a group"
    values = [crystal.properties.get(name) for crystal in crystals]
    known = [value for value in values if value is not None and not isinstance(value, float)]
    quantity = any(isinstance(value, float) or not math.isnan(number(value)) for value in values)
    return "holds names or marks" if known and not quantity else None
