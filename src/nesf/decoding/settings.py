"""The parameters of the estimation."""

from dataclasses import dataclass
from typing import Literal

from nesf.errors import NesfError

_ANY = float("inf")
_LIMITS = {
    "margin": (0, 100),
    "interval": (0.02, 100),
    "iterations": (1, 10_000),
    "converged": (0, _ANY),
    "merge": (0, _ANY),
    "draft_above": (0, _ANY),
    "coarse": (0, _ANY),
    "score_threshold": (0, 100),
    "radius": (0, 100),
    "min_particles": (0, _ANY),
    "species_interval": (0.01, 100),
    "species_width": (0, 10),
    "max_extent": (0, 10_000),
    "min_extent": (0, 10_000),
}
"""What is between these ends inclusive has a meaning; what is not would never end or divide by nothing."""


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

    def __post_init__(self) -> None:
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:  # nor is NaN
                raise NesfError(f"estimation.{name} is {value}; it must be from {least} to {most}.")
        if self.species_width > 50 * self.species_interval:
            raise NesfError("estimation.species_width must be at most 50 times estimation.species_interval.")
