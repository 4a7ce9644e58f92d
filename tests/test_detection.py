"""From particles to atoms: the rules of the suppression and of the vote, in both forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nesf.crystal import Crystal
from nesf.decoding import EstimationSettings
from nesf.decoding.detection import detect
from nesf.decoding.reference import majority_vote, non_maximum_suppression
from nesf.decoding.species import vote
from nesf.fields import TrueField

HOW = EstimationSettings(min_particles=10, radius=0.5)


def cloud(place, count: int, spread: float = 0.1) -> Tensor:
    """``count`` points within ``spread`` of a place; the first is the place itself."""
    steps = torch.linspace(0, spread, count).unsqueeze(1) * torch.tensor([[1.0, 0.0, 0.0]])
    return torch.tensor(place) + steps


def suppress(points: Tensor, scores: Tensor, how: EstimationSettings) -> Tensor:
    """Both forms of the suppression, which must agree."""
    literal = non_maximum_suppression(points, scores, how)
    batched, owner = detect(points, scores, torch.zeros(len(points), dtype=torch.long), how)
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
    owner = torch.zeros(12, dtype=torch.long)
    assert len(detect(points, scores, owner, replace(HOW, min_particles=5))[0]) == 1
    assert len(detect(points, scores, owner, replace(HOW, min_particles=6))[0]) == 0


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
