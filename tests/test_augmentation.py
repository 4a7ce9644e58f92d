"""Augmentations: other elements, cells, places and origins, and what each of them keeps."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nesf import lattice, testing
from nesf.crystal import Crystal, CrystalBatch
from nesf.data.augmentation import Deformation, Doubling, ElementMixture, ElementPermutation, InTurn, OriginShift
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


def mixed(batch: CrystalBatch, share: float, most: int = 8, seed: int = 0) -> CrystalBatch:
    return ElementMixture(ALL, share, most)(batch, torch.Generator().manual_seed(seed))


def crowd(crystals: int, atoms: int = 40) -> CrystalBatch:
    frac = torch.rand(atoms, 3, generator=torch.Generator().manual_seed(0)).numpy()
    one = Crystal.from_frac("crowd", [26] * atoms, frac, [[9, 0, 0], [0, 9, 0], [0, 0, 9]])
    return CrystalBatch.from_crystals([one] * crystals)


def test_mixed_elements_are_of_any_number_of_kinds_up_to_the_most_and_are_all_used():
    batch = crowd(800)
    changed = mixed(batch, 1.0)
    assert changed.cart.equal(batch.cart)
    assert changed.cells.equal(batch.cells)
    kinds = torch.tensor([len(row.unique()) for row in changed.numbers.reshape(800, 40)])
    # Each number of kinds has a chance of 1/8; that one of eight kinds is missing in 40 atoms is rare.
    assert kinds.unique().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert kinds.bincount()[1:].min() > 60
    assert sorted(changed.numbers.unique().tolist()) == list(ALL.numbers)


def test_a_share_of_the_crystals_is_mixed_and_the_rest_stays():
    changed = mixed(crowd(2000), 0.25).numbers.reshape(2000, 40)
    rate = 1 - float((changed == 26).all(1).float().mean())
    assert abs(rate - 0.25) < 5 * (0.25 * 0.75 / 2000) ** 0.5
    assert mixed(many(9), 0.0).numbers.equal(many(9).numbers)
    assert mixed(many(9), 1.0, seed=3).numbers.equal(mixed(many(9), 1.0, seed=3).numbers)


def test_there_may_be_fewer_elements_than_room():
    two = ElementMixture(Vocabulary((8, 26)), 1.0, 8)
    changed = two(crowd(50), torch.Generator().manual_seed(0))
    assert set(changed.numbers.unique().tolist()) == {8, 26}


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


def test_a_share_of_one_draws_nothing_to_decide():
    # The trainings of before the share went on must go on as they did.
    batch, generator = many(3), torch.Generator().manual_seed(5)
    changed = Deformation(0.1, 0.02, 1.0)(batch, generator)
    again = torch.Generator().manual_seed(5)
    factors = 1 + 0.1 * (2 * torch.rand(3, 3, generator=again) - 1)
    assert changed.cells.equal(batch.cells * factors.unsqueeze(2))
    torch.randn(batch.cart.shape, generator=again)
    assert generator.get_state().equal(again.get_state())


def test_the_share_is_that_of_crystals_strained_and_of_crystals_rattled():
    batch = many(2000)
    changed = Deformation(0.1, 0.05, 0.3)(batch, torch.Generator().manual_seed(0))
    strained = (changed.cells != batch.cells).flatten(1).any(1)
    frac = lattice.cart_to_frac(changed.cart.unsqueeze(1), changed.cells[batch.owner]).squeeze(1)
    was = lattice.cart_to_frac(batch.cart.unsqueeze(1), batch.cells[batch.owner]).squeeze(1)
    rattled = (frac - was).abs().reshape(2000, -1).amax(1) > 1e-4
    spread = 5 * (0.3 * 0.7 / 2000) ** 0.5
    for share, expected in ((strained, 0.3), (rattled, 0.3), (strained & rattled, 0.09)):
        assert abs(float(share.float().mean()) - expected) < spread


def test_a_share_of_zero_deforms_nothing():
    batch = many(50)
    changed = Deformation(0.1, 0.05, 0.0)(batch, torch.Generator().manual_seed(0))
    assert changed.cells.equal(batch.cells)
    assert torch.allclose(changed.cart, batch.cart, atol=1e-5)


def moved(batch: CrystalBatch, share: float, seed: int = 0) -> CrystalBatch:
    return OriginShift(share)(batch, torch.Generator().manual_seed(seed))


def periodic_distances(cart: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    pairs = (cart.unsqueeze(0) - cart.unsqueeze(1)).flatten(0, 1).double()
    return lattice.minimum_image(pairs, cell.double()).norm(dim=1)


@relaxed
@given(st.lists(testing.crystals(max_atoms=6), min_size=1, max_size=4), st.integers(0, 2**31))
def test_another_origin_keeps_elements_cells_and_periodic_distances(crystals, seed):
    batch = CrystalBatch.from_crystals(crystals)
    changed = moved(batch, 1.0, seed)
    assert changed.numbers.equal(batch.numbers)
    assert changed.counts.equal(batch.counts)
    assert changed.cells.equal(batch.cells)
    sizes = batch.counts.tolist()
    for old, new, cell in zip(batch.cart.split(sizes), changed.cart.split(sizes), batch.cells, strict=True):
        before, after = periodic_distances(old, cell), periodic_distances(new, cell)
        assert torch.allclose(after, before, atol=testing.FLOAT32_ANGSTROM)
        frac = lattice.cart_to_frac(new, cell)
        assert ((frac > -1e-5) & (frac < 1 + 1e-5)).all()


def test_all_atoms_of_a_crystal_are_moved_alike_and_each_crystal_in_its_own_way():
    batch = many(200)
    changed = moved(batch, 1.0)
    # One factor for all: the lattice of SrTiO3 is a cube, its atoms lie at its corner, centre and faces.
    way = (changed.cart - batch.cart).reshape(200, 5, 3) / 3.905
    assert torch.allclose((way - way[:, :1]).round(), way - way[:, :1], atol=1e-4)
    first = way[:, 0] % 1
    assert abs(float(first.mean()) - 0.5) < 0.05  # the origin goes anywhere in the cell
    assert float(first.amin()) < 0.02
    assert float(first.amax()) > 0.98


def test_the_share_is_that_of_crystals_with_another_origin():
    assert moved(many(50), 0.0).cart.equal(many(50).cart)
    changed = (moved(many(2000), 0.3).cart != many(2000).cart).reshape(2000, -1).any(1)
    assert abs(float(changed.float().mean()) - 0.3) < 5 * (0.3 * 0.7 / 2000) ** 0.5
    every = (moved(many(2000), 1.0).cart != many(2000).cart).reshape(2000, -1).any(1)
    assert every.all()


def test_double_precision_stays_double():
    batch = many(3)
    exact = CrystalBatch(batch.numbers, batch.cart.double(), batch.counts, batch.cells.double())
    for change in (Deformation(0.1, 0.02), Deformation(0.1, 0.02, 0.5), OriginShift(1.0)):
        changed = change(exact, torch.Generator().manual_seed(0))
        assert changed.cart.dtype == changed.cells.dtype == torch.float64


@relaxed
@given(st.lists(testing.crystals(max_atoms=6), min_size=1, max_size=4))
def test_doubled_cells_hold_the_same_crystals(crystals):
    batch = CrystalBatch.from_crystals(crystals)
    double = Doubling(1.0, 12)(batch, torch.Generator())
    assert double.counts.equal(2 * batch.counts)
    torch.testing.assert_close(lattice.volume(double.cells), 2 * lattice.volume(batch.cells), rtol=1e-4, atol=1e-3)
    for i in range(len(batch)):
        one, two = batch.select(torch.tensor([i])), double.select(torch.tensor([i]))
        row = int(one.cells[0].norm(dim=1).argmin())
        # Each atom twice, one step along the shortest edge apart, of the same element.
        n = len(one.numbers)
        assert two.numbers.equal(one.numbers.repeat(2))
        torch.testing.assert_close(two.cart[:n], one.cart)
        torch.testing.assert_close(two.cart[n:], one.cart + one.cells[0, row])
        others = [k for k in range(3) if k != row]
        assert two.cells[0, others].equal(one.cells[0, others])
        assert two.cells[0, row].equal(2 * one.cells[0, row])


def test_no_crystal_gets_more_atoms_than_allowed_and_no_share_changes_nothing():
    batch = CrystalBatch.from_crystals([testing.perovskite(), testing.rocksalt()])
    assert Doubling(1.0, 15)(batch, torch.Generator()) is batch
    assert Doubling(0.0, 99)(batch, torch.Generator()) is batch
    doubled = sum(Doubling(0.3, 99)(batch, torch.Generator().manual_seed(seed)) is not batch for seed in range(300))
    assert 60 < doubled < 120
