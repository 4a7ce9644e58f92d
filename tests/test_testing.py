"""The shipped test aids keep their promises."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from nesf import lattice, testing
from nesf.crystal import Crystal

relaxed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def nearest(crystal: Crystal) -> float:
    """The shortest distance between two atoms, images included (Å); more than one atom is needed."""
    delta = crystal.cart[:, None] - crystal.cart[None]
    images = lattice.minimum_image(torch.tensor(delta.reshape(-1, 3)), torch.tensor(crystal.cell))
    distance = images.norm(dim=-1).numpy().reshape(len(crystal), len(crystal))
    return float(distance[~np.eye(len(crystal), dtype=bool)].min())


@pytest.mark.parametrize(
    ("crystal", "expected"),
    [
        (testing.rocksalt(), 5.64 / 2),
        (testing.caesium_chloride(), 4.123 * 3**0.5 / 2),
        (testing.perovskite(), 3.905 / 2),
        (testing.hexagonal(), (3.209**2 / 3 + 5.211**2 / 4) ** 0.5),
    ],
    ids=lambda value: getattr(value, "id", None),
)
def test_nearest_neighbours_are_those_of_the_literature_cells(crystal, expected):
    assert nearest(crystal) == pytest.approx(expected, abs=testing.FLOAT64_ANGSTROM)


@relaxed
@given(testing.crystals())
def test_drawn_crystals_keep_their_atoms_apart_and_inside_the_cell(crystal):
    if len(crystal) > 1:
        assert nearest(crystal) > testing.STRATEGY_SEPARATION_ANGSTROM
    assert (crystal.frac > -1e-9).all()
    assert (crystal.frac < 1).all()


@relaxed
@given(testing.crystals(right_angled=True, max_atoms=3, max_number=10))
def test_drawn_crystals_respect_their_limits(crystal):
    assert len(crystal) <= 3
    assert crystal.numbers.max() <= 10
    assert np.degrees(crystal.angles_rad) == pytest.approx(90)
