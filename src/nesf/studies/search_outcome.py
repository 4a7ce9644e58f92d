"""What a search comes to: tables, pictures, and the command that trains with what was chosen."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from nesf.config import PRESETS, Config
from nesf.plots import search_stage
from nesf.studies.outcome import Outcome, Picture, Table
from nesf.studies.search import Finished, Search
from nesf.studies.search_stages import PUBLISHED, Point, written
from nesf.studies.search_storage import Result

NOTHING = "No trial gave a crystal; train longer (--epochs) or on more crystals."
"""Said where there is nothing to choose by."""
MOST_DRAWN = 40
"""Points of a picture; of more, the best are drawn."""


def outcome(search: Search, finished: Sequence[Finished], sources: tuple[str, str]) -> Outcome:
    """Tables and a picture for each stage, and the chosen configuration.

    Args:
        search: what was searched.
        finished: its stages.
        sources: the training and validation data as given on the command line.
    """
    final = finished[-1].after
    command = train_command(search.preset, final, sources) if any(one.chosen for one in finished) else None
    return Outcome(
        "Search for hyperparameters",
        _summary(search, finished, command),
        {
            "stages": [_values(stage) for stage in finished],
            "configuration": final.to_dict(),
            "command": command,
            "refused": search.refused(),
        },
        {"choices": _choices(search, finished), **{f"stage-{one.stage.name}": _trials(one) for one in finished}},
        {f"stage-{one.stage.name}": _picture(one) for one in finished},
    )


def train_command(preset: str, config: Config, sources: tuple[str, str]) -> str:
    """The command that trains with a configuration, for as long as the preset does.

    >>> from nesf.studies.search_stages import changed
    >>> train_command("paper", changed(PRESETS["paper"], {"network.latent": 64}), ("a.parquet", "b.parquet"))
    'nesf train a.parquet --val b.parquet --preset paper --network.latent 64'
    """
    known = next(values for name, values in PRESETS.items() if name == preset)
    words = ["nesf", "train", sources[0], "--val", sources[1], "--preset", preset]
    for path, value in _flat(config.to_dict()):
        # Epochs and seed are the budget of the search, not what it found.
        if path not in ("training.epochs", "training.seed") and (path, value) not in _flat(known.to_dict()):
            words += [f"--{path.replace('_', '-')}", *_words(value)]
    return shlex.join(words)


def _words(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, (tuple, list)) else [str(value)]


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _summary(search: Search, finished: Sequence[Finished], command: str | None) -> str:
    results = [result for stage in finished for result in stage.results]
    failed = sum(1 for result in results if result.failed)
    epochs = search.start.training.epochs
    full = sum(len(one.stage.points()) for one in finished)
    budget = f"{epochs} epochs (the paper: 3200) of {len(search.train.crystals)} crystals of {search.train.name}"
    return (
        f"The paper's staged search (Supplementary Note 7) from its own start, with preset {search.preset}: "
        f"{len(results)} of {full} points in {len(finished)} stages, each trained once, with one seed, for {budget}; "
        f"{failed} of them diverged. Chosen by the number of atoms, then by the position error (actual), on "
        f"{len(search.val.crystals)} crystals of {search.val.name}{_refused(search)}. {_end(finished)}"
        + (f"\n\nTrain with what was chosen: `{command}`" if command else "")
    )


def _end(finished: Sequence[Finished]) -> str:
    """What was reached, and what the choice is worth."""
    best = next((one.chosen for one in reversed(finished) if one.chosen is not None), None)
    if best is None or best.position is None:
        return NOTHING
    empty = [one.stage.name for one in finished if one.chosen is None]
    tied = [one.stage.name for one in finished if one.ties]
    said = [
        f"At the end {best.atoms:.2f} % and {best.position:.4f} Å.",
        *([f"In {', '.join(empty)} no trial gave a crystal, so nothing was chosen there."] if empty else []),
        *([f"In {', '.join(tied)} other points did exactly as well as the one chosen."] if tied else []),
        "What differs by less than two seeds do is not told apart; and with a shorter training the best settings are "
        "others, learning rate and batch above all.",
    ]
    return " ".join(said)


def _refused(search: Search) -> str:
    if not (count := search.refused()):
        return ""
    beyond = "the whole training table" if search.domain else "the training crystals"
    return f", of which {count} lie beyond the elements and cells of {beyond} and count as wrong in every trial"


def _choices(search: Search, finished: Sequence[Finished]) -> Table:
    start, final = (_settings(config) for config in (search.start, finished[-1].after))
    rows = []
    for path in PUBLISHED:
        stages = ", ".join(one.stage.name for one in finished if path in one.stage.grid)
        tried = [one for one in finished if path in one.stage.grid]
        nothing = bool(tried) and all(one.chosen is None for one in tried)
        chosen = None if nothing else written(final[path])
        rows.append([path, stages or None, written(start[path]), chosen, written(PUBLISHED[path])])
    heads = ["setting", "stages", "start (the paper's)", "chosen here", "chosen by the paper"]
    return Table("What was chosen", heads, rows, "Settings without a stage stay as they are at the start.")


def _settings(config: Config) -> Point:
    flat = dict(_flat(config.to_dict()))
    return {path: flat[path] for path in PUBLISHED}


def _trials(one: Finished) -> Table:
    heads = [*one.stage.grid, "wrong number of atoms [%]", "position error, actual [Å]", "minutes", "remark"]
    rows = [
        [*map(written, result.point.values()), result.atoms, result.position, result.minutes, _remark(one, result)]
        for result in one.results
    ]
    tried, points = len(one.results), len(one.stage.points())
    cap = "" if tried == points else f"{tried} of {points} points, drawn at random."
    notes = [cap, _choice(one), one.stage.note]
    return Table(f"Stage {one.stage.name}: {one.stage.title}", heads, rows, " ".join(filter(None, notes)))


def _choice(one: Finished) -> str:
    """What is to be said of a stage's choice."""
    if one.chosen is None:
        return f"{NOTHING} None of them is chosen."
    points = "another point did" if one.ties == 1 else f"{one.ties} other points did"
    if any(_same(result, one.chosen.point) for result in one.results):
        return f"Chosen among ties: {points} exactly as well; the first stands." if one.ties else ""
    return "None was better than what was chosen before." + (
        f" Of this stage {points} exactly as well." if one.ties else ""
    )


def _chosen(one: Finished, result: Result) -> bool:
    return one.chosen is not None and _same(result, one.chosen.point)


def _remark(one: Finished, result: Result) -> str | None:
    marks = ["chosen"] if _chosen(one, result) else []
    marks += ["the paper's choice"] if _same(result, PUBLISHED) else []
    return "; ".join([*marks, *([result.note] if result.note else [])]) or None


def _same(result: Result, point: Point) -> bool:
    return all(point[path] == value for path, value in result.point.items())


def _picture(one: Finished) -> Picture:
    drawn = one.results
    caption = f"{one.stage.title}: the two errors of each point on the validation data."
    if len(drawn) > MOST_DRAWN:
        drawn = sorted(drawn, key=lambda result: result.rank)[:MOST_DRAWN]
        caption += f" Of {len(one.results)} points, the best {MOST_DRAWN}."
    rows = range(len(drawn))
    figure = search_stage(
        ["; ".join(map(written, result.point.values())) for result in drawn],
        [result.atoms for result in drawn],
        [result.position for result in drawn],
        chosen=[row for row in rows if _chosen(one, drawn[row])],
        published=[row for row in rows if _same(drawn[row], PUBLISHED)],
        setting="; ".join(path.partition(".")[2].replace("_", " ") for path in one.stage.grid),
    )
    caption += " Filled: chosen here. Bold: chosen by the paper. Without a position error: no crystal was found."
    return Picture(figure, caption)


def _values(one: Finished) -> dict[str, Any]:
    return {
        "stage": one.stage.name,
        "chosen": None if one.chosen is None else dict(one.chosen.point),
        "ties": one.ties,
        "published": {path: PUBLISHED[path] for path in one.stage.grid},
        "trials": [
            {
                "point": dict(result.point),
                "atoms_error_percent": result.atoms,
                "position_actual": result.position,
                "minutes": result.minutes,
                "note": result.note,
                "failed": result.failed,
            }
            for result in one.results
        ],
    }
