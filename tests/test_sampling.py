"""Where fields are queried in training: grids, noise, fair shares."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nesf import testing
from nesf.crystal import CrystalBatch
from nesf.errors import NesfError
from nesf.fields.sampling import GlobalSampling, LocalSampling, Queries, global_queries, local_queries

relaxed = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
several = st.lists(testing.crystals(max_atoms=6), min_size=1, max_size=4)
BOX = ((0.0, 0.0, 0.0), (5.0, 4.0, 3.5))


def known() -> CrystalBatch:
    return CrystalBatch.from_crystals(testing.known_crystals())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_settings() -> list:
    return [
        lambda generator: global_queries(known(), GlobalSampling(), BOX, generator),
        lambda generator: global_queries(known(), GlobalSampling(per_crystal=50), None, generator),
        lambda generator: local_queries(known(), LocalSampling(0.3, 1.2, 0.15), generator),
        lambda generator: local_queries(known(), LocalSampling(0.3, 1.2, 0.15, per_crystal=50), generator),
    ]


every_method = pytest.mark.parametrize(
    "sample", all_settings(), ids=["global grid", "global drawn", "local grid", "local drawn"]
)


@pytest.mark.parametrize(("interval", "width", "points"), [(0.3, 1.2, 125), (0.1, 0.5, 216), (0.1, 0.6, 343)])
def test_the_full_local_grid_surrounds_every_atom(interval, width, points):
    batch = known()
    queries = local_queries(batch, LocalSampling(interval, width, 0.0), seeded())
    assert len(queries.points) == points * len(batch.numbers)
    around = queries.points.reshape(-1, points, 3) - batch.cart.unsqueeze(1)
    np.testing.assert_allclose(around.amin((0, 1)), -width / 2, atol=1e-5)
    np.testing.assert_allclose(around.amax((0, 1)), width / 2, atol=1e-5)
    assert queries.owner.bincount().tolist() == [points * n for n in batch.counts.tolist()]


def test_the_full_global_grid_is_the_grown_box_for_every_crystal():
    queries = global_queries(known(), GlobalSampling(interval=1.0), BOX, None)
    # -1 ... 6, -1 ... 5 and -1 ... 5, the first step at or past the upper corner 4.5.
    assert queries.per_crystal == 8 * 7 * 7
    grids = queries.points.reshape(len(known()), -1, 3)
    assert all(grid.equal(grids[0]) for grid in grids)
    assert grids[0].amin(0).tolist() == [-1, -1, -1]
    assert grids[0].amax(0).tolist() == [6, 5, 5]


def test_a_global_grid_needs_its_box():
    with pytest.raises(NesfError, match="box of the training atoms"):
        global_queries(known(), GlobalSampling(), None, None)


def test_drawn_global_points_fill_the_own_cell_of_each_crystal():
    batch = known()
    queries = global_queries(batch, GlobalSampling(sigma=0.0, per_crystal=4000), None, seeded())
    frac = torch.linalg.solve(batch.cells, queries.points.reshape(len(batch), -1, 3), left=False)
    assert (frac > -1e-5).all()
    assert (frac < 1 + 1e-5).all()
    # Uniform: mean 1/2 and variance 1/12 within five standard errors.
    np.testing.assert_allclose(frac.mean(1), 0.5, atol=5 * (1 / 12 / 4000) ** 0.5)
    np.testing.assert_allclose(frac.var(1), 1 / 12, atol=0.007)


@relaxed
@given(several, st.integers(1, 40), st.integers(0, 2**31))
def test_drawn_local_points_are_shared_fairly_among_the_atoms(crystals, count, seed):
    batch = CrystalBatch.from_crystals(crystals)
    # A cube of 0.2 Å around atoms at least 0.7 Å apart tells whose point it is.
    queries = local_queries(batch, LocalSampling(0.1, 0.2, 0.0, per_crystal=count), seeded(seed))
    assert queries.owner.bincount().tolist() == [count] * len(batch)
    offsets = (queries.points.unsqueeze(1) - batch.cart).abs().amax(2)
    offsets[queries.owner.unsqueeze(1) != batch.owner] = torch.inf
    assert offsets.amin(1).max() < 0.1 + 1e-5
    hits = offsets.argmin(1).bincount(minlength=len(batch.numbers))
    for share in hits.split(batch.counts.tolist()):
        assert share.max() - share.min() <= 1


@every_method
def test_queries_are_ordered_by_crystal(sample):
    queries = sample(seeded())
    assert (queries.owner.diff() >= 0).all()
    assert queries.owner.unique().tolist() == list(range(len(known())))
    sizes = queries.owner.bincount().tolist()
    assert queries.per_crystal in (None, *sizes)
    assert queries.per_crystal is None or len(set(sizes)) == 1


@every_method
def test_without_a_generator_nothing_is_random(sample):
    assert sample(None).points.equal(sample(None).points)
    assert not sample(None).points.equal(sample(seeded()).points)


@every_method
def test_a_seed_repeats_and_another_does_not(sample):
    assert sample(seeded(1)).points.equal(sample(seeded(1)).points)
    assert not sample(seeded(1)).points.equal(sample(seeded(2)).points)


@pytest.mark.parametrize("sigma", [0.05, 0.5])
@pytest.mark.parametrize("method", ["global", "local"])
def test_noise_is_gaussian_of_the_stated_width(sigma, method):
    def points(generator):
        if method == "global":
            return global_queries(known(), GlobalSampling(sigma=sigma), BOX, generator).points
        return local_queries(known(), LocalSampling(0.3, 1.2, sigma), generator).points

    noise = (points(seeded()) - points(None)).flatten() / sigma
    n = len(noise)
    assert abs(float(noise.mean())) < 5 / n**0.5
    assert float(noise.std()) == pytest.approx(1, abs=5 / (2 * n) ** 0.5)
    # Three in a thousand values of a Gaussian, and none of a uniform distribution, lie beyond three sigma.
    assert float((noise.abs() > 3).float().mean()) == pytest.approx(0.0027, abs=0.002)


def test_noise_does_not_come_without_a_generator():
    queries = local_queries(known(), LocalSampling(0.1, 0.5, 0.5), None)
    around = queries.points.reshape(-1, 216, 3) - known().cart.unsqueeze(1)
    assert around.abs().max() < 0.25 + 1e-5


def test_joining_keeps_points_together_with_their_crystals():
    one = Queries(torch.arange(6.0).reshape(2, 3), torch.tensor([0, 1]), 1)
    two = Queries(10 + torch.arange(12.0).reshape(4, 3), torch.tensor([0, 0, 1, 1]), 2)
    both = one.joined(two)
    assert both.owner.tolist() == [0, 0, 0, 1, 1, 1]
    assert both.points[:, 0].tolist() == [0, 10, 13, 3, 16, 19]
    assert both.per_crystal == 3
    uneven = Queries(torch.zeros(3, 3), torch.tensor([0, 1, 1]), None)
    assert one.joined(uneven).per_crystal is None
    assert uneven.joined(one).owner.tolist() == [0, 0, 1, 1, 1]
