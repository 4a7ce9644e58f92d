import re
import warnings

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.io.cif import CifParser

from nesf.crystal import Crystal
from nesf.errors import NesfError
from nesf.io import (
    SpaceGroup,
    convert,
    from_ase,
    from_pymatgen,
    from_wyckoff,
    read,
    safe_name,
    space_group,
    to_pymatgen,
    write_cif,
    write_extxyz,
    write_poscar,
)
from nesf.io.standard_cell import standard_cell
from nesf.testing import caesium_chloride, crystals, hexagonal, known_crystals, perovskite, rocksalt, triclinic

GROUPS = {"NaCl": 225, "CsCl": 221, "SrTiO3": 221, "Mg": 194, "TiO2": 1}
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


def same(one, other):
    return StructureMatcher().fit(to_pymatgen(one), to_pymatgen(other))


def shaken(crystal, size, seed=0):
    """The crystal with every coordinate off by up to ``size`` angstrom."""
    shift = np.random.default_rng(seed).uniform(-size, size, crystal.cart.shape)
    return Crystal(crystal.id, crystal.numbers, crystal.cart + shift, crystal.cell)


def tag(path, name):
    return re.search(rf"^{re.escape(name)}\s+(.*)$", path.read_text(), re.MULTILINE)[1].strip("'\"")


@pytest.mark.parametrize("crystal", known_crystals(), ids=lambda crystal: crystal.id)
def test_space_groups_are_those_of_the_literature(crystal):
    assert space_group(crystal).number == GROUPS[crystal.id]


def test_a_noisy_crystal_has_its_group_at_the_larger_tolerance_only():
    noisy = shaken(perovskite(), 0.02)
    assert space_group(noisy, 0.01).number < 221
    assert space_group(noisy, 0.1) == SpaceGroup("Pm-3m", 221, 0.1)
    assert space_group(noisy, (0.2, 0.001, 0.1)) == SpaceGroup("Pm-3m", 221, 0.1)
    assert space_group(perovskite(), (0.1, 0.001)) == SpaceGroup("Pm-3m", 221, 0.001)


def test_a_search_that_fails_gives_p1():
    on_top = Crystal.from_frac("x", [1, 1], [[0, 0, 0], [0, 0, 0.001]], 4 * np.eye(3))
    assert space_group(on_top, 0.1) == SpaceGroup("P1", 1, 0.1)
    assert standard_cell(on_top, 0.1) is None


def test_snapping_moves_the_atoms_back_and_says_how_far():
    noisy = shaken(perovskite(), 0.02)
    found = standard_cell(noisy, 0.1)
    assert found.group.number == 221
    assert sorted(found.multiplicities) == [1, 1, 3]
    assert 0.005 < found.displacement_angstrom < 0.05
    assert same(found.crystal, perovskite())
    assert standard_cell(perovskite(), 0.1).displacement_angstrom < 1e-6


@pytest.mark.parametrize("symmetrized", [True, False])
@pytest.mark.parametrize("crystal", known_crystals(), ids=lambda crystal: crystal.id)
def test_cif_is_the_same_crystal_for_pymatgen_ase_and_us(tmp_path, crystal, symmetrized):
    path = tmp_path / "out.cif"
    write_cif(crystal, path, symmetrize=symmetrized)
    [ours] = read(path)
    assert ours.id == crystal.id
    assert len(ours) == len(crystal)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*rounded to ideal values")  # pymatgen says so of every third
        [theirs] = CifParser(path).parse_structures(primitive=False)
    for back in (ours, from_ase(ase.io.read(path)), from_pymatgen(theirs)):
        assert same(back, crystal)
    assert int(tag(path, "_nesf_space_group_number")) == GROUPS[crystal.id]
    assert float(tag(path, "_nesf_symmetry_tolerance_angstrom")) == 0.02
    assert int(tag(path, "_space_group_IT_number")) == (GROUPS[crystal.id] if symmetrized else 1)


def test_cif_lists_one_atom_of_each_orbit_with_the_real_symbol(tmp_path):
    write_cif(shaken(rocksalt(), 0.02), tmp_path / "out.cif", tolerance=0.1)
    text = (tmp_path / "out.cif").read_text()
    assert tag(tmp_path / "out.cif", "_space_group_name_H-M_alt") == "F m -3 m"
    assert re.findall(r"^(Na|Cl)\d+ \1 (\d)", text, re.MULTILINE) == [("Na", "4"), ("Cl", "4")]
    assert len(re.findall(r"^'[xyz,+\-/0-9]+'$", text, re.MULTILINE)) == 192


def test_cif_without_snapping_keeps_every_atom_where_it_was(tmp_path):
    for crystal in known_crystals():
        noisy = shaken(crystal, 0.02)
        write_cif(noisy, tmp_path / "out.cif", symmetrize=False)
        back = from_ase(ase.io.read(tmp_path / "out.cif"))
        delta = back.frac - noisy.frac
        np.testing.assert_allclose((delta - delta.round()) @ noisy.cell, 0, atol=1e-7)
        np.testing.assert_allclose(back.cell, noisy.cell, atol=1e-6)


RIGHT = (90, 90, 90)
SETTINGS = {
    "Fd-3m:2": ((5.431,) * 3, RIGHT, [("Si", (0.125, 0.125, 0.125))]),
    "R-3m:R": ((4.7459,) * 3, (57.24,) * 3, [("Bi", (0.2339, 0.2339, 0.2339))]),
    "R-3c": ((4.759, 4.759, 12.991), (90, 90, 120), [("Al", (0, 0, 0.352)), ("O", (0.306, 0, 0.25))]),
    "P4/nmm:2": ((3.975, 3.975, 5.023), RIGHT, [("Pb", (0.25, 0.25, 0.235)), ("O", (0.25, 0.75, 0))]),
    "P2_1/c": (
        (5.15, 5.21, 5.31),
        (90, 99.2, 90),
        [("Zr", (0.275, 0.04, 0.208)), ("O", (0.07, 0.33, 0.345)), ("O", (0.45, 0.757, 0.48))],
    ),
    "C2/c": ((4.684, 3.423, 5.129), (90, 99.54, 90), [("Cu", (0.25, 0.25, 0)), ("O", (0, 0.4184, 0.25))]),
    "Pnma": (
        (5.45, 7.65, 5.38),
        RIGHT,
        [("Ca", (0.05, 0.25, 0.99)), ("Ti", (0, 0, 0.5)), ("O", (0.48, 0.25, 0.07)), ("O", (0.29, 0.04, 0.71))],
    ),
    "P3_121": ((4.913, 4.913, 5.405), (90, 90, 120), [("Si", (0.4697, 0, 1 / 3)), ("O", (0.4133, 0.2672, 0.4521))]),
}


@pytest.mark.parametrize("group", SETTINGS)
def test_every_setting_is_read_back_by_both(tmp_path, group):
    crystal = from_wyckoff("x", group, *SETTINGS[group])
    for cell in (crystal, convert(crystal, "primitive")):
        write_cif(cell, tmp_path / "x.cif")
        [ours], theirs = read(tmp_path / "x.cif"), from_ase(ase.io.read(tmp_path / "x.cif"))
        assert same(ours, crystal)
        assert same(theirs, crystal)
        assert len(ours) == len(theirs)
        assert space_group(ours).number == int(tag(tmp_path / "x.cif", "_space_group_IT_number")) > 1


def test_a_supercell_is_written_as_its_standard_cell(tmp_path):
    crystal = from_ase(bulk("Cu", a=3.61).repeat((2, 1, 1)), "Cu2")
    write_cif(crystal, tmp_path / "x.cif")
    assert float(tag(tmp_path / "x.cif", "_nesf_symmetry_largest_displacement_angstrom")) < 1e-3
    assert [len(back) for back in read(tmp_path / "x.cif")] == [4]


@given(crystals(max_atoms=5, max_number=83), st.booleans())
@settings(max_examples=15, deadline=None)
def test_any_crystal_survives_every_format(tmp_path_factory, crystal, symmetrized):
    folder = tmp_path_factory.mktemp("files")
    write_cif(crystal, folder / "drawn.cif", 0.01, symmetrized)
    write_extxyz([crystal], folder / "drawn.extxyz")
    write_poscar(crystal, folder / "drawn.vasp")
    (folder / "drawn.json").write_text(to_pymatgen(crystal).to_json())
    for ending in ("cif", "extxyz", "vasp", "json"):
        [back] = read(folder / f"drawn.{ending}")
        assert back.id == "drawn"
        assert same(back, crystal), ending


@given(ids)
@example('"')
@example('a\' "b" \\ #c')
@example("007")
@example("1e5")
@example("new\nline")
@example("; loop_")
@settings(max_examples=40, deadline=None)
def test_ids_survive_whatever_they_are(tmp_path_factory, id):
    folder = tmp_path_factory.mktemp("ids")
    crystal = caesium_chloride().renamed(id)
    write_cif(crystal, folder / "a.cif")
    write_extxyz([crystal], folder / "a.xyz")
    (folder / "a.json").write_text(to_pymatgen(crystal).to_json())
    for name in ("a.cif", "a.xyz", "a.json"):
        [back] = read(folder / name)
        assert back.id == id, name
        assert len(back) == 2


def test_ase_reads_ids_and_properties_of_our_frames(tmp_path):
    cscl = caesium_chloride()
    properties = {"band_gap": 1.5, "metal": False, "spacegroup": 221, "source": 'a "b" c', "odd key=": 1}
    given = [Crystal("mp-1", cscl.numbers, cscl.cart, cscl.cell, properties), hexagonal()]
    write_extxyz(given, tmp_path / "two.extxyz")
    first, second = ase.io.read(tmp_path / "two.extxyz", index=":")
    assert first.info == {"material_id": "mp-1", "odd_key_": 1} | {k: v for k, v in properties.items() if " " not in k}
    assert first.info["metal"] is np.False_ or first.info["metal"] is False
    assert second.info["material_id"] == "Mg"
    np.testing.assert_allclose(second.positions, hexagonal().cart, atol=1e-9)
    assert first.pbc.all()


@given(ids, ids)
@settings(max_examples=200, deadline=None)
def test_safe_names_stay_in_their_folder_and_apart(one, other):
    for name in (safe_name(one), safe_name(other)):
        assert re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+-]*", name)
        assert len(name) < 120
    assert (safe_name(one) == safe_name(other)) == (one == other)


@pytest.mark.parametrize("id", ["../../etc/passwd", "..", ".", "", "/", "a/b", "C:\\x", "con", ".hidden", "a" * 300])
def test_dangerous_names_are_changed(id):
    name = safe_name(id)
    assert name != id
    assert "/" not in name
    assert "\\" not in name
    assert not name.startswith(".")


def test_writing_where_nothing_can_be_written_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NesfError, match="cannot be written"):
        write_cif(triclinic(), tmp_path / "file" / "x.cif")
