"""Steps 2 and 3 for many crystals at once: move the particles and score them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nesf.decoding.settings import EstimationSettings
from nesf.decoding.start import StartGrids
from nesf.fields import StructureField
from nesf.shapes import Bool, Float, Int

# Points queried at once: bounds the memory of fields that make large arrays of their queries.
_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 20}
# Three odd numbers that spread the cubes of space over 42 bits, so that two cubes with particles of one crystal have
# the same key once in some millions of crystals; and where counting cubes ends.
_MIX = (0x243F6A8885A308D3, 0x13198A2E03707345, 0x24093822299F31D1)  # digits of pi
_FAR = 1 << 40
# Steps after which particles are merged: most meet in the first few.
_MEETINGS = (0, 1, 2, 3, 5, 7)


@dataclass(frozen=True)
class Particles:
    """Particles of many crystals.

    Attributes:
        points: (n, 3) positions, angstrom.
        owner: (n,) the crystal of each, ascending.
        weight: (n,) how many of the particles that started it stands for.
        scores: (n,) length of its last step, angstrom; infinite before the first.
    """

    points: Float[Tensor, "n 3"]
    owner: Int[Tensor, " n"]
    weight: Int[Tensor, " n"]
    scores: Float[Tensor, " n"]

    @classmethod
    def resting(cls, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> "Particles":
        """Particles before their first step, each standing for itself."""
        return cls(points, owner, torch.ones_like(owner), points.new_full((len(points),), torch.inf))

    def __len__(self) -> int:
        return len(self.owner)

    def select(self, index: Int[Tensor, " m"]) -> "Particles":
        """Some of the particles; their order must keep the owners ascending."""
        return Particles(self.points[index], self.owner[index], self.weight[index], self.scores[index])

    def stepped(self, index: Int[Tensor, " m"], steps: Float[Tensor, "m 3"]) -> "Particles":
        """The particles after some of them took a step; a step that is not a number leads nowhere."""
        scores = self.scores.index_copy(0, index, steps.norm(dim=1).nan_to_num(torch.inf))
        return Particles(self.points.index_add(0, index, steps), self.owner, self.weight, scores)

    def on_the_way(self, which: Bool[Tensor, " n"], least: float) -> "Particles":
        """The same, but with scores of at least ``least`` for some: a draft cannot say that they have arrived."""
        scores = torch.where(which, self.scores.clamp_min(least), self.scores)
        return Particles(self.points, self.owner, self.weight, scores)

    def joined(self, other: "Particles") -> "Particles":
        """Both sets, by owner."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in ("points", "owner", "weight", "scores")]
        both = Particles(*[torch.cat(pair) for pair in pairs])
        return both.select(both.owner.argsort(stable=True))


def move(
    field: StructureField,
    grids: StartGrids,
    chosen: Int[Tensor, " crystals"],
    settings: EstimationSettings,
    draft: StructureField | None = None,
) -> Particles:
    """The particles of the chosen crystals at the end of their ways, scored by their distance to the nearest atom.

    Particles whose step is shorter than ``settings.converged`` have arrived and are not moved again. Particles
    that meet go on as one (``settings.merge``). Where some are still on the way in the end, details matter: the
    particles that started on that way are moved once more by the field proper, and only those that have all but met
    (a thousandth of ``settings.merge``) go on as one.

    Args:
        field: the structure field.
        grids: where particles start.
        chosen: the crystals, ascending.
        settings: iterations, convergence, merging, coarse start.
        draft: a cheaper approximation of the field, for the steps that need no precision.
    """
    start = Particles.resting(*grids.points(chosen))
    if settings.merge == 0:
        return _one_by_one(field, start, settings)
    every = torch.arange(len(start), device=start.owner.device)
    particles = start.stepped(every, _first_steps(draft or field, start, grids.neighbours(chosen), settings))
    particles = particles.on_the_way(start.scores > settings.draft_above, settings.converged)
    origin = every  # which particle each of those that started has become
    for iteration in range(settings.iterations):
        if iteration > 0:
            moving = (particles.scores >= settings.converged).nonzero().squeeze(1)
            if len(moving) == 0:
                return particles
            drafted = particles.scores > settings.draft_above
            particles = particles.stepped(moving, _steps(field, draft, particles.select(moving), settings))
            particles = particles.on_the_way(drafted, settings.converged)
        if iteration in _MEETINGS:
            # Once the long steps are done, particles that merely pass through a cube must not be carried far in it.
            particles, group = _merged(particles, settings.merge if iteration < 2 else settings.merge / 5)
            origin = group[origin]
    settled = particles.scores < settings.converged
    again = start.select((~settled[origin]).nonzero().squeeze(1))
    return particles.select(settled.nonzero().squeeze(1)).joined(_one_by_one(field, again, settings))


def _one_by_one(field: StructureField, particles: Particles, settings: EstimationSettings) -> Particles:
    """Every particle moved by itself, as in the paper, until it has arrived or met another; then scored."""
    for iteration in range(settings.iterations + 1):
        # Without a convergence threshold everything moves every time.
        moving = (particles.scores >= settings.converged).nonzero().squeeze(1)
        if len(moving) == 0:
            return particles
        steps = displacement(field, particles.points[moving], particles.owner[moving])
        stepped = particles.stepped(moving, steps)
        if iteration == settings.iterations:  # asked once more, only to score
            return Particles(particles.points, stepped.owner, stepped.weight, stepped.scores)
        particles = stepped
        if settings.merge > 0 and iteration % 4 == 3:
            # Only what will not part again in the steps that are left.
            particles, _ = _merged(particles, settings.merge / 1000)
    return particles


def displacement(field: StructureField, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """The position field at any number of points, in bounded memory."""
    size = _AT_ONCE.get(points.device.type, _AT_ONCE["cpu"])
    if len(points) <= size:
        return field.displacement(points, owner).float()
    chunks = zip(points.split(size), owner.split(size), strict=True)
    return torch.cat([field.displacement(p, o).float() for p, o in chunks])


def _first_steps(
    field: StructureField,
    start: Particles,
    neighbours: tuple[Bool[Tensor, " n"], Int[Tensor, "8 between"]],
    settings: EstimationSettings,
) -> Float[Tensor, "n 3"]:
    """The first step of each particle, asked for only where it cannot be told from its neighbours'.

    Every second point of the grid along each axis is asked first. A point between them that sees all its (up to
    eight) neighbours land within ``settings.coarse`` of each other lands there, too.
    """
    points, owner = start.points, start.owner
    if settings.coarse == 0:
        return displacement(field, points, owner)
    coarse, corners = neighbours
    asked, between = coarse.nonzero().squeeze(1), (~coarse).nonzero().squeeze(1)
    landing = torch.empty_like(points)
    landing[asked] = points[asked] + displacement(field, points[asked], owner[asked])
    first = landing.index_select(0, corners[0])
    lowest, highest = first, first
    for corner in corners[1:]:
        place = landing.index_select(0, corner)
        lowest, highest = torch.minimum(lowest, place), torch.maximum(highest, place)
    # Said this way, a landing that is not a number leaves the question open, too.
    open_question = (~((highest - lowest).amax(1) <= settings.coarse)).nonzero().squeeze(1)
    landing[between] = first
    unclear = between[open_question]
    landing[unclear] = points[unclear] + displacement(field, points[unclear], owner[unclear])
    return landing - points


def _steps(
    field: StructureField, draft: StructureField | None, particles: Particles, settings: EstimationSettings
) -> Float[Tensor, "n 3"]:
    """The next step of each particle: by the draft while steps are long."""
    points, owner = particles.points, particles.owner
    far = particles.scores > settings.draft_above
    if draft is None or not bool(far.any()):
        return displacement(field, points, owner)
    steps = torch.empty_like(points)
    for one, chosen in ((draft, far), (field, ~far)):
        index = chosen.nonzero().squeeze(1)
        if len(index) > 0:
            steps[index] = displacement(one, points[index], owner[index])
    return steps


def _merged(particles: Particles, edge: float) -> tuple[Particles, Int[Tensor, " n"]]:
    """One particle for all that share a crystal and a cube of this edge, and which of them each became.

    It is the one that stands for most already.
    """
    # What has no place is put where no particle is: it must not go on as one with those at the origin.
    cubes = (particles.points / edge).floor().clamp(-_FAR, _FAR).nan_to_num(_FAR).long()
    place = (cubes[:, 0] * _MIX[0] + cubes[:, 1] * _MIX[1] + cubes[:, 2] * _MIX[2]) >> 22
    key = particles.owner << 42 | place & ((1 << 42) - 1)
    groups, group = torch.unique(key, return_inverse=True)
    most = torch.zeros_like(groups).scatter_reduce_(0, group, particles.weight, "amax")
    index = torch.arange(len(group), device=group.device)
    # Of equals the first, so that the choice does not depend on the order in which a device writes.
    candidate = torch.where(particles.weight == most[group], index, len(index))
    chosen = torch.full_like(groups, len(index)).scatter_reduce_(0, group, candidate, "amin")
    weight = torch.zeros_like(groups).index_add_(0, group, particles.weight)
    kept = particles.select(chosen)
    return Particles(kept.points, kept.owner, weight, kept.scores), group
