"""From particles to atoms: the rules of the suppression and of the vote, in both forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nesf.crystal import Crystal
from nesf.decoding import EstimationSettings
from nesf.decoding.detection import detect
from nesf.decoding.particles import Particles
from nesf.decoding.reference import majority_vote, non_maximum_suppression
from nesf.decoding.species import vote
from nesf.fields import TrueField

HOW = EstimationSettings(min_particles=10, radius=0.5)


def cloud(place, count: int, spread: float = 0.1) -> Tensor:
    """``count`` points within ``spread`` of a place; the first is the place itself."""
    steps = torch.linspace(0, spread, count).unsqueeze(1) * torch.tensor([[1.0, 0.0, 0.0]])
    return torch.tensor(place) + steps


def particles(points: Tensor, scores: Tensor, owner: Tensor | None = None) -> Particles:
    """Particles of one crystal, or of several, each of them counting once."""
    whose = torch.zeros(len(points), dtype=torch.long) if owner is None else owner
    return Particles(points, whose, torch.ones_like(whose), scores)


def suppress(points: Tensor, scores: Tensor, how: EstimationSettings) -> Tensor:
    """Both forms of the suppression, which must agree."""
    literal = non_maximum_suppression(points, scores, how)
    batched, owner = detect(particles(points, scores), how)
    torch.testing.assert_close(batched, literal)
    assert owner.tolist() == [0] * len(batched)
    return literal


def test_a_candidate_with_too_few_particles_is_rejected():
    points = torch.cat((cloud((0.0, 0.0, 0.0), 10), cloud((2.0, 0.0, 0.0), 9)))
    atoms = suppress(points, torch.full((19,), 0.1), HOW)
    assert atoms.tolist() == [[0, 0, 0]]
    assert len(suppress(points, torch.full((19,), 0.1), replace(HOW, min_particles=9))) == 2
    assert len(suppress(points, torch.full((19,), 0.1), replace(HOW, min_particles=11))) == 0


def test_the_best_particle_comes_first_and_its_ball_is_removed():
    points = torch.cat((cloud((0.0, 0.0, 0.0), 12), cloud((2.0, 0.0, 0.0), 12)))
    scores = torch.linspace(0.8, 0.1, 24)
    atoms = suppress(points, scores, HOW)
    # The last point of the second cloud has the best score; then the last of the first.
    torch.testing.assert_close(atoms, torch.tensor([[2.1, 0, 0], [0.1, 0, 0]]))


def test_a_rejected_candidate_takes_its_ball_with_it():
    # The lone best particle has six of a cloud of twelve in its ball; the other six are too few for an atom.
    points = torch.cat((torch.tensor([[-0.45, 0.0, 0.0]]), cloud((0.0, 0.0, 0.0), 12)))
    scores = torch.cat((torch.tensor([0.0]), torch.full((12,), 0.1)))
    assert len(suppress(points, scores, HOW)) == 0
    assert len(suppress(points[1:], scores[1:], HOW)) == 1


def test_an_atom_is_the_best_particle_or_the_weighted_mean():
    points, scores = cloud((0.0, 0.0, 0.0), 11), torch.linspace(0.1, 0.8, 11)
    assert suppress(points, scores, HOW).tolist() == [[0, 0, 0]]
    weights = np.exp(-(scores.numpy().astype(float) ** 2))
    mean = (weights * points[:, 0].numpy()).sum() / weights.sum()
    assert suppress(points, scores, replace(HOW, refine="weighted"))[0, 0].item() == pytest.approx(mean, abs=1e-6)


def test_particles_far_from_any_atom_are_dropped():
    points, scores = cloud((0.0, 0.0, 0.0), 12), torch.linspace(0.855, 0.965, 12)
    assert len(detect(particles(points, scores), replace(HOW, min_particles=5))[0]) == 1
    assert len(detect(particles(points, scores), replace(HOW, min_particles=6))[0]) == 0


def swarm(seed: int, n: int) -> Particles:
    """Particles of up to four crystals, neither the first ones nor all of them; many places and scores are equal."""
    random = torch.Generator().manual_seed(seed)
    owner = torch.tensor([2, 3, 7, 11])[torch.randint(4, (n,), generator=random)].sort().values
    # On a grid of an eighth of the radius 0.5 distances are exact, so that some are just the radius.
    points = torch.randint(-12, 12, (n, 3), generator=random) / 16
    scores = torch.randint(1, 12, (n,), generator=random) / 10
    return Particles(points, owner, torch.randint(1, 6, (n,), generator=random), scores)


def one_by_one(some: Particles, how: EstimationSettings) -> tuple[Tensor, Tensor]:
    """What the literal suppression finds, crystal by crystal, where each particle stands as often as it counts."""
    atoms, owner = [some.points[:0]], [some.owner[:0]]
    for crystal in some.owner.unique():
        own = ((some.owner == crystal) & (some.scores <= how.score_threshold)).nonzero().squeeze(1)
        own = own.repeat_interleave(some.weight[own])
        atoms.append(non_maximum_suppression(some.points[own], some.scores[own], how))
        owner.append(crystal.repeat(len(atoms[-1])))
    return torch.cat(atoms), torch.cat(owner)


many_swarms = given(st.integers(0, 2**31), st.integers(0, 120), st.integers(1, 12), st.sampled_from([0.25, 0.5, 1.0]))


@settings(max_examples=60)
@many_swarms
def test_many_crystals_at_once_are_as_each_by_itself(seed, n, least, radius):
    some = swarm(seed, n)
    single = Particles(some.points, some.owner, torch.ones_like(some.weight), some.scores)
    for swarm_ in (some, single):
        how = replace(HOW, min_particles=least, radius=radius)
        (atoms, owner), (expected, whose) = detect(swarm_, how), one_by_one(swarm_, how)
        assert atoms.equal(expected)
        assert owner.equal(whose)
        how = replace(how, refine="weighted")
        (atoms, owner), (expected, whose) = detect(swarm_, how), one_by_one(swarm_, how)
        torch.testing.assert_close(atoms, expected, rtol=0, atol=1e-5)
        assert owner.equal(whose)


def test_any_number_of_particles_may_be_close_to_each_other():
    # All pairs of them would take 200 GB.
    points = torch.rand(160_000, 3, generator=torch.Generator().manual_seed(0)) / 4
    atoms, owner = detect(particles(points, torch.linspace(0.1, 0.5, len(points))), HOW)
    assert atoms.equal(points[:1])
    assert owner.tolist() == [0]


def test_particles_that_are_nowhere_are_no_atom():
    nowhere = torch.tensor([torch.nan, torch.inf, -torch.inf]).repeat_interleave(12).unsqueeze(1).expand(-1, 3)
    points = torch.cat((nowhere, cloud((0.0, 0.0, 0.0), 12)))
    for score in (torch.inf, torch.nan, 0.0):
        scores = torch.cat((torch.full((36,), score), torch.full((12,), 0.1)))
        for refine in ("best", "weighted"):
            atoms, _ = detect(particles(points, scores), replace(HOW, refine=refine))
            assert len(atoms) == 1
            assert atoms.isfinite().all()
        assert [len(found) for found in detect(particles(nowhere, scores[:36]), HOW)] == [0, 0]
    assert [len(found) for found in detect(particles(points[:0], scores[:0]), HOW)] == [0, 0]


@pytest.mark.parametrize(
    ("x", "width", "expected"),
    [
        (1.12, 0.6, 22),  # four of seven layers of the grid are nearer to Ti
        (1.18, 0.6, 8),
        (1.15, 0.5, 8),  # three of six: of equals, the first in the vocabulary
    ],
)
def test_the_majority_around_an_atom_names_its_element(x, width, expected):
    pair = TrueField.of([Crystal("x", [22, 8], [[1, 1, 1], [1.3, 1, 1]], 4 * np.eye(3))])
    how = EstimationSettings(species_interval=0.1, species_width=width)
    atoms = torch.tensor([[x, 1.0, 1.0], [1.0, 1.0, 1.0]])
    literal = majority_vote(pair, 0, atoms, how)
    assert vote(pair, atoms, torch.zeros(2, dtype=torch.long), how).equal(literal)
    assert pair.vocabulary.number_of(literal).tolist() == [expected, 22]
