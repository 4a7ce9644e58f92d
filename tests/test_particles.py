"""Where particles start, how the first step is told from the neighbours', and who goes on as one."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nesf import testing
from nesf.crystal import CrystalBatch
from nesf.decoding import EstimationSettings
from nesf.decoding.particles import Particles, _merged, move
from nesf.decoding.start import StartGrids, start_boxes
from nesf.fields import TrueField
from nesf.fields.grids import box_grid, grid_steps

BOX = ((0.0, 0.1, -0.3), (5.9, 6.0, 4.0))
IN_CELL = EstimationSettings(region="cell", margin=0.25)
IN_BOX = EstimationSettings(region="training_box")
few = settings(max_examples=25)
drawn = st.lists(testing.crystals(max_atoms=1), min_size=1, max_size=5)
either_region = st.sampled_from([IN_CELL, IN_BOX])
spacing = st.sampled_from([0.3, 0.5, 0.77, 1.0, 7.0])


def grids_of(crystals, how: EstimationSettings) -> tuple[StartGrids, torch.Tensor, torch.Tensor]:
    """The grids of some crystals, and the corners of the boxes that they fill."""
    cells = CrystalBatch.from_crystals(crystals).cells
    return StartGrids(cells, how, BOX), *start_boxes(cells, how, BOX)


@few
@given(drawn, either_region, spacing, st.data())
def test_the_grids_of_many_crystals_are_those_of_each_bit_for_bit(crystals, region, interval, data):
    how = replace(region, interval=interval)
    grids, lower, upper = grids_of(crystals, how)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(crystals) - 1))))
    points, owner = grids.points(torch.tensor(chosen, dtype=torch.long))
    single = [box_grid(lower[i], upper[i], interval) for i in chosen]
    assert points.equal(torch.cat([points[:0], *single]))
    assert owner.tolist() == [i for i, grid in zip(chosen, single, strict=True) for _ in grid]
    assert grids.counts[chosen].tolist() == [len(grid) for grid in single]


@few
@given(drawn, either_region, spacing)
def test_every_point_between_is_enclosed_by_points_of_the_coarse_grid(crystals, region, interval):
    grids, lower, upper = grids_of(crystals, replace(region, interval=interval))
    every = torch.arange(len(crystals))
    points, owner = grids.points(every)
    coarse, corners = grids.neighbours(every)
    place = ((points - lower[owner]) / interval).round()
    last = grid_steps(lower, upper, interval)[owner] - 1
    assert coarse.equal(((place % 2 == 0) | (place == last)).all(1))
    assert coarse[corners].all()
    between = ~coarse
    assert (owner[corners] == owner[between]).all()
    away = place[corners] - place[between]
    assert (away.abs() <= 1).all()
    # On both sides of the point along every axis, or on it.
    assert away.amin(0).equal(-away.amax(0))
    # So any linear function is the mean of its values at the corners.
    slope = torch.tensor([0.3, -1.7, 2.1])
    torch.testing.assert_close((points[corners] @ slope).mean(0), points[between] @ slope, rtol=0, atol=1e-4)


def test_a_cube_of_27_points_has_eight_coarse_ones():
    how = EstimationSettings(region="cell", margin=0.0, interval=1.0)
    grids = StartGrids(2 * torch.eye(3).unsqueeze(0), how, None)
    coarse, corners = grids.neighbours(torch.zeros(1, dtype=torch.long))
    outer = [0, 2, 6, 8, 18, 20, 24, 26]
    assert coarse.nonzero().squeeze(1).tolist() == outer
    assert corners.shape == (8, 19)
    assert sorted(corners[:, 9].tolist()) == outer  # around the centre, the tenth of the others
    assert set(corners[:, 0].tolist()) == {0, 2}  # on an edge


@pytest.mark.parametrize("coarse", [0.0, 0.3])
def test_particles_end_on_the_atoms_and_none_is_lost(coarse):
    crystals = testing.known_crystals()
    how = replace(IN_CELL, merge=0.1, converged=1e-5, coarse=coarse)
    grids, *_ = grids_of(crystals, how)
    for chosen in ([0, 1, 2, 3, 4], [1, 4], [3]):
        end = move(TrueField.of(crystals), grids, torch.tensor(chosen), how)
        weight = torch.zeros_like(grids.counts).index_add_(0, end.owner, end.weight)
        assert weight[chosen].equal(grids.counts[chosen])
        assert weight.sum() == grids.counts[chosen].sum()
        for i in chosen:
            atoms = torch.tensor(crystals[i].cart).float()
            own = end.points[end.owner == i]
            assert torch.cdist(own, atoms).amin(1).max() < testing.FLOAT32_ANGSTROM
            assert torch.cdist(atoms, own).amin(1).max() < testing.FLOAT32_ANGSTROM


def cloud(seed: int, n: int, span: float, crystals: int = 1) -> Particles:
    """Particles anywhere within ``span`` angstrom of the origin, of as many crystals, with any weights."""
    random = torch.Generator().manual_seed(seed)
    points = span * (2 * torch.rand(n, 3, generator=random) - 1)
    owner = (5 + 3 * torch.randint(crystals, (n,), generator=random)).sort().values
    weight = torch.randint(1, 4, (n,), generator=random)
    return Particles(points, owner, weight, torch.rand(n, generator=random))


def cubes_of(some: Particles, edge: float) -> torch.Tensor:
    """Crystal and cube of each particle, as four numbers."""
    return torch.cat((some.owner.unsqueeze(1), (some.points / edge).floor().long()), 1)


@few
@given(st.integers(0, 2**31), st.integers(1, 300), st.sampled_from([0.5, 3.0, 60.0]), st.sampled_from([1e-4, 0.1, 0.5]))
def test_who_meets_goes_on_as_the_heaviest_of_them(seed, n, span, edge):
    some = cloud(seed, n, span, crystals=3)
    merged, group = _merged(some, edge)
    assert (merged.owner.diff() >= 0).all()
    assert merged.owner[group].equal(some.owner)
    for i in range(len(merged)):
        own = (group == i).nonzero().squeeze(1)
        heaviest = own[some.weight[own].argmax()]
        assert merged.points[i].equal(some.points[heaviest])
        assert merged.scores[i] == some.scores[heaviest]
        assert merged.weight[i] == some.weight[own].sum()
        assert cubes_of(some.select(own), edge).unique(dim=0).shape == (1, 4)


@pytest.mark.parametrize("edge", [1e-4, 1e-3, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("span", [0.05, 3.0, 60.0])
def test_only_those_of_one_cube_meet(span, edge):
    some = cloud(1, 50_000, span, crystals=2)
    merged, group = _merged(some, edge)
    cubes, inverse = cubes_of(some, edge).unique(dim=0, return_inverse=True)
    assert len(merged) == len(cubes)
    assert len(torch.stack((group, inverse)).unique(dim=1)[0]) == len(cubes)


@pytest.mark.parametrize("edge", [1e-4, 0.02, 0.5])
def test_no_two_of_a_solid_block_of_cubes_are_taken_for_one(edge):
    axis = edge * (torch.arange(-30, 30, dtype=torch.float32) + 0.5)
    points = torch.cartesian_prod(axis, axis, axis)
    merged, _ = _merged(Particles.resting(points, torch.zeros(len(points), dtype=torch.long)), edge)
    assert len(merged) == 60**3


def test_what_is_nowhere_meets_no_particle_of_space():
    # An atom at the origin must not go on as one with what has no place.
    points = torch.tensor([[torch.nan] * 3, [0.0, torch.nan, 0.0], [torch.inf] * 3, [0.01, 0.01, 0.01]])
    some = Particles(points, torch.zeros(4, dtype=torch.long), torch.tensor([9, 9, 9, 1]), torch.zeros(4))
    merged, group = _merged(some, 0.1)
    assert merged.weight[group[3]] == 1
    assert merged.points[group[3]].equal(points[3])
