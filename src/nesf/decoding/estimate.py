"""Field -> crystals: the paper's five steps, for many crystals at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nesf import lattice
from nesf.crystal import Crystal, Failure
from nesf.decoding.detection import detect
from nesf.decoding.particles import move, start
from nesf.decoding.reference import estimate_one
from nesf.decoding.settings import EstimationSettings
from nesf.decoding.species import vote
from nesf.errors import NesfError
from nesf.fields import StructureField
from nesf.fields.grids import Box


@torch.no_grad()
def estimate(
    field: StructureField,
    ids: Sequence[str],
    settings: EstimationSettings,
    *,
    box: Box | None = None,
    literal: bool = False,
) -> list[Crystal | Failure]:
    """The crystals that a field describes, deterministically; what cannot be had is a ``Failure`` in its place.

    Args:
        field: the structure field, neural or true.
        ids: a name for each of its crystals.
        settings: parameters of the five steps.
        box: lower and upper corner of the training atoms, angstrom; for region "training_box".
        literal: take the slow reference path.
    """
    cells = field.cells
    if len(ids) != len(cells):
        raise NesfError(f"The field describes {len(cells)} crystals, but {len(ids)} ids were given.")
    problems = [_cell_problem(cell, settings) for cell in cells]
    fine = [i for i, problem in enumerate(problems) if problem is None]
    found: dict[int, tuple[Tensor, Tensor]] = {}
    if literal:
        found = {i: estimate_one(field, i, settings, box) for i in fine}
    elif fine:
        points, owner = start(field, torch.tensor(fine, device=cells.device), settings, box)
        points, scores = move(field, points, owner, settings)
        atoms, whose = detect(points, scores, owner, settings)
        classes = vote(field, atoms, whose, settings)
        counts = whose.bincount(minlength=len(cells)).tolist()
        pairs = zip(atoms.split(counts), classes.split(counts), strict=True)
        found = dict(enumerate(pairs))
    return [
        Failure(name, problem) if problem else _crystal(name, field, cell, *found[i])
        for i, (name, problem, cell) in enumerate(zip(ids, problems, cells, strict=True))
    ]


def _cell_problem(cell: Tensor, settings: EstimationSettings) -> str | None:
    if not bool(cell.isfinite().all()):
        return "The predicted cell is not finite."
    if float(cell.diagonal().min()) <= 0:
        return "The predicted lengths and angles belong to no cell."
    lengths = cell.norm(dim=1)
    if float(lengths.min()) < settings.min_extent or float(lengths.max()) > settings.max_extent:
        edges = " × ".join(f"{float(x):.2f}" for x in lengths)
        return f"The predicted cell, {edges} Å, is outside {settings.min_extent:.1f} to {settings.max_extent:.1f} Å."
    if float(lattice.volume(cell)) < settings.min_extent**3:
        return "The predicted angles belong to a cell of almost no volume."
    return None


def _crystal(id: str, field: StructureField, cell: Tensor, atoms: Tensor, classes: Tensor) -> Crystal | Failure:
    if len(atoms) == 0:
        return Failure(id, "No atom was found in the field.")
    numbers = field.vocabulary.number_of(classes)
    return Crystal(id, numbers.cpu().numpy(), atoms.double().cpu().numpy(), cell.double().cpu().numpy())
