"""The border to pymatgen and ASE: their structures come in as crystals, crystals go out as theirs."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from nesf.crystal import Crystal
from nesf.elements import SYMBOLS
from nesf.errors import NesfError

if TYPE_CHECKING:
    import ase
    import pymatgen.core

Cell = Literal["as-is", "conventional", "primitive"]
"""Which cell is wanted: the given one, or the conventional or primitive standard cell found from symmetry."""

Kind = Literal["crystal", "pymatgen", "ase"]
"""A Crystal, a pymatgen Structure or ASE Atoms."""

CONVERSION_SYMPREC_ANGSTROM = 0.01
OBLIQUE_RAD = 0.01
"""Angles farther than this from a right one make a cell oblique."""
ID_KEYS = ("material_id", "id")
_NUMBER_OF = {symbol: number for number, symbol in enumerate(SYMBOLS)} | {"D": 1, "T": 1}


@contextmanager
def quiet() -> Iterator[None]:
    """Third-party warnings are silent inside: what matters is said by our own errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def to_pymatgen(crystal: Crystal) -> "pymatgen.core.Structure":
    """A pymatgen Structure; the id is ``structure.properties["material_id"]``, beside the crystal's properties."""
    from pymatgen.core import Lattice, Structure

    properties = {**crystal.properties, "material_id": crystal.id}
    species = [SYMBOLS[z] for z in crystal.numbers]
    lattice = Lattice(crystal.cell)
    return Structure(lattice, species, crystal.cart, coords_are_cartesian=True, properties=properties)


def from_pymatgen(structure: "pymatgen.core.Structure", id: str | None = None, cell: Cell = "as-is") -> Crystal:
    """A crystal from a pymatgen Structure; oxidation states and spins are stripped.

    Without ``id``, ``structure.properties["material_id"]`` is taken, else the reduced formula. Of the
    structure's properties those that are a single number, truth value or text are kept.

    Raises:
        NesfError: where a site is shared by several elements or partly empty, or holds no element.
    """
    name = id or name_of(structure)
    numbers = []
    for index, site in enumerate(structure):
        symbols = {getattr(species, "symbol", str(species)) for species in site.species}
        if len(symbols) != 1 or abs(site.species.num_atoms - 1) > 1e-3:
            raise NesfError(
                f"Structure {name!r} is disordered: site {index + 1} holds {site.species_string}; "
                "only fully occupied sites of one element can be read, so order it first."
            )
        numbers.append(number_of(symbols.pop(), name, index))
    matrix, frac = structure.lattice.matrix, structure.frac_coords
    return convert(Crystal.from_frac(name, numbers, frac, matrix, plain(structure.properties)), cell)


def to_ase(crystal: Crystal) -> "ase.Atoms":
    """ASE Atoms, periodic along all axes; the id is ``atoms.info["material_id"]``, beside the properties."""
    from ase import Atoms

    info = {**crystal.properties, "material_id": crystal.id}
    return Atoms(numbers=crystal.numbers, positions=crystal.cart, cell=crystal.cell, pbc=True, info=info)


def from_ase(atoms: "ase.Atoms", id: str | None = None, cell: Cell = "as-is") -> Crystal:
    """A crystal from ASE Atoms, which must be periodic along all three axes.

    Without ``id``, ``atoms.info["material_id"]`` (or ``"id"``) is taken, else the formula. Of ``atoms.info``
    and of the calculator's stored results those that are a single number, truth value or text are kept.
    """
    name = id or name_of(atoms)
    if atoms.cell.rank != 3:
        raise NesfError(f"Structure {name!r} has no lattice: three lattice vectors are needed, not {atoms.cell.rank}.")
    if not atoms.pbc.all():
        periodic = "".join("T" if flag else "F" for flag in atoms.pbc)
        raise NesfError(
            f"Structure {name!r} is not periodic along all axes (pbc {periodic}); a crystal has pbc = True."
        )
    numbers = [number_of(atom.symbol, name, atom.index) for atom in atoms]
    results = getattr(atoms.calc, "results", {})
    properties = plain({**results, **atoms.info})
    return convert(
        Crystal.from_frac(name, numbers, atoms.get_scaled_positions(wrap=False), atoms.cell.array, properties), cell
    )


def name_of(structure: Any) -> str:
    """The id of a Crystal, pymatgen Structure or ASE Atoms: the one that it carries, else its formula."""
    kind = kind_of(structure)
    if kind == "pymatgen":
        return _id_in(structure.properties) or str(structure.composition.reduced_formula)
    if kind == "ase":
        return _id_in(structure.info) or str(structure.get_chemical_formula())
    return str(structure.id)


def from_any(obj: Any, id: str | None = None, cell: Cell = "as-is") -> Crystal:
    """A crystal from a Crystal, a pymatgen Structure or ASE Atoms."""
    kind = kind_of(obj)
    if kind is None:
        raise NesfError(f"A {type(obj).__name__} is no crystal; expected a Crystal, a pymatgen Structure or ASE Atoms.")
    if kind == "crystal":
        return convert(obj.renamed(id) if id else obj, cell)
    return from_pymatgen(obj, id, cell) if kind == "pymatgen" else from_ase(obj, id, cell)


def kind_of(obj: Any) -> Kind | None:
    """Which kind of structure an object is, or None; imports nothing that its owner has not imported."""
    if isinstance(obj, Crystal):
        return "crystal"
    modules = {base.__module__.split(".")[0] for base in type(obj).__mro__}
    if "pymatgen" in modules and hasattr(obj, "frac_coords"):
        return "pymatgen"
    return "ase" if "ase" in modules and hasattr(obj, "get_scaled_positions") else None


def to_kind(crystal: Crystal, kind: Kind) -> Any:
    """The crystal as the wanted kind of structure."""
    if kind == "crystal":
        return crystal
    return to_pymatgen(crystal) if kind == "pymatgen" else to_ase(crystal)


def convert(crystal: Crystal, cell: Cell) -> Crystal:
    """The crystal in the wanted cell; a converted one says so in ``properties["cell_conversion"]``.

    The standard cells are those of pymatgen's ``SpacegroupAnalyzer`` with a tolerance of 0.01 Å.
    """
    if cell not in get_args(Cell):
        raise NesfError(f"Cell {cell!r} is unknown; choose one of {', '.join(get_args(Cell))}.")
    if cell == "as-is":
        return crystal
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    try:
        with quiet():
            analyzer = SpacegroupAnalyzer(to_pymatgen(crystal), symprec=CONVERSION_SYMPREC_ANGSTROM)
            standard = getattr(analyzer, f"get_{cell}_standard_structure")()
    except Exception as error:  # pymatgen and spglib raise many kinds here
        raise NesfError(f"No {cell} cell was found for crystal {crystal.id!r}: {one_line(error)}.") from None
    note = f"{cell}, symprec {CONVERSION_SYMPREC_ANGSTROM} Å"
    properties = {**crystal.properties, "cell_conversion": note}
    numbers = [site.specie.Z for site in standard]
    return Crystal.from_frac(crystal.id, numbers, standard.frac_coords, standard.lattice.matrix, properties)


def is_oblique(crystal: Crystal) -> bool:
    """Whether an angle of the cell is not a right one."""
    return bool(abs(crystal.angles_rad - np.pi / 2).max() > OBLIQUE_RAD)


def other_cell(crystal: Crystal) -> str | None:
    """How an oblique cell differs from the conventional one, without a full stop; None where it does not."""
    if not is_oblique(crystal):
        return None
    try:
        standard = convert(crystal, "conventional")
    except NesfError:
        return None
    if len(standard) == len(crystal):
        return None
    return f"It has {len(crystal)} atoms, its conventional cell {len(standard)}"


def one_line(error: BaseException) -> str:
    """The text of a third-party error on one line, without its full stop, not longer than 200 characters."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def number_of(symbol: str, id: str, index: int) -> int:
    """The atomic number of a symbol at a site (from 0); D and T are hydrogen. Raises ``NesfError`` for no element."""
    if _NUMBER_OF.get(symbol, 0) == 0:
        raise NesfError(f"Structure {id!r} has {symbol!r} at site {index + 1}, which is no element.")
    return _NUMBER_OF[symbol]


def _id_in(properties: Mapping[str, Any] | None) -> str | None:
    found = (properties or {}).get("material_id", (properties or {}).get("id"))
    return None if found is None else str(found)


def plain(properties: Mapping[str, Any] | None) -> dict[str, Any]:
    """The single numbers, truth values and texts among properties: what a column of a table can hold."""
    kept = {}
    for name, value in (properties or {}).items():
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, (bool, int, float, str)) and name not in ID_KEYS:
            kept[str(name)] = value
    return kept
