"""The parameters of the estimation."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EstimationSettings:
    """The five steps from a field to atoms (paper, sections 2.1 and Supplementary Note 6); lengths in angstrom.

    Attributes:
        region: where particles start: in the box of the training atoms, the same for every crystal
            (paper), or in the box around the crystal's own cell.
        margin: how far the box is grown on each side.
        interval: spacing of the grid that particles start on.
        iterations: how often particles move at most.
        converged: particles whose step is shorter stop moving; 0 moves all of them every time (paper).
        merge: edge of cubes; particles that meet in one go on as one and count as many; 0 merges none (paper).
        draft_above: after a step longer than this the next one may be taken in bfloat16, where the hardware
            computes it faster; infinity is never (paper).
        coarse: with ``merge``, a first step is not asked for where the neighbours on the grid of twice the spacing
            land this close to each other: the particle lands there, too; 0 asks everywhere (paper).
        score_threshold: particles that end farther from their nearest atom, by the field, are dropped.
        radius: ball of the non-maximum suppression.
        min_particles: a candidate with fewer particles in its ball is rejected.
        refine: the atom is the ball's best particle (paper), or the mean of the ball weighted by
            softmax(-score^2) (released).
        species_interval: spacing of the grid around each atom that votes for its element.
        species_width: edge of the cube that this grid fills.
        quick_votes: whether an element that the centre and the corners of that cube agree on needs no more votes.
        max_extent: a predicted cell with a longer edge, or a shorter one than ``min_extent``, is no crystal.
        min_extent: see ``max_extent``.
    """

    region: Literal["training_box", "cell"] = "training_box"
    margin: float = 1.0
    interval: float = 0.5
    iterations: int = 64
    converged: float = 0.0
    merge: float = 0.0
    draft_above: float = float("inf")
    coarse: float = 0.0
    score_threshold: float = 0.9
    radius: float = 0.5
    min_particles: int = 10
    refine: Literal["best", "weighted"] = "best"
    species_interval: float = 0.1
    species_width: float = 0.5
    quick_votes: bool = False
    max_extent: float = 60.0
    min_extent: float = 0.5
