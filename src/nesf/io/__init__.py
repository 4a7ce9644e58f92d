"""The border: files and foreign objects come in as crystals, crystals go out as files and foreign objects.

Only this room knows pymatgen, ASE, gemmi and spglib, and it imports them when they are first used.
"""

from nesf.io.files import Source, find, iter_read, read
from nesf.io.latents import Latents, LatentsFile, open_latents, read_latents, write_latents
from nesf.io.structures import Cell, convert, from_any, from_ase, from_pymatgen, to_ase, to_pymatgen
from nesf.io.symmetry import SpaceGroup, space_group, symmetrize
from nesf.io.table import iter_table, read_table, write_table
from nesf.io.writing import safe_name, write_cif, write_extxyz, write_poscar
from nesf.io.wyckoff import from_wyckoff

__all__ = [
    "Cell",
    "Latents",
    "LatentsFile",
    "Source",
    "SpaceGroup",
    "convert",
    "find",
    "from_any",
    "from_ase",
    "from_pymatgen",
    "from_wyckoff",
    "iter_read",
    "iter_table",
    "open_latents",
    "read",
    "read_latents",
    "read_table",
    "safe_name",
    "space_group",
    "symmetrize",
    "to_ase",
    "to_pymatgen",
    "write_cif",
    "write_extxyz",
    "write_latents",
    "write_poscar",
    "write_table",
]
