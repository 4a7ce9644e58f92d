"""Exchanging elements: other elements, the same crystal."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nesf import lattice, testing
from nesf.crystal import Crystal, CrystalBatch
from nesf.data.augmentation import Deformation, ElementPermutation, InTurn
from nesf.elements import Vocabulary

relaxed = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
ALL = Vocabulary(tuple(range(1, 95)))


def permuted(batch: CrystalBatch, share: float, seed: int) -> CrystalBatch:
    return ElementPermutation(ALL, share)(batch, torch.Generator().manual_seed(seed))


def many(n: int) -> CrystalBatch:
    return CrystalBatch.from_crystals([testing.perovskite()] * n)


@relaxed
@given(st.lists(testing.crystals(max_atoms=6), min_size=1, max_size=5), st.integers(0, 2**31))
def test_only_elements_change_and_equal_ones_stay_equal(crystals, seed):
    batch = CrystalBatch.from_crystals(crystals)
    changed = permuted(batch, 1.0, seed)
    assert changed.cart.equal(batch.cart)
    assert changed.cells.equal(batch.cells)
    assert changed.counts.equal(batch.counts)
    sizes = batch.counts.tolist()
    for old, new in zip(batch.numbers.split(sizes), changed.numbers.split(sizes), strict=True):
        pairs = set(zip(old.tolist(), new.tolist(), strict=True))
        assert len(pairs) == len(set(old.tolist())) == len(set(new.tolist()))
    assert ALL.unknown(changed.numbers.tolist()) == []


def test_a_permutation_of_the_vocabulary_uses_every_element_once():
    every = Crystal.from_frac("all", list(ALL.numbers), torch.rand(94, 3).numpy(), [[9, 0, 0], [0, 9, 0], [0, 0, 9]])
    changed = permuted(CrystalBatch.from_crystals([every]), 1.0, 0)
    assert sorted(changed.numbers.tolist()) == list(ALL.numbers)
    assert changed.numbers.tolist() != list(ALL.numbers)


def test_a_share_of_zero_changes_nothing():
    assert permuted(many(50), 0.0, 0).numbers.equal(many(50).numbers)


def test_the_share_is_the_share_of_crystals_changed():
    def changed(share):
        same = permuted(many(2000), share, 0).numbers.eq(many(2000).numbers).reshape(2000, 5).all(1)
        return 1 - float(same.float().mean())

    assert changed(1.0) > 0.99  # to leave Sr, Ti and O all in place has a chance of 1 in 94 x 93 x 92
    assert abs(changed(0.7) - 0.7) < 5 * (0.7 * 0.3 / 2000) ** 0.5


def test_crystals_of_a_batch_are_exchanged_each_in_its_own_way():
    rows = permuted(many(50), 1.0, 0).numbers.reshape(50, 5)
    assert len(rows.unique(dim=0)) > 45


def test_a_seed_repeats_and_another_does_not():
    assert permuted(many(9), 0.7, 3).numbers.equal(permuted(many(9), 0.7, 3).numbers)
    assert not permuted(many(9), 0.7, 3).numbers.equal(permuted(many(9), 0.7, 4).numbers)


@relaxed
@given(st.lists(testing.crystals(max_atoms=6), min_size=1, max_size=5), st.integers(0, 2**31), st.floats(0, 0.5))
def test_strain_keeps_fractions_and_angles_and_stays_within_its_bound(crystals, seed, strain):
    batch = CrystalBatch.from_crystals(crystals)
    changed = Deformation(strain, 0.0)(batch, torch.Generator().manual_seed(seed))
    old_lengths, old_angles = lattice.parameters_from_cell(batch.cells.double())
    lengths, angles = lattice.parameters_from_cell(changed.cells.double())
    assert ((lengths / old_lengths - 1).abs() <= strain + 1e-5).all()
    assert torch.allclose(angles, old_angles, atol=1e-4)
    fractions = [
        lattice.cart_to_frac(b.cart.double().unsqueeze(1), b.cells.double()[b.owner]) for b in (batch, changed)
    ]
    assert torch.allclose(*fractions, atol=1e-4)
    assert changed.numbers.equal(batch.numbers)


def test_rattle_moves_every_coordinate_by_its_deviation():
    batch = many(500)
    changed = Deformation(0.0, 0.1)(batch, torch.Generator().manual_seed(0))
    moved = changed.cart - batch.cart
    assert changed.cells.equal(batch.cells)
    assert abs(float(moved.std()) - 0.1) < 0.003
    assert abs(float(moved.mean())) < 0.005


def test_augmentations_in_turn_are_each_applied_with_one_generator():
    batch = many(3)
    parts = (ElementPermutation(ALL, 1.0), Deformation(0.1, 0.02))
    together = InTurn(*parts)(batch, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    one = parts[1](parts[0](batch, generator), generator)
    assert together.cart.equal(one.cart)
    assert together.numbers.equal(one.numbers)
    assert not together.cart.equal(batch.cart)
    assert not together.numbers.equal(batch.numbers)
