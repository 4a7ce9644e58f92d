import re
from functools import cache

import numpy as np
import pytest
from ase.data import atomic_masses
from pymatgen.core import Composition
from pymatgen.symmetry.groups import SpaceGroup

from nesf.crystal import Crystal
from nesf.data.textbook import LAST_GROUP, Compound, compounds, crystal_system, textbook
from nesf.elements import SYMBOLS
from nesf.io.symmetry import space_group

GRAMS_PER_CM3 = 1.66054  # of one dalton per cubic angstrom
# The range of the LCS6Å data set (Chiba et al. 2023): what it leaves out of the elements up to plutonium.
NOT_IN_LCS6A = "He Ne Ar Kr Xe Rn Tc Pm I Po At Fr Ra Ac".split()
LONGEST, SHORTEST, LOWEST_ENTRY, MOST_ATOMS = 5.99, 2.2, -0.1, 28


@pytest.fixture(scope="module")
def printed() -> dict[str, Crystal]:
    return {crystal.id: crystal for crystal in textbook("as-is")}


@pytest.fixture(scope="module")
def conventional() -> dict[str, Crystal]:
    return {crystal.id: crystal for crystal in textbook()}


@cache
def pymatgen_group(symbol: str) -> SpaceGroup:
    """Kept, because pymatgen takes half a second to build a large group and forgets it at once."""
    return SpaceGroup(symbol)


def density(crystal: Crystal) -> float:
    return GRAMS_PER_CM3 * atomic_masses[crystal.numbers].sum() / np.linalg.det(crystal.cell)


def nearest(crystal: Crystal, one: str, other: str) -> float:
    """Shortest distance between two elements, all images out to two cells included, by brute force."""
    step = np.arange(-2, 3)
    images = np.stack(np.meshgrid(step, step, step), -1).reshape(-1, 3) @ crystal.cell
    from_, to = (crystal.cart[crystal.numbers == SYMBOLS.index(s)] for s in (one, other))
    distance = np.linalg.norm(from_[:, None, None] - to[:, None] - images, axis=-1)
    return float(distance[distance > 1e-6].min())


def in_lcs6a(crystal: Crystal) -> bool:
    return (
        crystal.lengths.max() <= LONGEST
        and crystal.lengths.min() >= SHORTEST
        and crystal.cell.min() >= LOWEST_ENTRY
        and len(crystal) <= MOST_ATOMS
        and crystal.numbers.max() <= SYMBOLS.index("Pu")
        and not {SYMBOLS[z] for z in crystal.numbers} & set(NOT_IN_LCS6A)
    )


@pytest.mark.parametrize("row", compounds(), ids=lambda row: row.id)
def test_row_is_complete(row: Compound):
    assert re.fullmatch(r"[A-Z][\w-]+", row.id), "an id must do as a file name"
    assert row.name
    assert re.search(r"\b(19|20)\d\d\b", row.source), "a source has a year"
    assert pymatgen_group(row.space_group).int_number == row.number


def test_size_and_breadth(conventional):
    assert len(conventional) == len(compounds()) >= 100
    assert len({row.structure_type for row in compounds()}) >= 60
    assert {row.crystal_system for row in compounds()} == set(LAST_GROUP)
    assert sum(map(in_lcs6a, conventional.values())) >= 48


def test_crystals_have_the_formula_and_space_group_declared(printed):
    for row in compounds():
        crystal = printed[row.id]
        found = Composition("".join(SYMBOLS[z] for z in crystal.numbers))
        assert found.reduced_formula == Composition(row.formula).reduced_formula, row.id
        assert space_group(crystal, 1e-3).number == row.number, row.id


def test_conventional_cells_hold_the_same_crystals(printed, conventional):
    for name, crystal in conventional.items():
        assert space_group(crystal, 1e-3).number == crystal.properties["spacegroup"], name
        assert density(crystal) == pytest.approx(density(printed[name]), rel=1e-4), name
        assert {"name", "structure_type", "crystal_system", "source"} <= crystal.properties.keys()


def test_densities_of_the_table(printed):
    known = [row for row in compounds() if row.density is not None]
    assert len(known) >= 80
    for row in known:
        assert density(printed[row.id]) == pytest.approx(row.density, rel=0.03), row.id


# g/cm³, CRC Handbook of Chemistry and Physics, 95th ed. (2014), sections 4 and 12.
@pytest.mark.parametrize(
    ("id", "grams_per_cm3"),
    [
        ("Al-fcc", 2.70),
        ("Cu-fcc", 8.96),
        ("Au-fcc", 19.3),
        ("W-bcc", 19.3),
        ("Mg-hcp", 1.74),
        ("C-diamond", 3.513),
        ("Si-diamond", 2.329),
        ("NaCl-rocksalt", 2.17),
        ("CaF2-fluorite", 3.18),
        ("GaAs-zincblende", 5.318),
        ("SiO2-quartz", 2.648),
        ("Fe2O3-hematite", 5.25),
        ("CaCO3-calcite", 2.71),
        ("Al2O3-corundum", 3.99),
    ],
)
def test_densities_of_the_handbook(printed, id, grams_per_cm3):
    assert density(printed[id]) == pytest.approx(grams_per_cm3, rel=0.01)


# Å, as the articles cited in the table print them, or a plain fraction of the lattice constant.
@pytest.mark.parametrize(
    ("id", "one", "other", "angstrom"),
    [
        ("NaCl-rocksalt", "Na", "Cl", 5.64056 / 2),
        ("CsCl-CsCl", "Cs", "Cl", 4.123 * 3**0.5 / 2),
        ("C-diamond", "C", "C", 1.545),
        ("Si-diamond", "Si", "Si", 2.352),
        ("C-graphite", "C", "C", 1.422),
        ("Se-trigonal", "Se", "Se", 2.373),
        ("ZnS-zincblende", "Zn", "S", 5.4093 * 3**0.5 / 4),
        ("TiO2-rutile", "Ti", "O", 1.948),
        ("TiO2-anatase", "Ti", "O", 1.934),
        ("SiO2-quartz", "Si", "O", 1.605),
        ("SiO2-cristobalite", "Si", "O", 1.603),
        ("FeS2-pyrite", "Fe", "S", 2.264),
        ("FeS2-pyrite", "S", "S", 2.160),
        ("CaCO3-calcite", "C", "O", 1.281),
        ("CaCO3-calcite", "Ca", "O", 2.360),
        ("ZrSiO4-zircon", "Si", "O", 1.622),
        ("ZrSiO4-zircon", "Zr", "O", 2.131),
        ("MoS2-molybdenite", "Mo", "S", 2.41),
        ("CuO-tenorite", "Cu", "O", 1.951),
        ("VO2-monoclinic", "V", "V", 2.619),
        ("LiNbO3-LiNbO3", "Nb", "O", 1.889),
        ("CH4N2O-urea", "C", "O", 1.262),
        ("MgAl2O4-spinel", "Al", "O", 1.926),
        ("CuWO4-cuproscheelite", "W", "O", 1.760),
        ("Al2SiO5-kyanite", "Si", "O", 1.621),
    ],
)
def test_shortest_bonds(printed, id, one, other, angstrom):
    assert nearest(printed[id], one, other) == pytest.approx(angstrom, abs=0.006)


@pytest.mark.parametrize(("number", "system"), [(2, "triclinic"), (3, "monoclinic"), (167, "trigonal"), (230, "cubic")])
def test_crystal_system_of_a_space_group(number, system):
    assert crystal_system(number) == system
