"""Crystals between two crystals: linear in the latent vector, decoded step by step (Figs. 5, 6, S1-S4)."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby
from typing import Any

import numpy as np
import torch

from nesf import lattice
from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import safe_name, space_group
from nesf.metrics import closest_approach
from nesf.plots.strips import Panel, strip
from nesf.studies.outcome import Outcome, Picture, Table
from nesf.studies.published_chains import published_chain

NOTHING = "no crystal"
"""What stands in a chain where nothing was found."""
_HEADS = {
    "t": "t",
    "formula": "formula",
    "atoms": "atoms",
    "volume": "volume [Å³]",
    **{name: f"{name} [Å]" for name in "abc"},
    **{name: f"{name} [°]" for name in ("alpha", "beta", "gamma")},
    "shortest": "shortest distance [Å]",
    "space_group": "space group",
    "reason": "reason",
}


@dataclass(frozen=True)
class Run:
    """Successive steps with one formula.

    Attributes:
        formula: the reduced formula, or ``NOTHING``.
        first: where it begins, 0 to 1.
        last: where it ends.
        members: what was found at each of its steps.
    """

    formula: str
    first: float
    last: float
    members: tuple[Crystal | Failure, ...]


def interpolate(model: Codec, source: Crystal, target: Crystal, steps: int = 50) -> list[Crystal | Failure]:
    """Decode ``steps + 1`` latent vectors on the straight line between two crystals, both ends included.

    Raises:
        NesfError: where the model cannot take one of them, or there is not one step.
    """
    if steps < 1:
        raise NesfError(f"An interpolation has at least one step, not {steps}.")
    ends = model.encode([source, target])
    t = np.linspace(0.0, 1.0, steps + 1, dtype=np.float32)[:, None]
    found: list[Crystal | Failure] = model.decode((1 - t) * ends[0] + t * ends[1], [f"step-{i}" for i in range(len(t))])
    return found


def chain(found: Sequence[Crystal | Failure]) -> list[Run]:
    """The steps of an interpolation, those of equal formula that follow each other taken together."""
    most = max(len(found) - 1, 1)
    runs, start = [], 0
    for formula, group in groupby(found, key=_formula):
        members = tuple(group)
        runs.append(Run(formula, start / most, (start + len(members) - 1) / most, members))
        start += len(members)
    return runs


def study(
    model: Codec,
    pairs: Sequence[tuple[Crystal, Crystal]],
    *,
    steps: int = 50,
    tolerance: float | None = None,
    left_out: Sequence[Failure] = (),
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Interpolate between the crystals of each pair: a chain and its crystals, all steps, a strip of pictures.

    Args:
        model: a trained model.
        pairs: the ends.
        steps: how many steps from one end to the other.
        tolerance: of the space group search in what was decoded, angstrom; by default that of the model's CIFs.
        left_out: ends that were asked for and are not in ``pairs``, with the reason; they are named in the outcome.
        progress: called with the number of pairs done since its last call.
    """
    tolerance = model.tolerance if tolerance is None else tolerance
    tables: dict[str, Table] = {}
    pictures: dict[str, Picture] = {}
    structures: dict[str, Sequence[Crystal]] = {}
    overview: list[list[Any]] = []
    values: dict[str, Any] = {"steps": steps, "tolerance_angstrom": tolerance, "pairs": {}}
    for source, target in pairs:
        found = interpolate(model, source, target, steps)
        rows = [_row(i / steps, one, tolerance) for i, one in enumerate(found)]
        runs, name, title = chain(found), _file_name(source, target, tables), _title(source, target)
        tables[name] = Table(
            f"{title}: all steps", list(_HEADS.values()), [[row[key] for key in _HEADS] for row in rows]
        )
        pictures[name] = Picture(_draw(runs, rows, _drawn_title(source, target)), _caption(runs, title, tolerance))
        values["pairs"][name] = _values(source, target, runs, rows)
        structures |= _structures(f"structures/{name}", runs, found)
        overview += _overview(title, source, target, values["pairs"][name])
        if progress is not None:
            progress(1)
    values["left_out"] = [vars(failure) for failure in left_out]
    heads = ["pair", "by", "formulas", "found", "shortest distance [Å]", "chain"]
    tables = {"chains": Table("Chains of formulas", heads, overview, _note(values)), **tables}
    title, summary = "Crystals between two crystals", _summary(values, steps)
    return Outcome(title, summary, values, tables, pictures, structures=structures)


def _structures(folder: str, runs: Sequence[Run], found: Sequence[Crystal | Failure]) -> dict[str, list[Crystal]]:
    """The crystal of each formula, numbered as in the picture, and those of all steps; by path."""
    files: dict[str, list[Crystal]] = {}
    for number in range(1, len(runs) + 1):
        shown = runs[number - 1].members[_shown(runs, number - 1)]
        if isinstance(shown, Crystal):
            files[f"{folder}/{number:02d}-{shown.formula}.cif"] = [shown]
    most = max(len(found) - 1, 1)
    steps = [
        replace(one, properties={"t": round(i / most, 6)}) for i, one in enumerate(found) if isinstance(one, Crystal)
    ]
    return files | ({f"{folder}/steps.extxyz": steps} if steps else {})


def _formula(one: Crystal | Failure) -> str:
    return one.formula if isinstance(one, Crystal) else NOTHING


def _title(source: Crystal, target: Crystal) -> str:
    return f"{source.formula} ({source.id}) → {target.formula} ({target.id})"


def _drawn_title(source: Crystal, target: Crystal) -> str:
    """The title with the numbers of its formulas as subscripts; those of the ids stay."""
    below = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    return " → ".join(f"{one.formula.translate(below)} ({one.id})" for one in (source, target))


def _file_name(source: Crystal, target: Crystal, taken: Container[str]) -> str:
    """A name that no other pair has; two files may hold crystals of one id."""
    name = safe_name(f"{source.id}-to-{target.id}")
    return next(free for free in (name if i == 1 else f"{name}-{i}" for i in count(1)) if free not in taken)


def _row(t: float, one: Crystal | Failure, tolerance: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_HEADS) | {"t": round(t, 6)}
    if isinstance(one, Failure):
        return row | {"reason": one.reason}
    angles = np.degrees(one.angles_rad).tolist()
    group = space_group(one, tolerance)
    return {
        **row,
        "formula": one.formula,
        "atoms": len(one),
        "volume": float(lattice.volume(torch.tensor(one.cell))),
        **dict(zip("abc", one.lengths.tolist(), strict=True)),
        **dict(zip(("alpha", "beta", "gamma"), angles, strict=True)),
        "shortest": closest_approach(one),
        "space_group": f"{group.symbol} ({group.number})",
    }


def _values(source: Crystal, target: Crystal, runs: list[Run], rows: list[dict[str, Any]]) -> dict[str, Any]:
    there = [row for row in rows if row["reason"] is None]
    published = published_chain(source.id, target.id)
    return {
        "source": source.id,
        "target": target.id,
        "chain": [{"formula": run.formula, "first": run.first, "last": run.last} for run in runs],
        "found": len(there),
        "steps": len(rows),
        "ends_come_back": [runs[0].formula == source.formula, runs[-1].formula == target.formula],
        "shortest_distance_angstrom": min((row["shortest"] for row in there), default=None),
        "published": None if published is None else published.formulas,
    }


def _overview(title: str, source: Crystal, target: Crystal, values: dict[str, Any]) -> list[list[Any]]:
    formulas = [link["formula"] for link in values["chain"]]
    found = f"{values['found']} of {values['steps']}"
    rows = [[title, "nesf", len(formulas), found, values["shortest_distance_angstrom"], " → ".join(formulas)]]
    if (one := published_chain(source.id, target.id)) is not None:
        rows.append([title, f"paper, {one.figure}", one.formulas.count("→") + 1, None, None, one.formulas])
    return rows


def _note(values: dict[str, Any]) -> str:
    said = [
        f"Space groups were sought within {values['tolerance_angstrom']:g} Å. The crystal of each formula is in "
        "structures/ as CIF, those of all steps as extended XYZ.",
    ]
    if any(one["published"] for one in values["pairs"].values()):
        said.append(
            "The paper's chains come from its ICSG3D model, that of BaTiO3 from its LCS6Å model; how many steps it "
            "took is not printed."
        )
    return " ".join(said + [f"Left out: {failure['id']}: {failure['reason']}" for failure in values["left_out"]])


def _summary(values: dict[str, Any], steps: int) -> str:
    pairs = list(values["pairs"].values())
    ends = sum(sum(one["ends_come_back"]) for one in pairs)
    found, asked = sum(one["found"] for one in pairs), sum(one["steps"] for one in pairs)
    distances = [one["shortest_distance_angstrom"] for one in pairs if one["shortest_distance_angstrom"] is not None]
    nearest = f" No two atoms came nearer than {min(distances):.2f} Å." if distances else ""
    pairs_said = "one pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    return (
        f"Latent vectors were interpolated linearly in {steps} steps for {pairs_said} of crystals. {ends} of "
        f"{2 * len(pairs)} ends came back with their formula, and {found} of {asked} steps gave a crystal.{nearest}"
    )


def _draw(runs: list[Run], rows: list[dict[str, Any]], title: str) -> Any:
    return strip(
        [_panel(runs, i, rows) for i in range(len(runs))],
        [row["t"] for row in rows],
        [None if row["reason"] else (row["a"], row["b"], row["c"]) for row in rows],
        title,
    )


def _panel(runs: list[Run], index: int, rows: list[dict[str, Any]]) -> Panel:
    run, place = runs[index], _shown(runs, index)
    shown = run.members[place]
    row = rows[sum(len(one.members) for one in runs[:index]) + place]
    lines = [row["reason"]] if isinstance(shown, Failure) else [row["space_group"], f"{len(shown)} atoms"]
    return Panel(shown if isinstance(shown, Crystal) else None, run.formula, lines, run.first, run.last)


def _shown(runs: Sequence[Run], index: int) -> int:
    """Which step of a run is shown: at the ends the ends themselves, between them what lies in the middle."""
    members = runs[index].members
    return 0 if index == 0 else len(members) - 1 if index == len(runs) - 1 else len(members) // 2


def _caption(runs: list[Run], title: str, tolerance: float) -> str:
    formulas = " → ".join(run.formula for run in runs)
    return (
        f"{title}: {formulas}. One picture for each formula, at the ends the decoded ends, with the space group within "
        f"{tolerance:g} Å; below, the lengths of the cell along the way."
    )
