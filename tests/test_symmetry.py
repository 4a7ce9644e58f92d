"""Crystals projected onto their space group in their own cell: the laws, the codec, the commands."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import nesf
from nesf import lattice
from nesf.cli import main
from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.data.datasets import load_dataset
from nesf.errors import NesfError
from nesf.io import convert, read, space_group, symmetrize, write_cif, write_table
from nesf.io.symmetry import EXACT_ANGSTROM, MOVED, distances
from nesf.metrics import compare
from nesf.testing import caesium_chloride, crystals, hexagonal, perovskite, rocksalt, triclinic

TEXTBOOK = load_dataset("textbook").crystals
NAMED = {crystal.id: crystal for crystal in TEXTBOOK}


def rattled(crystal: Crystal, seed: int, size: float = 0.02, strain: float = 0.002) -> Crystal:
    """The crystal with every atom moved by up to ``size`` angstrom and its cell strained at random."""
    generator = np.random.default_rng(seed)
    strained = crystal.cell @ (np.eye(3) + generator.normal(0, strain, (3, 3)))
    cell = lattice.standard_frame(torch.from_numpy(strained)).numpy()
    way = generator.normal(size=crystal.cart.shape)
    way *= size * generator.uniform(size=(len(way), 1)) / np.linalg.norm(way, axis=1, keepdims=True)
    return Crystal(crystal.id, crystal.numbers, crystal.frac @ cell + way, cell, crystal.properties)


def error(crystal: Crystal, true: Crystal) -> float:
    """Root mean square distance of the atoms from the true ones, angstrom, the strain left out."""
    return float(np.sqrt((((crystal.frac - true.frac) @ true.cell) ** 2).sum(axis=1).mean()))


def strain_of(crystal: Crystal, true: Crystal) -> float:
    """How much the cell is strained against the true one, whatever its setting."""
    inverse = np.linalg.inv(true.cell)
    return float(np.linalg.norm(inverse @ crystal.cell @ crystal.cell.T @ inverse.T - np.eye(3)))


def nearest(crystal: Crystal) -> float:
    """The shortest distance between two atoms of the cell, angstrom."""
    between = distances(crystal.frac, crystal.frac, crystal.cell)
    return float(between[~np.eye(len(crystal), dtype=bool)].min(initial=np.inf))


def same_geometry(one: Crystal, other: Crystal, within: float) -> bool:
    """Whether cell and atoms agree (angstrom); some files fold atoms into the cell."""
    delta = one.frac - other.frac
    return bool(max(np.abs(one.cell - other.cell).max(), np.abs((delta - delta.round()) @ one.cell).max()) < within)


# The laws


@pytest.mark.parametrize("cell", ["as-is", "primitive"])
def test_perfect_crystals_stay(cell: str) -> None:
    for crystal in TEXTBOOK:
        perfect = convert(crystal, cell)
        # At a tolerance that no real distortion is smaller than.
        assert same_geometry(symmetrize(perfect, 0.01), perfect, 1e-6), crystal.id


RATTLED = ["Cu-fcc", "Si-diamond", "Mg-hcp", "NaCl-rocksalt", "TiO2-rutile", "SrTiO3-perovskite", "Al2O3-corundum"]


@pytest.mark.parametrize("cell", ["as-is", "primitive"])
@pytest.mark.parametrize("name", RATTLED)
def test_a_rattled_and_strained_crystal_gets_its_group_back(name: str, cell: str) -> None:
    true = convert(NAMED[name], cell)
    for seed in range(3):
        given_ = rattled(true, seed)
        found = symmetrize(given_, 0.1)
        assert space_group(found, EXACT_ANGSTROM) == replace(space_group(true), tolerance_angstrom=EXACT_ANGSTROM)
        assert space_group(given_, EXACT_ANGSTROM).operations < space_group(true).operations
        assert error(found, true) < error(given_, true) or len(true) == 1
        assert strain_of(found, true) < strain_of(given_, true)


@given(
    st.sampled_from(TEXTBOOK),
    st.sampled_from(["as-is", "primitive"]),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.01, 0.02, 0.05]),
    st.sampled_from([0.01, 0.1, 0.2, 0.5]),
)
@settings(max_examples=40)
def test_projection_of_rattled_crystals(true: Crystal, cell: str, seed: int, size: float, tolerance: float) -> None:
    true = convert(true, cell)
    given_ = rattled(true, seed, size)
    found = symmetrize(given_, tolerance)
    check_laws(given_, found, tolerance)
    # The projection onto a group goes nearer to every crystal that has it.
    if space_group(found, EXACT_ANGSTROM).number == space_group(true).number:
        assert error(found, true) <= error(given_, true) + 1e-6


@given(crystals(), st.sampled_from([0.01, 0.2, 0.5, 1.0]))
@example(rocksalt(), 3.0)
@settings(max_examples=40)
def test_projection_of_any_crystal(drawn: Crystal, tolerance: float) -> None:
    check_laws(drawn, symmetrize(drawn, tolerance), tolerance)


def check_laws(given_: Crystal, found: Crystal, tolerance: float) -> None:
    """What holds for every crystal and tolerance."""
    assert found.id == given_.id
    assert np.array_equal(found.numbers, given_.numbers)
    # Idempotent: nothing is left to do.
    assert symmetrize(found, tolerance) is found
    if found is given_:
        return
    within, exact = space_group(given_, tolerance), space_group(found, EXACT_ANGSTROM)
    assert exact.operations >= within.operations > 1
    # No atom left its place, jumped to another image or came on top of another, and the crystal as a whole rests.
    way = (found.frac - given_.frac) @ found.cell
    assert np.linalg.norm(way, axis=1).max() == pytest.approx(found.properties[MOVED])
    assert found.properties[MOVED] <= tolerance
    np.testing.assert_allclose(way.mean(axis=0), 0, atol=1e-6)
    assert nearest(found) > tolerance


def test_an_oblique_primitive_cell_keeps_its_setting() -> None:
    half = [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]]
    true = Crystal.from_frac("NaCl", [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], half)
    found = symmetrize(rattled(true, 1), 0.1)
    np.testing.assert_allclose(np.degrees(found.angles_rad), 60, atol=1e-9)
    np.testing.assert_allclose(found.lengths, found.lengths[0])
    assert space_group(found, EXACT_ANGSTROM).number == 225


def test_a_hexagonal_cell_keeps_its_setting() -> None:
    found = symmetrize(rattled(hexagonal(), 2), 0.1)
    np.testing.assert_allclose(np.degrees(found.angles_rad), [90, 90, 120], atol=1e-9)
    assert found.lengths[0] == pytest.approx(found.lengths[1], abs=1e-9)


def test_a_supercell_has_the_whole_group_although_its_cell_has_not_the_shape() -> None:
    face = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    frac = np.concatenate((face, face + np.array([1, 0, 0]))) / [2, 1, 1]
    found = symmetrize(rattled(Crystal.from_frac("Cu", [29] * 8, frac, np.diag([7.22, 3.61, 3.61])), 0), 0.15)
    assert len(found) == 8
    assert space_group(found, EXACT_ANGSTROM).number == 225
    np.testing.assert_allclose(found.lengths / found.lengths[1], [2, 1, 1])


def test_a_crystal_without_symmetry_stays_the_very_crystal() -> None:
    assert symmetrize(triclinic(), 0.1) is not None
    drawn = Crystal.from_frac("x", [3, 8, 9, 16], [[0, 0, 0], [0.4, 0.3, 0.1], [0.1, 0.6, 0.5], [0.7, 0.2, 0.6]], CELL)
    assert space_group(drawn, 0.1).number == 1
    assert symmetrize(drawn, 0.1) is drawn


CELL = [[4.1, 0, 0], [0.7, 4.6, 0], [0.5, 0.9, 5.3]]


def test_atoms_do_not_merge() -> None:
    near = Crystal.from_frac("H2", [1, 1], [[0, 0, 0], [0, 0, 0.1]], np.diag([3.0, 3.1, 3.2]))
    assert symmetrize(near, 0.5) is near


def test_a_higher_group_within_the_tolerance_is_taken_in_the_same_go() -> None:
    # Off centre by 0.08 Å and shaken by 0.02: the tetragonal group alone would be found to be cubic afterwards.
    cart = perovskite().cart.copy()
    cart[1, 2] += 0.08
    polar = replace(perovskite(), cart=cart)
    assert space_group(polar, 0.03).number == 99
    assert space_group(symmetrize(rattled(polar, 3), 0.2), EXACT_ANGSTROM).number == 221
    assert space_group(symmetrize(rattled(polar, 3, 0.005, 0.0), 0.03), EXACT_ANGSTROM).number == 99


@pytest.mark.parametrize("tolerance", [-0.1, np.nan, np.inf])
def test_a_tolerance_is_a_distance(tolerance: float) -> None:
    with pytest.raises(NesfError, match="A tolerance for symmetry is a distance in Å"):
        symmetrize(perovskite(), tolerance)


def test_a_tolerance_of_nothing_changes_nothing_at_once() -> None:
    # spglib itself searches for minutes with 0.
    given_ = rattled(perovskite(), 0)
    assert symmetrize(given_, 0.0) is given_
    assert space_group(given_, 0.0).number == 1


def test_a_cif_holds_the_projected_crystal_and_says_how_far_atoms_were_moved(tmp_path: Path) -> None:
    given_ = rattled(rocksalt(), 0)
    found = symmetrize(given_, 0.1)
    for name, crystal in (("given", given_), ("found", found)):
        write_cif(crystal, tmp_path / f"{name}.cif", 0.1)
    assert (tmp_path / "given.cif").read_text() == (tmp_path / "found.cif").read_text()
    (back,) = read(tmp_path / "found.cif")
    np.testing.assert_allclose(back.lengths, found.lengths, atol=1e-6)
    moved = re.search(r"displacement_angstrom (\S+)", (tmp_path / "found.cif").read_text())
    assert float(moved[1]) == pytest.approx(found.properties[MOVED], abs=1e-4)
    assert 0.005 < float(moved[1]) < 0.05


# The codec


@pytest.fixture(scope="module")
def model() -> Codec:
    return nesf.load("lcs6a-paper")


KNOWN = (rocksalt(), caesium_chloride(), perovskite())


def test_decoding_projects_what_it_finds(model: Codec) -> None:
    z, ids = model.encode(KNOWN), [crystal.id for crystal in KNOWN]
    raw = model.decode(z, ids)
    found = model.decode(z, ids, symmetrize=0.2)
    assert found == [symmetrize(one, 0.2) for one in raw] == model.reconstruct(KNOWN, symmetrize=0.2)
    assert found != raw == model.decode(z, ids, symmetrize=0.0)
    for true, one in zip(KNOWN, found, strict=True):
        assert space_group(one, EXACT_ANGSTROM).number == space_group(true).number


def test_every_kind_is_projected_and_a_failure_stays(model: Codec) -> None:
    strange = Crystal.from_frac("Og", [118], [[0, 0, 0]], 4 * np.eye(3))
    crystal, failure = model.reconstruct([KNOWN[2], strange], symmetrize=0.2)
    assert isinstance(failure, Failure)
    atoms = model.decode(model.encode(KNOWN[2]), symmetrize=0.2, kind="ase")
    assert isinstance(atoms, ase.Atoms)
    np.testing.assert_allclose(atoms.positions, crystal.cart)


def test_a_bad_tolerance_is_refused_before_the_work(model: Codec) -> None:
    for call in (
        lambda: model.decode(np.zeros((1, 192)), symmetrize=-1.0),
        lambda: model.reconstruct([], symmetrize=-1.0),
    ):
        with pytest.raises(NesfError, match="not -1"):
            call()


# The commands


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "known.parquet"
    write_table(path, KNOWN)
    return path


def geometries(folder: Path, name: str = "crystals.parquet") -> list[Crystal]:
    return [one for one in read(folder / name) if isinstance(one, Crystal)]


def cif_groups(folder: Path) -> list[int]:
    texts = [(folder / f"{crystal.id}.cif").read_text() for crystal in KNOWN]
    return [int(re.search(r"^_space_group_IT_number (\d+)", text, re.MULTILINE)[1]) for text in texts]


def test_all_files_and_errors_are_of_the_projected_crystals(model: Codec, data: Path, tmp_path: Path) -> None:
    raw, groups = model.reconstruct(KNOWN), [225, 221, 221]
    for options, expected, cifs in (
        ([], raw, groups),
        (["--symmetrize", "0.25"], [symmetrize(one, 0.25) for one in raw], groups),
        (["--symmetrize", "0"], raw, [1, 1, 1]),
    ):
        out = tmp_path / "-".join(["out", *options])
        assert main(["reconstruct", "lcs6a-paper", str(data), "--out", str(out), *options]) == 0
        # The reader of the second sets what lies outside of the cell by less than a ten thousandth of it onto its face.
        for name, within in (("crystals.parquet", 1e-6), ("crystals.extxyz", 1e-3)):
            assert all(same_geometry(*pair, within) for pair in zip(geometries(out, name), expected, strict=True))
        assert cif_groups(out) == cifs
        with (out / "errors.csv").open(newline="", encoding="utf-8") as file:
            errors = [float(row["position_actual"]) for row in csv.DictReader(file)]
        wanted = [compare(*pair).actual.distances.mean() for pair in zip(KNOWN, expected, strict=True)]
        assert errors == pytest.approx(wanted, abs=1e-6)


def test_decode_writes_what_the_codec_finds(model: Codec, data: Path, tmp_path: Path) -> None:
    z, out = tmp_path / "z.parquet", tmp_path / "out"
    assert main(["encode", "lcs6a-paper", str(data), "--out", str(z)]) == 0
    assert main(["decode", "lcs6a-paper", str(z), "--out", str(out), "--symmetrize", "0.2"]) == 0
    expected = model.reconstruct(KNOWN, symmetrize=0.2)
    assert all(same_geometry(*pair, 1e-6) for pair in zip(geometries(out), expected, strict=True))
    assert cif_groups(out) == [225, 221, 221]


def test_a_negative_tolerance_ends_with_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", "lcs6a-paper", str(data), "--out", str(tmp_path / "out"), "--symmetrize", "-1"]) == 1
    assert capsys.readouterr().err.strip().endswith("not -1.")
    assert list(tmp_path.iterdir()) == []
