"""CIF read into crystals: every atom that its symmetry makes of those it lists, or the reason why that is not known.

Where other readers guess (a coordinate ``.`` is zero, an atom of occupancy 0 is none, an operation that cannot be
read is left away, a space group that is not known is P 1), this one refuses and says so.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import gcd
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nesf.crystal import Crystal, Failure
from nesf.elements import SYMBOLS
from nesf.errors import NesfError
from nesf.io.cif_symmetry import Operations, contradiction, operations_of
from nesf.io.cif_tags import Block, blocks_of, number
from nesf.io.limits import MOST_ATOMS, text_of
from nesf.lattice import cell_from_parameters

ID_TAG = "_nesf_material_id"
_UNITS_TAG = "_cell_formula_units_z"
IMAGE_ANGSTROM = 0.1
"""Images of one atom nearer than this are the same atom on a rounded special position."""
OCCUPANCY_TOLERANCE = 0.0015
FARTHEST_FRACTION = 100.0
_BESIDE = tuple(f"_atom_site_{name}" for name in ("label", "occupancy", "calc_flag", "attached_hydrogens"))
_HEAVY_HYDROGEN = {"D": 1, "T": 1}
_NUMBER_OF = {symbol: z for z, symbol in enumerate(SYMBOLS) if z} | _HEAVY_HYDROGEN
# Letters, then the charge or the number of the atom: "Na", "Fe3+", "O2-", "C12A".
_SPECIES = re.compile(r"([A-Za-z]{1,2})(?![A-Za-z])[0-9]*[+-]?[0-9]*")
_FORMULA = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")
# Of gases of two atoms, and of peroxides, pymatgen counts two as one formula unit: O2, Na2O2.
_IN_PAIRS = [
    {_NUMBER_OF[symbol] for symbol in symbols.split()}
    for symbols in ("H", "N", "O", "F", "Cl", "H O", "Li O", "Na O", "K O", "Rb O", "Cs O")
]


def read_cif(path: Path) -> Iterator[Crystal | Failure]:
    """The crystals of a CIF, one for each block that has atoms.

    The id is the tag ``_nesf_material_id`` where there is one. Else it is the file's stem; with several
    blocks their names, or where these are not distinct the stem with the block's number.
    """
    try:
        blocks = [block for block in blocks_of(text_of(path)) if _has_atoms(block)]
    except NesfError as error:
        raise NesfError(str(error) if str(path) in str(error) else f"File {path} cannot be read: {error}") from None
    if not blocks:
        raise NesfError(f"File {path} has no data block (data_NAME) that lists atoms (_atom_site_fract_x, y, z).")
    for name, block in zip(_block_ids(path.stem, blocks), blocks, strict=True):
        try:
            yield _crystal(name, block)
        except NesfError as error:
            yield Failure(name if len(blocks) > 1 else path.name, f"Crystal {name!r} cannot be read: {error}")


def crystal_from_cif(id: str, text: str) -> Crystal:
    """The crystal of the first block with atoms of a CIF that is given as text."""
    try:
        block = next((block for block in blocks_of(text) if _has_atoms(block)), None)
        if block is not None:
            return _crystal(id, block)
    except NesfError as error:
        raise NesfError(f"Crystal {id!r} has no readable CIF: {error}") from None
    raise NesfError(f"Crystal {id!r} has no CIF with a data block (data_NAME) that lists atoms.")


def _has_atoms(block: Block) -> bool:
    return any(tag.startswith("_atom_site_") for tag in block.lines)


def _block_ids(stem: str, blocks: Sequence[Block]) -> list[str]:
    names = [block.name for block in blocks]
    distinct = all(names) and len(set(names)) == len(names)
    ids = []
    for index, block in enumerate(blocks, start=1):
        fallback = stem if len(blocks) == 1 else block.name if distinct else f"{stem}-{index}"
        ids.append(_own_id(block) or fallback)
    return ids


def _own_id(block: Block) -> str | None:
    """The id that the project's own files hold, escaped as JSON does."""
    try:
        [text] = block.column(ID_TAG) or [""]
    except (NesfError, ValueError):  # a damaged name; the atoms may be sound
        return None
    try:
        return str(json.loads(f'"{text}"')) or None
    except ValueError:
        return text


def _crystal(id: str, block: Block) -> Crystal:
    _check_kind(block)
    lengths = [_cell_value(block, f"_cell_length_{axis}", 0.0, 1e5) for axis in "abc"]
    angles = [_cell_value(block, f"_cell_angle_{angle}", 0.0, 180.0) for angle in ("alpha", "beta", "gamma")]
    cell = _cell(lengths, angles)
    operations = operations_of(block, angles[0], angles[2], cell @ cell.T)
    numbers, frac = _sites(block)
    if len(frac) * len(operations[0]) > 50 * MOST_ATOMS:
        raise NesfError(
            f"It lists {len(frac)} atoms with {len(operations[0])} operations, which is too much to be read."
        )
    images = [_images(site, operations, cell) for site in frac]
    everywhere = np.repeat(numbers, [len(some) for some in images])
    _check_contents(block, operations, everywhere)
    return Crystal.from_frac(id, everywhere, np.concatenate(images), cell)


def _check_kind(block: Block) -> None:
    """Structures that more than atoms in a cell belong to, of which the atoms alone would be another crystal."""
    modulated = block.one("_cell_modulation_dimension")
    if modulated not in (None, "0"):
        raise NesfError("It is a modulated structure (_cell_modulation_dimension), which no single cell holds.")
    if any(
        tag.startswith(("_space_group_symop_magn", "_space_group_magn", "_space_group_symop.magn"))
        for tag in block.lines
    ):
        raise NesfError("It is a magnetic CIF, whose operations also turn moments; give the structure without moments.")


def _cell(lengths: list[float], angles: list[float]) -> NDArray[np.float64]:
    alpha, beta, gamma = angles
    if alpha + beta + gamma >= 360 or 2 * max(angles) >= alpha + beta + gamma:
        raise NesfError(
            f"Its angles {alpha:g}, {beta:g}, {gamma:g} degrees belong to no cell: each must be less than the sum of "
            "the other two, and all together less than 360; correct them."
        )
    return cell_from_parameters(
        torch.tensor(lengths, dtype=torch.float64), torch.deg2rad(torch.tensor(angles, dtype=torch.float64))
    ).numpy()


def _cell_value(block: Block, tag: str, low: float, high: float) -> float:
    found = block.column(tag)
    if found is None:
        raise NesfError(f"It has no {tag}; a crystal needs three lengths and three angles of its cell.")
    value = number(found[0]) if found else None
    if value is None or not low < value < high:
        shown = found[0][:30] if found else ""
        raise NesfError(
            f"Its {tag} (line {block.lines[tag]}) is {shown!r}; expected a number above {low:g} and below {high:g}."
        )
    return value


def _sites(block: Block) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Atomic numbers and fractional coordinates of the atoms listed, all of them there with certainty."""
    columns = [block.column(f"_atom_site_fract_{axis}") for axis in "xyz"]
    names = _filled(block.column("_atom_site_type_symbol")), _filled(block.column("_atom_site_label"))
    if any(column is None for column in columns):
        cartesian = "; Cartesian ones are not read" if "_atom_site_cartn_x" in block else ""
        raise NesfError(f"Its atoms lack fractional coordinates (_atom_site_fract_x, y, z){cartesian}.")
    count = len(columns[0] or ())
    species = names[0] or names[1]
    if species is None:
        raise NesfError("Its atoms have no element: _atom_site_type_symbol and _atom_site_label are missing or '?'.")
    if count == 0 or any(len(column or ()) != count for column in (*columns, species)):
        raise NesfError(
            "Its loop of atoms is empty, or its columns are of different lengths; list every atom in a row."
        )
    labels = names[1] or species
    if any(len(block.column(tag) or labels) != count for tag in _BESIDE):
        raise NesfError("The columns of its atoms are of different lengths; list every atom in a row of one loop.")
    _check_occupied(block, labels)
    places = [f"{label[:20]!r} (row {row} of the atoms)" for row, label in enumerate(labels, start=1)]
    numbers = [_number_of(text, place) for text, place in zip(species, places, strict=True)]
    frac = [
        [_coordinate(value, axis, place) for value, place in zip(column or (), places, strict=True)]
        for axis, column in zip("xyz", columns, strict=True)
    ]
    return np.array(numbers, dtype=np.int64), np.array(frac, dtype=np.float64).T


def _filled(column: list[str] | None) -> list[str] | None:
    return None if column is None or all(text in ("?", ".") for text in column) else column


def _coordinate(text: str, axis: str, place: str) -> float:
    value = number(text)
    if value is None or abs(value) > FARTHEST_FRACTION:
        raise NesfError(
            f"Its atom {place} has {text[:30]!r} for the fractional coordinate {axis}; give a number, or "
            "delete the atom."
        )
    return value


def _number_of(text: str, place: str) -> int:
    match = _SPECIES.match(text)
    found = _NUMBER_OF.get(match[1].capitalize()) if match else None
    if found is None:
        raise NesfError(
            f"Its atom {place} has {text[:20]!r}, which is no element; correct it (_atom_site_type_symbol) or "
            "delete the atom."
        )
    return found


def _check_occupied(block: Block, labels: list[str]) -> None:
    """Disorder is refused: which of the atoms are there is not known, and any choice would be an invention."""
    flags = block.column("_atom_site_calc_flag") or []
    if "dum" in flags:
        raise NesfError(
            f"Its atom {labels[flags.index('dum')][:20]!r} is a dummy (_atom_site_calc_flag dum); delete it."
        )
    hydrogens = block.column("_atom_site_attached_hydrogens") or []
    if any(number(text) not in (None, 0.0) for text in hydrogens):
        raise NesfError("Its atoms carry hydrogen without positions (_atom_site_attached_hydrogens); list it as atoms.")
    for index, text in enumerate(block.column("_atom_site_occupancy") or []):
        value = 1.0 if text == "." else number(text)  # CIF: what is not given is fully occupied
        if value is None or abs(value - 1) > OCCUPANCY_TOLERANCE:
            raise NesfError(
                f"It is disordered: its atom {labels[index][:20]!r} (row {index + 1} of the atoms) has the occupancy "
                f"{text[:20]!r}; only fully occupied sites of one element can be read, so order it first."
            )


def _images(site: NDArray[np.float64], operations: Operations, cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distinct places (k, 3) that the operations take an atom to, exactly on its special position if it has one."""
    rotations, translations = operations
    if len(rotations) == 1:
        return site[None]
    places = rotations @ site + translations
    back = places - site
    back -= back.round()
    same = np.linalg.norm(back @ cell, axis=1) < IMAGE_ANGSTROM
    places = rotations @ (site + back[same].mean(0)) + translations
    gaps = places[:, None] - places
    near = np.linalg.norm((gaps - gaps.round()) @ cell, axis=2) < IMAGE_ANGSTROM
    return places[near.argmax(1) == np.arange(len(places))]


def _check_contents(block: Block, operations: Operations, numbers: NDArray[np.int64]) -> None:
    """What else the block says about its contents must not contradict the atoms found."""
    found = Counter(numbers.tolist())
    given, units = _formula(block.one("_chemical_formula_sum")), _units(block)
    if given is not None and not _proportional(given, found):
        shown = " ".join(f"{SYMBOLS[z]}{count}" for z, count in found.items())
        raise NesfError(
            f"Its formula is {(block.one('_chemical_formula_sum') or '')[:60]!r}, but its atoms and symmetry make "
            f"{shown}: atoms are missing or too many; complete them or correct the formula."
        )
    counted = None if given is None or units is None else found in (_times(given, units), _whole_cell(given, units))
    conflict = contradiction(block, operations)
    if conflict and not counted:
        raise NesfError(f"Its symmetry contradicts itself: {conflict}; correct the name or complete the operations.")
    if counted is False:
        cure = "correct it" + (", or list its symmetry operations or all atoms" if len(operations[0]) == 1 else "")
        raise NesfError(
            f"Its atoms and symmetry make {len(numbers)} atoms, but by _cell_formula_units_Z (line "
            f"{block.lines[_UNITS_TAG]}) its cell holds {units:g} formula units of "
            f"{(block.one('_chemical_formula_sum') or '')[:60]!r}; {cure}."
        )


def _units(block: Block) -> float | None:
    """Formula units in the cell; None where the block does not say, or says 0, as pymatgen of half a pair."""
    return number(block.one(_UNITS_TAG) or "") or None


def _formula(text: str | None) -> Counter[int] | None:
    """Atoms of each element in a formula such as ``Na4 Cl4``; None where there is none that can be counted."""
    words = (text or "").split()
    matches = [_FORMULA.fullmatch(word) for word in words]
    if not words or not all(match and match[1] in _NUMBER_OF for match in matches):
        return None
    counts: Counter[int] = Counter()
    for match in matches:
        if match is None or "." in (match[2] or ""):
            return None
        counts[_NUMBER_OF[match[1]]] += int((match[2] or "1")[:9])
    return +counts or None


def _proportional(one: Counter[int], two: Counter[int]) -> bool:
    return one.keys() == two.keys() and all(one[z] * two.total() == two[z] * one.total() for z in one)


def _times(formula: Counter[int], units: float) -> Counter[int]:
    return Counter({z: round(count * units) for z, count in formula.items()})


def _whole_cell(formula: Counter[int], units: float) -> Counter[int] | None:
    """The formula itself where it is that of the whole cell, as pymatgen writes it."""
    reduced = gcd(*formula.values())
    in_pairs = set(formula) in _IN_PAIRS and len(set(formula.values())) == 1
    return formula if units == reduced or (in_pairs and units == reduced // 2) else None
