"""What a model may be asked: the range of crystals that it was trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast, get_args

import numpy as np
import torch

from nesf import lattice
from nesf.crystal import Crystal
from nesf.elements import Vocabulary
from nesf.errors import NesfError

RELATIVE_MARGIN = 0.02
"""Lengths and angles may leave the trained range by this share of the limit."""
ENTRY_MARGIN_ANGSTROM = 0.05
"""The smallest entry of the cell matrix may be this far below the trained one, Å."""
BOX_MARGIN_ANGSTROM = 0.5
"""Atoms may lie this far outside the box of the training atoms, Å: one interval of the estimation grid."""

Triple = tuple[float, float, float]
Range = tuple[float, float]
Setting = Literal["conventional", "any"]


@dataclass(frozen=True)
class Domain:
    """The extent of a set of training crystals, as it was measured; the margins come on top.

    Attributes:
        vocabulary: the elements that occur, or that a model has learned beside them.
        max_atoms: most atoms in a cell.
        lengths_angstrom: shortest and longest of all a, b, c, Å.
        angles_deg: smallest and largest of all alpha, beta, gamma, degrees.
        lowest_cell_entry: smallest entry of all cell matrices, Å. A set without clearly negative
            entries has no obtuse cells, hexagonal ones above all.
        atoms_lower: lower corner of the box around all atoms in the frame of ``nesf.lattice``, Å.
        atoms_upper: upper corner of that box, Å.
        setting: which cells of a lattice it takes: "conventional" ones, which is what it was trained on and cannot tell
            from others, or "any".
        max_elements: most different elements in a cell; None where only ``vocabulary`` limits them.

    >>> from nesf.testing import hexagonal, perovskite, rocksalt
    >>> domain = Domain.of([rocksalt(), perovskite()])
    >>> domain.vocabulary.numbers, domain.max_atoms, domain.angles_deg
    ((8, 11, 17, 22, 38), 8, (90.0, 90.0))
    >>> domain.refusal(perovskite()) is None
    True
    >>> domain.refusal(hexagonal())
    'It contains Mg, which is not among the 5 elements that the model knows.'
    """

    vocabulary: Vocabulary
    max_atoms: int
    lengths_angstrom: Range
    angles_deg: Range
    lowest_cell_entry: float
    atoms_lower: Triple
    atoms_upper: Triple
    setting: Setting = "conventional"
    max_elements: int | None = None

    @classmethod
    def of(cls, crystals: Sequence[Crystal]) -> "Domain":
        """The domain of a training set; raises NesfError if it is empty."""
        if not crystals:
            raise NesfError("A model's domain is that of its training crystals, but there are none; give at least one.")
        cells = np.stack([c.cell for c in crystals])
        lengths, angles_rad = lattice.parameters_from_cell(torch.from_numpy(cells))
        angles_deg = angles_rad.rad2deg()
        cart = np.concatenate([c.cart for c in crystals])
        return cls(
            vocabulary=Vocabulary.of(np.concatenate([c.numbers for c in crystals]).tolist()),
            max_atoms=max(len(c) for c in crystals),
            lengths_angstrom=(float(lengths.min()), float(lengths.max())),
            angles_deg=(float(angles_deg.min()), float(angles_deg.max())),
            lowest_cell_entry=float(cells.min()),
            atoms_lower=cast(Triple, tuple(cart.min(0).tolist())),
            atoms_upper=cast(Triple, tuple(cart.max(0).tolist())),
        )

    def refusal(self, crystal: Crystal) -> str | None:
        """Why the model cannot take this crystal, in one sentence; None if it can."""
        return next(self._objections(crystal), None)

    def no_room(self, crystal: Crystal) -> str | None:
        """Why the model has no room for the atoms of this crystal, whatever their cell; None if it has."""
        return next(self._beyond_room(crystal), None)

    def _objections(self, crystal: Crystal) -> Iterator[str]:
        yield from self._beyond_room(crystal)
        # Where axes and atoms lie in space is learned with the setting of the cells; a model for any setting copies it.
        conventional = self.setting == "conventional"
        if conventional:
            yield from self._unlike_setting(crystal)
        yield from self._outside_ranges(crystal)
        if conventional:
            yield from self._outside_box(crystal)

    def _beyond_room(self, crystal: Crystal) -> Iterator[str]:
        unknown = ", ".join(self.vocabulary.unknown(crystal.numbers.tolist()))
        if unknown:
            yield f"It contains {unknown}, which is not among the {len(self.vocabulary)} elements that the model knows."
        if len(crystal) > self.max_atoms:
            yield f"Its cell holds {len(crystal)} atoms, and the model takes at most {self.max_atoms}."
        different = len(set(crystal.numbers.tolist()))
        if self.max_elements is not None and different > self.max_elements:
            yield f"It is made of {different} elements, and the model's vectors have room for {self.max_elements}."

    def _unlike_setting(self, crystal: Crystal) -> Iterator[str]:
        lowest, entry = self.lowest_cell_entry - ENTRY_MARGIN_ANGSTROM, crystal.cell.min()
        if entry < lowest:
            shown = ", ".join(f"{angle:.1f}°" for angle in np.degrees(crystal.angles_rad).tolist())
            yield (
                f"A lattice vector of its cell reaches {entry:.2f} Å along an axis (angles {shown}), and the model "
                f"was trained on none below {lowest:.2f} Å: on no obtuse cell, e.g. hexagonal."
            )

    def _outside_ranges(self, crystal: Crystal) -> Iterator[str]:
        edges, angles_rad = lattice.parameters_from_cell(torch.tensor(crystal.cell))
        angles = np.degrees(angles_rad.numpy()).tolist()
        low, high = _widened(self.lengths_angstrom)
        for name, length in zip("abc", edges.tolist(), strict=True):
            if not low <= length <= high:
                yield f"Its cell length {name} = {length:.2f} Å is outside the trained {low:.2f} to {high:.2f} Å."
        low, high = _widened(self.angles_deg)
        for name, angle in zip(("alpha", "beta", "gamma"), angles, strict=True):
            if not low <= angle <= high:
                yield f"Its cell angle {name} = {angle:.1f}° is outside the trained {low:.1f} to {high:.1f}°."

    def _outside_box(self, crystal: Crystal) -> Iterator[str]:
        lower = np.array(self.atoms_lower) - BOX_MARGIN_ANGSTROM
        upper = np.array(self.atoms_upper) + BOX_MARGIN_ANGSTROM
        for atom, axis in np.argwhere((crystal.cart < lower) | (crystal.cart > upper)).tolist():
            yield (
                f"Its atom {atom + 1} lies at {'xyz'[axis]} = {crystal.cart[atom, axis]:.2f} Å, outside the region of "
                f"the training atoms, {lower[axis]:.2f} to {upper[axis]:.2f} Å."
            )

    def to_dict(self) -> dict[str, Any]:
        """The domain as plain values, ready for JSON."""
        return {**asdict(self), "vocabulary": list(self.vocabulary.numbers)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Domain":
        """The inverse of ``to_dict``; raises NesfError on an unknown, missing or wrong entry."""
        expected = {field.name for field in fields(cls)}
        # Cards that were written before these were declared are of models for conventional cells and any elements.
        data = {"setting": "conventional", "max_elements": None, **data}
        if data["setting"] not in get_args(Setting):
            known = ", ".join(get_args(Setting))
            raise NesfError(f"A model's domain has {data['setting']!r} for 'setting'; expected one of {known}.")
        if wrong := sorted(expected ^ set(data)):
            kind = "does not know" if wrong[0] in data else "lacks"
            raise NesfError(f"A model's domain {kind} the key {wrong[0]!r}; it has {', '.join(sorted(expected))}.")
        return cls(
            vocabulary=Vocabulary(tuple(int(z) for z in _numbers(data, "vocabulary"))),
            max_atoms=int(_numbers(data, "max_atoms", 1)[0]),
            lengths_angstrom=cast(Range, _numbers(data, "lengths_angstrom", 2)),
            angles_deg=cast(Range, _numbers(data, "angles_deg", 2)),
            lowest_cell_entry=_numbers(data, "lowest_cell_entry", 1)[0],
            atoms_lower=cast(Triple, _numbers(data, "atoms_lower", 3)),
            atoms_upper=cast(Triple, _numbers(data, "atoms_upper", 3)),
            setting=data["setting"],
            max_elements=_count(data, "max_elements"),
        )


def _widened(limits: Range) -> Range:
    return limits[0] * (1 - RELATIVE_MARGIN), limits[1] * (1 + RELATIVE_MARGIN)


def _count(data: Mapping[str, Any], key: str) -> int | None:
    """A number of things, at least one; None for no limit."""
    value = data[key]
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise NesfError(f"A model's domain has {value!r} for {key!r}; expected a whole number from 1, or null.")
    return value


def _numbers(data: Mapping[str, Any], key: str, count: int | None = None) -> tuple[float, ...]:
    try:
        values = np.array(data[key], dtype=np.float64).ravel()
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if not np.isfinite(values).all() or (count is not None and len(values) != count):
        raise NesfError(f"A model's domain has {data[key]!r} for {key!r}; expected {count or 'some'} finite number(s).")
    return tuple(values.tolist())
