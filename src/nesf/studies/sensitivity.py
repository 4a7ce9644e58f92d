"""Errors against the parameters of the estimation (Figs. S5 and S6 of the paper)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.decoding import EstimationSettings
from nesf.errors import NesfError
from nesf.metrics import COLUMNS, Score, score
from nesf.plots import Sweep, sensitivity
from nesf.studies.outcome import Outcome, Picture, Table

Value = float | int


class Parameter(NamedTuple):
    """A parameter of the estimation and where it is tried.

    Attributes:
        key: its name in ``EstimationSettings``.
        label: its name for people, with its unit.
        values: what it is set to, beside the model's own value.
    """

    key: str
    label: str
    values: Sequence[Value]


PARAMETERS = (
    Parameter("interval", "global interval [Å]", (0.3, 0.4, 0.5, 0.6, 0.75, 1.0)),
    Parameter("iterations", "iterations", (1, 2, 4, 8, 16, 32, 64, 128)),
    Parameter("score_threshold", "score threshold [Å]", (0.003, 0.01, 0.03, 0.1, 0.3, 0.9, 1.5)),
    Parameter("radius", "NMS radius [Å]", (0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.2)),
    Parameter("min_particles", "NMS min. particles", (1, 2, 5, 10, 20, 30, 50)),
    Parameter("species_interval", "local interval [Å]", ()),
    Parameter("species_width", "local range [Å]", (0.2, 0.4, 0.6, 0.8, 1.0, 1.4)),
)
"""The seven of the paper, with ranges of ours around its values: its text does not print the ranges of its figures."""
CUTS = (1, 2, 3, 4, 6, 12)
"""The local interval is the local range divided by these, so that the grid fills its cube exactly."""
SHOWN = {
    "position error [Å]": {"actual": "position_actual", "detected": "position_detected"},
    "species error [%]": {"actual": "species_actual_percent", "detected": "species_detected_percent"},
    "error in number of atoms [%]": {"all": "atoms_error_percent"},
}
"""Errors in the picture, the three of the paper: their variants, and where these stand in a ``Score``."""


def study(model: Codec, crystals: Sequence[Crystal], *, progress: Callable[[int], None] | None = None) -> Outcome:
    """Decode the same latent vectors with one parameter of the estimation changed at a time.

    All else stays as the model's own settings have it. Crystals that the model refuses count as failed, as always.

    Args:
        model: the model.
        crystals: what is encoded, once, and decoded for every value.
        progress: called with the number of settings done since its last call.
    """
    own = model.card.config.estimation
    measured = _measure(model, crystals, all_settings(own), progress or (lambda _: None))
    sweeps = {p.key: [(value, measured[varied(own, p.key, value)]) for value in values(p, own)] for p in PARAMETERS}
    figure = sensitivity([_sweep(p, own, sweeps[p.key]) for p in PARAMETERS])
    base = measured[own]
    return Outcome(
        title="Sensitivity to the parameters of the estimation",
        summary=_summary(base, sweeps),
        values={
            "own": {p.key: getattr(own, p.key) for p in PARAMETERS},
            "crystals": len(crystals),
            "errors": {key: [{"value": v, **_errors(one)} for v, one in row] for key, row in sweeps.items()},
        },
        tables={"sensitivity": _table(sweeps, own)},
        pictures={"sensitivity": Picture(figure, _caption(model, len(crystals)))},
    )


def evenly(crystals: Sequence[Crystal], count: int | None) -> Sequence[Crystal]:
    """So many crystals, evenly spread over those given; all of them where there are no more, or for None.

    Raises:
        NesfError: if no crystal is wanted.
    """
    if count is None or count >= len(crystals):
        return crystals
    if count < 1:
        raise NesfError(f"At least one crystal is needed, not {count}.")
    return [crystals[i * len(crystals) // count] for i in range(count)]


def values(parameter: Parameter, own: EstimationSettings) -> list[Value]:
    """What a parameter is set to, ascending; the model's own value is among it."""
    chosen = getattr(own, parameter.key)
    # Rounded, so that 0.6 / 6 is 0.1 and is not tried beside it.
    cuts = [round(own.species_width / cut, 6) for cut in CUTS]
    tried = cuts if parameter.key == "species_interval" else parameter.values
    return sorted({chosen, *tried})


def varied(own: EstimationSettings, key: str, value: Value) -> EstimationSettings:
    """The settings with one parameter changed.

    On a coarser grid than the model's own, every first step is asked for: the shortcut ``coarse`` looks at every
    second point, and these may then be too far apart to speak for those between.
    """
    if value == getattr(own, key):
        return own
    if key == "interval" and value > own.interval:
        return replace(own, interval=value, coarse=0.0)
    change: dict[str, Any] = {key: value}
    return replace(own, **change)


def all_settings(own: EstimationSettings) -> list[EstimationSettings]:
    """Every settings of the study once, the model's own first."""
    return list(dict.fromkeys([own, *(varied(own, p.key, value) for p in PARAMETERS for value in values(p, own))]))


def with_estimation(model: Codec, estimation: EstimationSettings) -> Codec:
    """The same network, decoded otherwise; its weights are not copied."""
    card = model.card
    return Codec(model.model, replace(card, config=replace(card.config, estimation=estimation)))


def _measure(
    model: Codec, crystals: Sequence[Crystal], settings: Sequence[EstimationSettings], done: Callable[[int], None]
) -> dict[EstimationSettings, Score]:
    reasons = [(crystal, model.refusal(crystal)) for crystal in crystals]
    taken = [crystal for crystal, reason in reasons if reason is None]
    refused = [(crystal, Failure(crystal.id, reason)) for crystal, reason in reasons if reason is not None]
    z, ids = model.encode(taken), [crystal.id for crystal in taken]
    scores = {}
    for one in settings:
        found = with_estimation(model, one).decode(z, ids)
        scores[one] = score([*zip(taken, found, strict=True), *refused])
        done(1)
    return scores


def _errors(result: Score) -> dict[str, Any]:
    return {**{column.key: getattr(result, column.key) for column in COLUMNS[:5]}, "failures": result.failures}


def _sweep(parameter: Parameter, own: EstimationSettings, row: Sequence[tuple[Value, Score]]) -> Sweep:
    errors = {
        label: {name: [getattr(result, key) for _, result in row] for name, key in variants.items()}
        for label, variants in SHOWN.items()
    }
    partial = [result.failures > 0 for _, result in row]
    return Sweep(parameter.label, [value for value, _ in row], getattr(own, parameter.key), errors, partial)


def _table(sweeps: Mapping[str, Sequence[tuple[Value, Score]]], own: EstimationSettings) -> Table:
    heads = ["parameter", "value", "own", *[column.title for column in COLUMNS[:5]], "crystals failed"]
    rows = [
        [p.label, value, "own" if value == getattr(own, p.key) else "", *_errors(result).values()]
        for p in PARAMETERS
        for value, result in sweeps[p.key]
    ]
    note = (
        "One parameter is changed at a time; all others are the model's own. Position errors leave out the crystals "
        "that failed. The ranges are ours: the text of the paper does not print its own."
    )
    return Table("Errors against the parameters of the estimation", heads, rows, note)


def _summary(base: Score, sweeps: Mapping[str, Sequence[tuple[Value, Score]]]) -> str:
    own, fewer = base.atoms_error_percent or 0.0, []
    for parameter in PARAMETERS:
        value, result = min(sweeps[parameter.key], key=lambda pair: pair[1].atoms_error_percent or 0.0)
        if (result.atoms_error_percent or 0.0) < own:
            fewer.append(f"{parameter.label} = {value:g} ({result.atoms_error_percent:.2f} %)")
    return (
        f"Of {base.n} crystals {base.failures} fail with the model's own settings and {own:.2f} % have a wrong number "
        f"of atoms. Changing one parameter alone makes these fewer with: {', '.join(fewer) or 'none'}."
    )


def _caption(model: Codec, n: int) -> str:
    own = model.card.config.estimation
    fast = (
        " The estimation takes the shortcuts of the model's settings: particles that arrive stop, those that meet go "
        "on as one, and unanimous votes are not continued."
        if own.merge > 0
        else ""
    )
    return (
        f"Errors of {n} crystals decoded by {model.card.name}, with one parameter of the estimation changed at a time. "
        "Dashed lines are the model's own values. Actual: over the true atoms; detected: over those found. Open "
        f"symbols: some crystals were not found, and positions leave them out.{fast}"
    )
