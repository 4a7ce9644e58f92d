"""Field -> crystal: proven on true fields before any network, and by the literal path."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from nesf import testing
from nesf.config import FAST, PAPER
from nesf.crystal import Crystal, CrystalBatch, Failure
from nesf.decoding import EstimationSettings, estimate
from nesf.decoding.start import StartGrids
from nesf.elements import Vocabulary
from nesf.errors import NesfError
from nesf.fields import TrueField
from nesf.model import Autoencoder, NetworkSettings

relaxed = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
BOX = ((0.0, 0.0, 0.0), (6.0, 6.0, 6.0))
# The training box holds every particle of the paper; the coarse grid keeps the literal path quick.
IN_BOX = EstimationSettings(region="training_box", iterations=8)
IN_CELL = EstimationSettings(region="cell", iterations=8, converged=1e-3, refine="weighted")
both_paths = pytest.mark.parametrize("literal", [False, True], ids=["batched", "literal"])
both_regions = pytest.mark.parametrize("region", [IN_BOX, IN_CELL], ids=["training box", "cell"])


@dataclass
class Altered:
    """A true field with something wrong about it: its cells, its displacements, or some of its values."""

    truth: TrueField
    cells: Tensor
    lost: tuple[int, ...] = ()
    noise: float = 0.0
    reach: float = 1.0
    spoilt: Callable[[Tensor, Tensor], Tensor] | None = None
    value: float = torch.nan

    @property
    def vocabulary(self) -> Vocabulary:
        return self.truth.vocabulary

    def displacement(self, points: Tensor, owner: Tensor) -> Tensor:
        # Noise that is a smooth function of place, as a network's is: the field stays deterministic.
        wave = self.noise * (7 * points.roll(1, 1) + 3 * points).sin()
        lost = torch.isin(owner, torch.tensor(self.lost, dtype=torch.long)).unsqueeze(1)
        steps = torch.where(lost, 5.0, self.reach * self.truth.displacement(points, owner) + wave)
        return self._said(steps, points, owner)

    def species_logits(self, points: Tensor, owner: Tensor) -> Tensor:
        return self._said(self.truth.species_logits(points, owner), points, owner)

    def _said(self, values: Tensor, points: Tensor, owner: Tensor) -> Tensor:
        if self.spoilt is None:
            return values
        return torch.where(self.spoilt(points, owner).unsqueeze(1), self.value, values)


def altered(crystals, **changes) -> Altered:
    truth = TrueField.of(crystals)
    return Altered(truth, changes.pop("cells", truth.cells), **changes)


def same_crystal(true: Crystal, found: Crystal | Failure, within: float = 1e-3) -> bool:
    """Whether the atoms found are the true ones, in whatever order, to ``within`` angstrom."""
    if isinstance(found, Failure) or (found.id, len(found)) != (true.id, len(true)):
        return False
    distance = np.linalg.norm(true.cart[:, None] - found.cart[None], axis=-1)
    match = distance.argmin(1)
    one_to_one = len(set(match.tolist())) == len(true)
    same_cell = np.allclose(true.cell, found.cell, atol=1e-5)
    return bool(
        one_to_one and same_cell and distance.min(1).max() < within and (found.numbers[match] == true.numbers).all()
    )


def ids(crystals) -> list[str]:
    return [c.id for c in crystals]


@both_paths
@both_regions
def test_the_true_field_gives_its_crystals_back(region, literal):
    crystals = testing.known_crystals()
    found = estimate(TrueField.of(crystals), ids(crystals), region, box=BOX, literal=literal)
    assert [same_crystal(*pair) for pair in zip(crystals, found, strict=True)] == [True] * len(crystals)


@both_paths
@pytest.mark.parametrize("config", [PAPER, FAST], ids=["paper", "fast"])
def test_so_do_the_settings_of_the_presets(config, literal):
    crystals = [testing.triclinic(), testing.hexagonal()]
    found = estimate(TrueField.of(crystals), ids(crystals), config.estimation, box=BOX, literal=literal)
    assert [same_crystal(*pair) for pair in zip(crystals, found, strict=True)] == [True, True]


@relaxed
@given(st.lists(testing.crystals(max_atoms=4), min_size=1, max_size=3))
def test_the_batched_path_agrees_with_the_literal_one_on_true_fields(crystals):
    agree(TrueField.of(crystals), len(crystals), replace(IN_CELL, converged=0.0))
    agree(TrueField.of(crystals), len(crystals), replace(IN_BOX, interval=0.75))


@pytest.mark.parametrize("refine", ["best", "weighted"])
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_it_agrees_on_noisy_fields(noise, refine):
    # From noise of 0.1 Å on there are rejected candidates, doubled atoms and empty crystals.
    field = altered(testing.known_crystals(), noise=noise)
    agree(field, 5, replace(IN_CELL, converged=0.0, refine=refine))


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_on_untrained_networks(seed):
    torch.manual_seed(seed)
    network = NetworkSettings(latent=8, position_field=(32, 32), species_field=(32,))
    field = Autoencoder(network, Vocabulary((8, 11, 17, 22))).eval().decode_field(torch.randn(4, 8))
    settled = Altered(field, torch.eye(3).repeat(4, 1, 1) * torch.tensor([4.0, 5.0, 3.0, 6.0])[:, None, None])  # type: ignore[arg-type]
    agree(settled, 4, EstimationSettings(region="cell", iterations=8, score_threshold=3.0, min_particles=3))


def agree(field, count: int, how: EstimationSettings) -> None:
    names = [str(i) for i in range(count)]
    fast = estimate(field, names, how, box=BOX)
    slow = estimate(field, names, how, box=BOX, literal=True)
    for one, other in zip(fast, slow, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Crystal) and isinstance(other, Crystal):
            # Which of two equally good particles comes first is a matter of the last bit, so order is free.
            apart = np.linalg.norm(one.cart[:, None] - other.cart, axis=2)
            partner = apart.argmin(1)
            assert sorted(partner) == list(range(len(other)))
            assert apart.min(1).max() <= 2 * testing.FLOAT32_ANGSTROM
            assert one.numbers.tolist() == other.numbers[partner].tolist()
            assert np.array_equal(one.cell, other.cell)
        else:
            assert one == other


def test_particles_that_have_arrived_may_rest():
    crystals = testing.known_crystals()
    field = altered(crystals, noise=0.02)
    resting, all_moving = (estimate(field, ids(crystals), replace(IN_CELL, converged=c)) for c in (1e-3, 0.0))
    for one, other in zip(resting, all_moving, strict=True):
        assert same_crystal(other, one, within=0.01)


@both_paths
def test_twice_is_the_same_bit_for_bit(literal):
    crystals = testing.known_crystals()
    field = altered(crystals, noise=0.1)
    once, again = (estimate(field, ids(crystals), IN_CELL, literal=literal) for _ in range(2))
    assert once == again


@relaxed
@given(st.lists(testing.crystals(max_atoms=4), min_size=2, max_size=4))
def test_neighbours_do_not_matter(crystals):
    field = TrueField.of(crystals)
    together = estimate(field, ["x"] * len(crystals), IN_CELL)
    alone = [estimate(TrueField.of([c], field.vocabulary), ["x"], IN_CELL)[0] for c in crystals]
    for one, other in zip(together, alone, strict=True):
        assert same_crystal(other, one, within=testing.FLOAT32_ANGSTROM)


FLAT = torch.tensor([[4.0, 0, 0], [0, 4.0, 0], [2.0, 2.0, 0]])
LONG = torch.diag(torch.tensor([4.0, 4.0, 61.0]))
SHORT = torch.diag(torch.tensor([4.0, 0.4, 4.0]))
NOT_FINITE = torch.diag(torch.tensor([4.0, torch.nan, 4.0]))
MIRRORED = torch.diag(torch.tensor([-4.0, 4.0, 4.0]))


@both_paths
@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (FLAT, "angles belong to no cell"),
        (LONG, "4.00 × 4.00 × 61.00 Å, is outside 0.5 to 60.0 Å"),
        (SHORT, "4.00 × 0.40 × 4.00 Å, is outside"),
        (NOT_FINITE, "not finite"),
        (MIRRORED, "no cell"),
    ],
    ids=["flat", "long", "short", "not finite", "negative length"],
)
def test_an_impossible_cell_fails_in_its_place_and_the_others_are_found(cell, words, literal):
    crystals = [testing.caesium_chloride(), testing.perovskite(), testing.rocksalt()]
    cells = TrueField.of(crystals).cells.clone()
    cells[1] = cell
    found = estimate(altered(crystals, cells=cells), ids(crystals), IN_CELL, literal=literal)
    assert same_crystal(crystals[0], found[0])
    assert same_crystal(crystals[2], found[2])
    assert isinstance(found[1], Failure)
    assert found[1].id == "SrTiO3"
    assert words in found[1].reason


@both_paths
def test_a_crystal_without_atoms_fails_in_its_place(literal):
    crystals = [testing.caesium_chloride(), testing.perovskite(), testing.rocksalt()]
    found = estimate(altered(crystals, lost=(1,)), ids(crystals), IN_CELL, literal=literal)
    assert found[1] == Failure("SrTiO3", "No atom was found in the field.")
    assert same_crystal(crystals[0], found[0])
    assert same_crystal(crystals[2], found[2])


@both_paths
def test_all_crystals_may_fail(literal):
    crystals = [testing.caesium_chloride(), testing.perovskite()]
    nothing = estimate(altered(crystals, lost=(0, 1)), ids(crystals), IN_CELL, literal=literal)
    assert [f.reason for f in nothing if isinstance(f, Failure)] == ["No atom was found in the field."] * 2
    flat = estimate(altered(crystals, cells=torch.stack((FLAT, FLAT))), ids(crystals), IN_CELL, literal=literal)
    assert [type(f) for f in flat] == [Failure, Failure]


def test_ids_are_counted():
    with pytest.raises(NesfError, match="describes 2 crystals, but 1 ids"):
        estimate(TrueField.of([testing.rocksalt(), testing.perovskite()]), ["one"], IN_CELL)


def test_the_training_box_must_be_given():
    with pytest.raises(NesfError, match="needs the box of the training atoms"):
        estimate(TrueField.of([testing.rocksalt()]), ["NaCl"], IN_BOX)


@pytest.mark.parametrize("crystal", testing.known_crystals(), ids=lambda crystal: crystal.id)
def test_particles_start_within_reach_of_every_atom(crystal):
    atoms = CrystalBatch.from_crystals([crystal]).cart
    for how in (IN_CELL, IN_BOX):
        grid, _ = StartGrids(TrueField.of([crystal]).cells, how, BOX).points(torch.tensor([0]))
        # At least min_particles of a grid of 0.5 Å lie in a ball of 1 Å, all of it inside the margin.
        assert ((grid.unsqueeze(1) - atoms).norm(dim=2) < 1.0).sum(0).min() >= how.min_particles
    assert StartGrids(torch.eye(3).unsqueeze(0), IN_BOX, BOX).counts.tolist() == [17**3]
