"""Field -> crystals: the paper's five steps, for many crystals at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nesf.crystal import Crystal, Failure
from nesf.decoding.cells import cell_problems
from nesf.decoding.detection import detect
from nesf.decoding.particles import move
from nesf.decoding.reference import estimate_one
from nesf.decoding.settings import EstimationSettings
from nesf.decoding.species import vote
from nesf.decoding.start import StartGrids
from nesf.errors import NesfError
from nesf.fields import StructureField
from nesf.fields.grids import Box
from nesf.shapes import Float, Int

# Particles that move together: bounds the memory, some hundred bytes for each. A GPU needs more of them to be busy.
PARTICLES_AT_ONCE = {"cpu": 1 << 19, "cuda": 1 << 24}
# Particles of one crystal beyond which it is not searched: a cell of 128 Å on the usual grid.
MOST_PARTICLES = 1 << 24
# Atoms of an element are listed along this direction, powers of 1/1.3247. Equivalent atoms have equal coordinates and
# scores, so that by those their order would hang on the last digit; across this direction they do not lie.
_ACROSS = (1.0, 0.7548776662, 0.5698402910)


@dataclass(frozen=True)
class _Atoms:
    """Atoms found: positions (angstrom), the crystal of each, ascending, and their classes."""

    points: Float[Tensor, "atoms 3"]
    owner: Int[Tensor, " atoms"]
    classes: Int[Tensor, " atoms"]


@torch.no_grad()
def estimate(
    field: StructureField,
    ids: Sequence[str],
    settings: EstimationSettings,
    *,
    box: Box | None = None,
    draft: StructureField | None = None,
    literal: bool = False,
) -> list[Crystal | Failure]:
    """The crystals that a field describes; what cannot be had is a ``Failure`` in its place.

    Atoms are listed by element, then along one direction. On a processor the outcome is the same every time, bit for
    bit. A GPU adds up in any order, as does a processor with other threads or with other crystals beside it: then the
    last digits vary, some 1e-6 angstrom.

    Args:
        field: the structure field, neural or true.
        ids: a name for each of its crystals.
        settings: parameters of the five steps.
        box: lower and upper corner of the training atoms, angstrom; for region "training_box".
        draft: a cheaper approximation of the field, for the steps that need no precision.
        literal: take the slow reference path.
    """
    cells = field.cells
    if len(ids) != len(cells):
        raise NesfError(f"The field describes {len(cells)} crystals, but {len(ids)} ids were given.")
    problems = cell_problems(cells, settings)
    grids = StartGrids(cells, settings, box)
    for i in (grids.counts > MOST_PARTICLES).nonzero().squeeze(1).tolist():
        reason = f"Its search would start at {int(grids.counts[i]):,} points; at most {MOST_PARTICLES:,} are tried."
        problems.setdefault(i, reason)
    fine = [i for i in range(len(cells)) if i not in problems]
    if literal:
        parts = [_literally(field, i, settings, box) for i in fine]
    else:
        parts = list(_together(field, fine, settings, grids, draft))
    empty = torch.zeros(0, dtype=torch.long, device=cells.device)
    points = torch.cat([cells.new_zeros((0, 3)), *(part.points for part in parts)]).double().cpu().numpy()
    classes = torch.cat([empty, *(part.classes for part in parts)])
    owner = torch.cat([empty, *(part.owner for part in parts)])
    numbers = field.vocabulary.number_of(classes).cpu().numpy()
    ends = owner.bincount(minlength=len(cells)).cumsum(0).tolist()
    order = np.lexsort((points @ np.array(_ACROSS), numbers, owner.cpu().numpy()))
    points, numbers = points[order], numbers[order]
    matrices = cells.double().cpu().numpy()
    found: list[Crystal | Failure] = []
    for i, (name, start, end) in enumerate(zip(ids, [0, *ends], ends, strict=False)):
        if i in problems:
            found.append(Failure(name, problems[i]))
        elif start == end:
            found.append(Failure(name, "No atom was found in the field."))
        else:
            found.append(Crystal(name, numbers[start:end], points[start:end], matrices[i]))
    return found


def _literally(field: StructureField, index: int, settings: EstimationSettings, box: Box | None) -> _Atoms:
    points, classes = estimate_one(field, index, settings, box)
    return _Atoms(points, torch.full_like(classes, index), classes)


def _together(
    field: StructureField,
    fine: Sequence[int],
    settings: EstimationSettings,
    grids: StartGrids,
    draft: StructureField | None,
) -> Iterator[_Atoms]:
    if settings.draft_above == torch.inf:
        draft = None
    most = PARTICLES_AT_ONCE.get(grids.counts.device.type, PARTICLES_AT_ONCE["cpu"])
    for chosen in _groups(fine, grids.counts, most):
        particles = move(field, grids, chosen, settings, draft)
        atoms, whose = detect(particles, settings)
        yield _Atoms(atoms, whose, vote(field, atoms, whose, settings, draft))


def _groups(fine: Sequence[int], counts: Int[Tensor, " n_crystals"], most: int) -> Iterator[Int[Tensor, " group"]]:
    """The fine crystals in groups that start at most so many particles, or of one crystal."""
    group: list[int] = []
    total = 0
    sizes = counts.tolist()
    for i in fine:
        if group and total + sizes[i] > most:
            yield torch.tensor(group, device=counts.device)
            group, total = [], 0
        group.append(i)
        total += sizes[i]
    if group:
        yield torch.tensor(group, device=counts.device)
