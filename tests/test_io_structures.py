import subprocess
import sys

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from pymatgen.core import Lattice, Structure

from nesf import lattice
from nesf.crystal import Crystal
from nesf.errors import NesfError
from nesf.io import convert, from_any, from_ase, from_pymatgen, from_wyckoff, to_ase, to_pymatgen
from nesf.testing import FLOAT64_ANGSTROM, crystals, known_crystals, rocksalt


def assert_same(one: Crystal, other: Crystal, tolerance: float = FLOAT64_ANGSTROM) -> None:
    """Same elements, cell and positions, the latter up to whole lattice vectors."""
    assert one.numbers.tolist() == other.numbers.tolist()
    np.testing.assert_allclose(one.cell, other.cell, atol=tolerance)
    delta = lattice.minimum_image(torch.tensor(one.cart - other.cart), torch.tensor(one.cell))
    assert float(delta.norm(dim=-1).max()) <= tolerance


def test_import_leaves_pymatgen_and_ase_out():
    code = "import sys, nesf.io; print([m for m in ('pymatgen', 'ase', 'spglib', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "[]"


@given(crystals())
@settings(max_examples=30, deadline=None)
def test_pymatgen_and_ase_give_the_crystal_back(crystal):
    for back in (from_pymatgen(to_pymatgen(crystal)), from_ase(to_ase(crystal))):
        assert back.id == crystal.id
        assert_same(crystal, back)


@given(crystals(max_atoms=4))
@settings(max_examples=30, deadline=None)
def test_distances_agree_with_pymatgen(crystal):
    theirs = to_pymatgen(crystal).distance_matrix
    delta = torch.tensor(crystal.cart[:, None] - crystal.cart).reshape(-1, 3)
    ours = lattice.minimum_image(delta, torch.tensor(crystal.cell)).norm(dim=-1)
    np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, atol=1e-6)


def test_properties_travel():
    crystal = Crystal.from_frac("a b", [11], [[0, 0, 0]], 3 * np.eye(3), {"band_gap": 1.5, "metal": False, "n": 3})
    for back in (from_pymatgen(to_pymatgen(crystal)), from_ase(to_ase(crystal)), from_any(crystal)):
        assert (back.id, dict(back.properties)) == (crystal.id, dict(crystal.properties))


def test_a_given_id_wins():
    for obj in (rocksalt(), to_pymatgen(rocksalt()), to_ase(rocksalt())):
        assert from_any(obj).id == "NaCl"
        assert from_any(obj, id="mine").id == "mine"


def test_turned_cell_comes_into_the_standard_frame_with_its_distances():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    for crystal in known_crystals():
        structure = to_pymatgen(crystal)
        turned = Structure(Lattice(crystal.cell @ turn), structure.species, structure.frac_coords)
        assert_same(crystal, from_pymatgen(turned, crystal.id), 1e-6)


def test_left_handed_cell_keeps_the_chirality():
    frac = np.array([[0, 0, 0], [0.3, 0, 0], [0, 0.2, 0], [0, 0, 0.1]])
    cell = np.diag([4.0, 5.0, 6.0])[[1, 0, 2]]  # left-handed
    cart = frac @ cell
    crystal = from_ase(Atoms("HHeLiBe", positions=cart, cell=cell, pbc=True), "chiral")
    before = np.linalg.det(cart[1:] - cart[0])
    after = lattice.minimum_image(torch.tensor(crystal.cart[1:] - crystal.cart[0]), torch.tensor(crystal.cell))
    assert np.linalg.det(after.numpy()) == pytest.approx(before)


def test_conversion_changes_the_cell_and_says_so():
    primitive = from_ase(bulk("Cu", a=3.61), "Cu", "conventional")
    assert len(primitive) == 4
    np.testing.assert_allclose(primitive.lengths, 3.61, atol=1e-6)
    assert primitive.properties["cell_conversion"] == "conventional, symprec 0.01 Å"
    assert len(convert(rocksalt(), "primitive")) == 2
    assert convert(rocksalt(), "as-is") is rocksalt() or "cell_conversion" not in rocksalt().properties


def test_conversion_agrees_with_the_official_cells(shared_data):
    from nesf.io import read_table

    for crystal in read_table(shared_data / "lcs6a_val.parquet")[:10]:
        assert len(convert(crystal, "conventional")) == len(crystal)


def test_oxidation_states_and_spins_are_stripped():
    structure = Structure(Lattice.cubic(4.2), ["Mg2+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    structure.add_spin_by_site([1, 0])
    assert from_pymatgen(structure, "MgO").numbers.tolist() == [12, 8]


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]]), "site 1 holds"),
        (Structure(Lattice.cubic(4), [{"Fe": 0.5}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(4), ["X"], [[0, 0, 0]]), "no element"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.7]]), "no lattice"),
        (Atoms("H", [[0, 0, 0]], cell=[4, 4, 4], pbc=[True, True, False]), "pbc TTF"),
        (Atoms("X", [[0, 0, 0]], cell=[4, 4, 4], pbc=True), "no element"),
        ("NaCl.cif", "A str is no crystal"),
    ],
)
def test_what_is_no_crystal_is_refused_in_one_sentence(obj, text):
    with pytest.raises(NesfError, match=text) as caught:
        from_any(obj, id="bad")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("group", "lengths", "angles", "sites", "count", "distance"),
    [
        ("Fm-3m", (5.64,) * 3, (90,) * 3, [("Na", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5))], 8, 2.82),
        (225, (5.64,) * 3, (90,) * 3, [("Na", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5))], 8, 2.82),
        ("Fd-3m:1", (5.431,) * 3, (90,) * 3, [("Si", (0, 0, 0))], 8, 5.431 * 3**0.5 / 4),
        ("Fd-3m:2", (5.431,) * 3, (90,) * 3, [("Si", (0.125, 0.125, 0.125))], 8, 5.431 * 3**0.5 / 4),
        ("P6_3/mmc", (3.209, 3.209, 5.211), (90, 90, 120), [("Mg", (1 / 3, 2 / 3, 0.25))], 2, 3.197),
        ("I4_1/amd:2", (3.784, 3.784, 9.515), (90,) * 3, [("Ti", (0, 0.75, 0.125)), ("O", (0, 0.75, 0.333))], 12, 1.93),
        ("R-3m:R", (4.7459,) * 3, (57.24,) * 3, [("Bi", (0.2339, 0.2339, 0.2339))], 2, 3.07),
    ],
)  # fmt: skip
def test_textbook_cells_have_their_atoms_and_bond_lengths(group, lengths, angles, sites, count, distance):
    crystal = from_wyckoff("x", group, lengths, angles, sites, {"source": "book"})
    assert (len(crystal), crystal.properties["source"]) == (count, "book")
    apart = to_pymatgen(crystal).distance_matrix + 9 * np.eye(count)
    assert apart.min() == pytest.approx(distance, abs=5e-3)


@pytest.mark.parametrize(
    ("group", "coords", "text"),
    [
        ("Fm-3x", (0, 0, 0), "Fm-3x"),
        (225, (0, 0, 0), "incompatible"),
        (186, (0.333, 0.667, 0), "apart"),  # a rounded third: its images fall beside it
    ],
)
def test_textbook_mistakes_are_refused(group, coords, text):
    with pytest.raises(NesfError, match=text):
        from_wyckoff("x", group, (3.2, 3.2, 5.2), (90, 90, 120), [("Zn", coords)])
