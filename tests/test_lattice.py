"""Lattice conventions: a along x, b in the xy plane, and the same lattice as everyone else's."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice
from scipy.spatial.transform import Rotation

from nesf import lattice, testing
from nesf.io import to_pymatgen

relaxed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
exactly = {"rtol": 0, "atol": testing.FLOAT64_ANGSTROM}

# With all angles in this range the three always belong to a cell.
lengths = st.tuples(*[st.floats(1.5, 20.0)] * 3)
angles = st.tuples(*[st.floats(62.0, 115.0)] * 3)


def cell_of(lengths_angstrom, angles_deg) -> torch.Tensor:
    parameters = torch.tensor([lengths_angstrom, angles_deg], dtype=torch.float64)
    return lattice.cell_from_parameters(parameters[0], parameters[1].deg2rad())


def nearest(crystal_cell, a, b) -> float:
    """The distance of two fractional positions, images included (Å)."""
    delta = (torch.tensor(b, dtype=torch.float64) - torch.tensor(a, dtype=torch.float64))[None] @ crystal_cell
    return float(lattice.minimum_image(delta, crystal_cell).norm())


@relaxed
@given(lengths, angles)
def test_parameters_make_a_cell_with_these_parameters(edges, corners):
    found_lengths, found_rad = lattice.parameters_from_cell(cell_of(edges, corners))
    assert found_lengths.tolist() == pytest.approx(edges)
    assert found_rad.rad2deg().tolist() == pytest.approx(corners)


@relaxed
@given(lengths, angles)
def test_a_lies_along_x_and_b_in_the_xy_plane(edges, corners):
    cell = cell_of(edges, corners)
    assert (cell[0, 1], cell[0, 2], cell[1, 2]) == (0, 0, 0)
    assert (cell.diagonal() > 0).all()
    assert lattice.is_standard(cell)


@relaxed
@given(lengths, angles)
def test_pymatgen_finds_the_same_lattice(edges, corners):
    cell = cell_of(edges, corners)
    theirs = Lattice(cell.numpy())
    assert theirs.abc == pytest.approx(edges)
    assert theirs.angles == pytest.approx(corners)
    assert theirs.volume == pytest.approx(float(lattice.volume(cell)))
    # Their own frame (c along z) differs, but every scalar product of two lattice vectors is the same.
    metric = Lattice.from_parameters(*edges, *corners).metric_tensor
    np.testing.assert_allclose((cell @ cell.T).numpy(), metric, rtol=0, atol=1e-9)


@relaxed
@given(testing.crystals(), st.integers(0, 2**32 - 1))
def test_turning_a_cell_to_the_standard_frame_keeps_all_distances(crystal, seed):
    turned = torch.tensor(crystal.cell @ Rotation.random(rng=seed).as_matrix())
    standard = lattice.standard_frame(turned)
    torch.testing.assert_close(standard, torch.tensor(crystal.cell), **exactly)
    frac = torch.tensor(crystal.frac)
    torch.testing.assert_close(torch.pdist(frac @ standard), torch.pdist(frac @ turned), **exactly)


def test_a_cell_in_another_frame_is_not_standard():
    cell = torch.tensor(testing.triclinic().cell)
    assert not lattice.is_standard(torch.tensor(Lattice.from_parameters(4, 5, 6, 80, 75, 70).matrix.copy()))
    assert not lattice.is_standard(-cell)
    assert lattice.is_standard(cell + 1e-5)


def test_angles_of_no_cell_give_a_flat_one_not_nan():
    cell = cell_of((3, 4, 5), (150, 150, 150))
    assert cell.isfinite().all()
    assert float(lattice.volume(cell)) == 0


@relaxed
@given(testing.crystals())
def test_fractional_and_cartesian_are_inverse(crystal):
    cell, frac = torch.tensor(crystal.cell), torch.tensor(crystal.frac)
    cart = lattice.frac_to_cart(frac, cell)
    torch.testing.assert_close(lattice.cart_to_frac(cart, cell), frac, **exactly)
    # Row i is x a + y b + z c, written out.
    by_hand = np.array([x * cell[0] + y * cell[1] + z * cell[2] for x, y, z in frac]).reshape(-1, 3)
    np.testing.assert_allclose(cart.numpy(), by_hand, **exactly)


def test_leading_dimensions_are_independent_problems():
    cells = torch.stack([torch.tensor(c.cell) for c in testing.known_crystals()])
    delta = torch.linspace(-9, 9, 5 * 4 * 3, dtype=torch.float64).reshape(5, 4, 3)
    for function in (lattice.frac_to_cart, lattice.cart_to_frac, lattice.minimum_image):
        alone = torch.stack([function(d, cell) for d, cell in zip(delta, cells, strict=True)])
        torch.testing.assert_close(function(delta, cells), alone, **exactly)
    torch.testing.assert_close(lattice.volume(cells), torch.stack([lattice.volume(cell) for cell in cells]))


@relaxed
@given(testing.crystals())
def test_minimum_image_agrees_with_pymatgen(crystal):
    delta = torch.tensor(crystal.cart[:, None] - crystal.cart[None]).reshape(-1, 3)
    ours = lattice.minimum_image(delta, torch.tensor(crystal.cell)).norm(dim=-1)
    theirs = to_pymatgen(crystal).distance_matrix.ravel()
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-7)


@relaxed
@given(testing.crystals(), st.tuples(*[st.integers(-3, 3)] * 3))
def test_minimum_image_forgets_lattice_vectors(crystal, steps):
    cell = torch.tensor(crystal.cell)
    delta = torch.tensor(crystal.cart)
    shifted = delta + torch.tensor(steps, dtype=torch.float64) @ cell
    lengths_of = [lattice.minimum_image(d, cell).norm(dim=-1) for d in (delta, shifted)]
    torch.testing.assert_close(*lengths_of, **exactly)


@relaxed
@given(st.tuples(*[st.floats(-50, 50)] * 3))
def test_folding_moves_by_whole_cells_into_the_cell(values):
    frac = torch.tensor(values, dtype=torch.float64)
    for below in (lattice.FOLD_TOLERANCE, 0.045):
        folded = lattice.fold(frac, below)
        assert (folded >= -below - 1e-12).all()
        assert (folded < 1 - below + 1e-12).all()
        moved = frac - folded
        assert (moved - moved.round()).abs().max() <= 1e-12


def test_a_printed_0_99999_is_listed_at_the_lower_face_and_stays_where_it_is():
    folded = lattice.fold(torch.tensor([0.99999, -0.00001, 0.9998], dtype=torch.float64))
    assert folded.tolist() == pytest.approx([-0.00001, -0.00001, 0.9998], abs=1e-12)


@pytest.mark.parametrize(
    ("edges", "corners", "expected"),
    [
        ((5.64, 5.64, 5.64), (90, 90, 90), 179.41),  # halite
        ((4.9134, 4.9134, 5.4052), (90, 90, 120), 113.01),  # alpha-quartz, Kihara 1990
        ((7.1262, 7.8520, 5.5724), (89.99, 101.11, 106.03), 293.60),  # kyanite, Winter & Ghose 1979
    ],
)
def test_volumes_of_the_literature(edges, corners, expected):
    assert float(lattice.volume(cell_of(edges, corners))) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("edges", "corners", "a", "b", "expected"),
    [
        ((3.5668, 3.5668, 3.5668), (90, 90, 90), (0, 0, 0), (0.75, 0.75, 0.75), 1.5445),  # diamond, C-C
        ((2.464, 2.464, 6.711), (90, 90, 120), (0, 0, 0.25), (2 / 3, 1 / 3, 0.25), 1.4226),  # graphite, C-C
        ((4.5937, 4.5937, 2.9587), (90, 90, 90), (0, 0, 0), (0.8048, 0.1952, 0.5), 1.9485),  # rutile, Ti-O, four times
        ((4.5937, 4.5937, 2.9587), (90, 90, 90), (0, 0, 0), (0.6952, 0.6952, 0), 1.980),  # rutile, Ti-O, twice
    ],
)
def test_bond_lengths_of_the_literature_across_faces(edges, corners, a, b, expected):
    assert nearest(cell_of(edges, corners), a, b) == pytest.approx(expected, abs=5e-4)
