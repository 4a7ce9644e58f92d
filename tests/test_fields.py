"""The true field: physics that any structure field must obey."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nesf import testing
from nesf.crystal import Crystal, CrystalBatch
from nesf.elements import Vocabulary
from nesf.errors import NesfError
from nesf.fields import StructureField, TrueField
from nesf.fields.grids import box_grid, cell_box, local_grid
from nesf.model import Autoencoder, NetworkSettings

relaxed = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
float32 = {"rtol": 0, "atol": testing.FLOAT32_ANGSTROM}
several = st.lists(testing.crystals(max_atoms=5), min_size=1, max_size=4)
both_frames = pytest.mark.parametrize("periodic", [False, True], ids=["paper frame", "periodic"])

POINTS = 64


def queries(n_crystals: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in and around the cells, and their crystals in no order."""
    random = torch.Generator().manual_seed(seed)
    return (
        torch.rand(POINTS, 3, generator=random) * 7 - 1.5,
        torch.randint(n_crystals, (POINTS,), generator=random),
    )


def images(crystal: Crystal, periodic: bool) -> np.ndarray:
    """(n, images, 3) positions of every atom, with those in the 9 x 9 x 9 cells around where wanted (Å)."""
    steps = np.arange(-4, 5) if periodic else np.zeros(1)
    shifts = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3) @ crystal.cell
    return crystal.cart[:, None] + shifts


@both_frames
@relaxed
@given(crystals=several, seed=st.integers(0, 2**31))
def test_brute_force_agrees(periodic, crystals, seed):
    field = TrueField.of(crystals, periodic=periodic)
    points, owner = queries(len(crystals), seed)
    found, logits = field.displacement(points, owner), field.species_logits(points, owner)
    for i, (point, whose) in enumerate(zip(points.numpy(), owner.tolist(), strict=True)):
        vectors = images(crystals[whose], periodic) - point
        distances = np.linalg.norm(vectors, axis=-1)
        # Of atoms equally far away, either is right: the nearest by rounding errors.
        near = distances <= distances.min() + testing.FLOAT32_ANGSTROM
        assert np.abs(vectors[near] - found[i].numpy()).max(1).min() < testing.FLOAT32_ANGSTROM
        element = field.vocabulary.numbers[int(logits[i].argmax())]
        assert element in crystals[whose].numbers[near.any(1)]


@both_frames
@relaxed
@given(crystals=several)
def test_an_atom_is_where_it_is(periodic, crystals):
    field, batch = TrueField.of(crystals, periodic=periodic), CrystalBatch.from_crystals(crystals)
    assert field.displacement(batch.cart, batch.owner).norm(dim=1).max() < 1e-5
    elements = field.species_logits(batch.cart, batch.owner).argmax(1)
    assert field.vocabulary.number_of(elements).equal(batch.numbers)


@both_frames
@relaxed
@given(crystals=several, seed=st.integers(0, 2**31))
def test_following_the_field_ends_at_an_atom(periodic, crystals, seed):
    field = TrueField.of(crystals, periodic=periodic)
    points, owner = queries(len(crystals), seed)
    arrived = points + field.displacement(points, owner)
    for point, whose in zip(arrived.numpy(), owner.tolist(), strict=True):
        assert np.linalg.norm(images(crystals[whose], periodic) - point, axis=-1).min() < testing.FLOAT32_ANGSTROM


@both_frames
@pytest.mark.parametrize("crystal", testing.known_crystals(), ids=lambda crystal: crystal.id)
def test_the_field_is_minus_the_gradient_of_half_the_squared_distance(periodic, crystal):
    points, _ = queries(1, 0)
    atoms = torch.tensor(images(crystal, periodic).reshape(-1, 3)).float()
    points.requires_grad_()
    squares = (points[:, None] - atoms).square().sum(-1)
    (gradient,) = torch.autograd.grad(0.5 * squares.amin(1).sum(), points)
    # Where two atoms are equally far away the field jumps and has no gradient.
    smooth = squares.topk(2, largest=False).values.sqrt().diff().squeeze(1) > 1e-3
    assert smooth.sum() > POINTS / 2
    field = TrueField.of([crystal], periodic=periodic)
    found = field.displacement(points.detach(), torch.zeros(POINTS, dtype=torch.long))
    torch.testing.assert_close(found[smooth], -gradient[smooth], **float32)


@relaxed
@given(crystals=several, seed=st.integers(0, 2**31), steps=st.tuples(*[st.integers(-2, 2)] * 3))
def test_the_periodic_field_repeats_with_the_lattice(crystals, seed, steps):
    field = TrueField.of(crystals, periodic=True)
    points, owner = queries(len(crystals), seed)
    moved = points + torch.tensor(steps, dtype=torch.float32) @ field.cells[owner]
    distances = [field.displacement(p, owner).norm(dim=1) for p in (points, moved)]
    torch.testing.assert_close(*distances, **float32)


def test_the_field_of_the_paper_does_not_repeat():
    field, owner = TrueField.of([testing.rocksalt()]), torch.zeros(1, dtype=torch.long)
    corner = torch.tensor([[5.64, 5.64, 5.64]])
    # The atom at the origin has no image in the far corner: the nearest listed atom is in the middle of the cell.
    assert field.displacement(corner, owner).norm() == pytest.approx(5.64 * 3**0.5 / 2, abs=1e-4)
    assert TrueField.of([testing.rocksalt()], periodic=True).displacement(corner, owner).norm() < 1e-4


@both_frames
@relaxed
@given(crystal=testing.crystals(), seed=st.integers(0, 2**31))
def test_the_order_of_atoms_does_not_matter(periodic, crystal, seed):
    order = np.random.default_rng(seed).permutation(len(crystal))
    shuffled = Crystal(crystal.id, crystal.numbers[order], crystal.cart[order], crystal.cell)
    points, owner = queries(1, seed)
    one, other = (TrueField.of([c], periodic=periodic).displacement(points, owner) for c in (crystal, shuffled))
    torch.testing.assert_close(one.norm(dim=1), other.norm(dim=1), **float32)


def test_neighbours_in_a_batch_do_not_matter():
    crystals = testing.known_crystals()
    together = TrueField.of(crystals)
    points, _ = queries(1, 0)
    for i, crystal in enumerate(crystals):
        alone = TrueField.of([crystal], together.vocabulary)
        zero = torch.zeros(POINTS, dtype=torch.long)
        assert together.displacement(points, zero + i).equal(alone.displacement(points, zero))
        assert together.species_logits(points, zero + i).equal(alone.species_logits(points, zero))


def test_true_and_neural_fields_keep_one_protocol():
    vocabulary = Vocabulary((8, 11, 12, 17, 22, 38, 55))
    model = Autoencoder(NetworkSettings(latent=8), vocabulary)
    points, owner = queries(2, 0)
    for field in (TrueField.of(testing.known_crystals(), vocabulary), model.eval().decode_field(torch.zeros(2, 8))):
        assert isinstance(field, StructureField)
        assert field.displacement(points, owner).shape == (POINTS, 3)
        assert field.species_logits(points, owner).shape == (POINTS, 7)
        assert field.cells.shape[1:] == (3, 3)
    assert not isinstance(model, StructureField)


def test_an_element_outside_the_vocabulary_is_refused():
    with pytest.raises(NesfError, match="outside the vocabulary: Na, Cl"):
        TrueField.of([testing.rocksalt()], Vocabulary((8,)))


@relaxed
@given(st.tuples(*[st.floats(-3, 3, width=32)] * 3), st.tuples(*[st.floats(0, 4, width=32)] * 3))
def test_a_box_grid_covers_its_box_and_not_much_more(lower, extent):
    low, high = torch.tensor(lower), torch.tensor(lower) + torch.tensor(extent)
    grid = box_grid(low, high, 0.5)
    assert grid.amin(0).equal(low)
    assert (grid.amax(0) > high - 1e-3).all()
    assert (grid.amax(0) < high + 0.5).all()
    steps = grid[:, 2].unique().diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 0.5), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("interval", "width", "axis"), [(0.3, 1.2, 5), (0.1, 0.5, 6), (0.1, 0.6, 7)])
def test_local_grids_of_the_paper(interval, width, axis):
    grid = local_grid(interval, width)
    assert len(grid) == axis**3
    assert grid.unique(dim=0).shape == grid.shape
    values = grid[:, 0].unique()
    np.testing.assert_allclose(values, np.linspace(-width / 2, width / 2, axis), atol=1e-6)
    np.testing.assert_allclose(values.diff(), interval, atol=1e-6)
    np.testing.assert_allclose(grid.mean(0), 0, atol=1e-6)


@relaxed
@given(several)
def test_the_box_of_a_cell_holds_all_its_points(crystals):
    batch = CrystalBatch.from_crystals(crystals)
    lower, upper = cell_box(batch.cells, 0.25)
    inside = torch.rand(len(crystals), 200, 3, generator=torch.Generator().manual_seed(0)) @ batch.cells
    assert (inside.amin(1) > lower + 0.25 - 1e-5).all()
    assert (inside.amax(1) < upper - 0.25 + 1e-5).all()
    # No larger than needed: its extent is that of the parallelepiped, the sum of the vectors' extents.
    torch.testing.assert_close(upper - lower, batch.cells.abs().sum(1) + 0.5, **float32)
