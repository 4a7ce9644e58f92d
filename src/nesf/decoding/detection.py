"""Step 4 for many crystals at once: non-maximum suppression."""

import torch
from torch import Tensor

from nesf.decoding.settings import EstimationSettings
from nesf.shapes import Float, Int


def detect(
    points: Float[Tensor, "n 3"],
    scores: Float[Tensor, " n"],
    owner: Int[Tensor, " n"],
    settings: EstimationSettings,
) -> tuple[Float[Tensor, "atoms 3"], Int[Tensor, " atoms"]]:
    """Atoms (angstrom) and the crystal of each, ascending; within a crystal the best-scored comes first.

    The greedy algorithm of the paper, one round for all crystals together: every crystal takes its
    best particle left, accepts it if enough particles lie in its ball, and removes the ball.
    """
    good = scores <= settings.score_threshold
    points, scores, owner = points[good], scores[good], owner[good]
    order = scores.argsort(stable=True)
    order = order[owner[order].argsort(stable=True)]  # by crystal, best particle first
    points, scores, owner = points[order], scores[order], owner[order]
    atoms, owners = [points.new_zeros((0, 3))], [owner.new_zeros(0)]
    while len(points) > 0:
        # Particles are sorted, so the first of each crystal is its best.
        first = torch.ones_like(owner, dtype=torch.bool)
        first[1:] = owner[1:] != owner[:-1]
        best = first.nonzero().squeeze(1)
        rank = first.cumsum(0) - 1
        inside = (points - points[best[rank]]).norm(dim=1) < settings.radius
        counts = torch.zeros_like(best).index_add_(0, rank, inside.long())
        accepted = counts >= settings.min_particles
        place = points[best]
        if settings.refine == "weighted":
            place = place + _weighted_mean(points - place[rank], scores, inside, rank, len(best))
        atoms.append(place[accepted])
        owners.append(owner[best][accepted])
        points, scores, owner = points[~inside], scores[~inside], owner[~inside]
    found, whose = torch.cat(atoms), torch.cat(owners)
    order = whose.argsort(stable=True)
    return found[order], whose[order]


def _weighted_mean(points: Tensor, scores: Tensor, inside: Tensor, rank: Tensor, n: int) -> Tensor:
    # softmax(-score^2); scores are at most the threshold, below 1, so that no exponent can overflow.
    weights = torch.where(inside, (-scores.square()).exp(), 0.0)
    total = weights.new_zeros(n).index_add_(0, rank, weights)
    return points.new_zeros((n, 3)).index_add_(0, rank, weights.unsqueeze(1) * points) / total.unsqueeze(1)
