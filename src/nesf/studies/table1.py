"""Tables 1, S1 and S2: the errors of each method on each part of a data set, beside the paper's."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from nesf.metrics import COLUMNS, Tally, published
from nesf.metrics.published import Dataset as Published
from nesf.metrics.published import PublishedRow
from nesf.plots import error_ratios
from nesf.studies.outcome import Outcome, Picture, Table
from nesf.studies.trials import SPLITS

PAPER_TABLES = {"train": "Table S1", "val": "Table S2", "test": "Table 1"}
METHODS = {"nesf": "paper, NeSF", "icsg3d": "paper, ICSG3D"}
"""What can be compared, and how the paper's columns are called."""

_SHORT = {
    "atoms_error_percent": "atoms [%]",
    "position_actual": "x‹ [Å]",
    "position_detected": "x› [Å]",
    "species_actual_percent": "s‹ [%]",
    "species_detected_percent": "s› [%]",
    "length_error": "l [Å]",
    "angle_error": "angle [°]",
}

Scores = Mapping[str, Any]
"""Of one trial, as ``trials.perform`` returns them."""

_TITLES = {"lcs6a": "LCS6Å", "icsg3d": "ICSG3D", "ybco_like": "YBCO-like"}
_SWAP = (
    "In the paper's test table the two position errors are probably exchanged: there the error of the true atoms is "
    "below that of the found ones, which its other tables do not show and a method that misses atoms cannot have. Both "
    "readings are given."
)


def table1(dataset: Published, scores: Sequence[Scores], *, pooled: bool) -> Outcome:
    """All trials together, beside the paper.

    Args:
        dataset: the column of the paper's tables.
        scores: of all trials of all methods.
        pooled: whether the trials are folds, whose crystals are pooled; else they are repeats, and mean and sample
            standard deviation over them are given.
    """
    protocol = _protocol(scores, "fold" if pooled else "seed")
    values: dict[str, Any] = {"dataset": dataset, "pooled": pooled, "protocol": protocol, "splits": {}}
    tables = {"trials": _trials(scores)}
    ratios: dict[str, dict[str, float]] = {}
    for split in [split for split in SPLITS if any(split in one["splits"] for one in scores)]:
        ours = {
            method: _gathered(some, split, pooled)
            for method in METHODS
            if (some := [one for one in scores if one["method"] == method and split in one["splits"]])
        }
        paper = {method: rows for method in METHODS if (rows := _published(dataset, split, method))}
        described = {method: [row.to_dict() for row in rows] for method, rows in paper.items()}
        values["splits"][split] = {"ours": ours, "paper": described}
        tables[split] = _table(split, ours, paper)
        if "nesf" in ours and "nesf" in paper:
            ratios |= _ratios(split, ours["nesf"]["mean"], paper["nesf"])
    values["trials"] = [_brief(one) for one in scores]
    pictures = {}
    if ratios:
        caption = "Errors of nesf as multiples of the paper's (NeSF); left of the line, ours are smaller."
        pictures["ratios"] = Picture(error_ratios(ratios), caption)
    return Outcome(f"Errors on {_TITLES[dataset]}", _summary(values), values, dict(reversed(tables.items())), pictures)


def _published(dataset: Published, split: str, method: str) -> list[PublishedRow]:
    """The paper's row, and where it may be misprinted the other reading, too."""
    row = published(dataset, split, method)
    if row is None:
        return []
    return [row, row.exchanged()] if split == "test" and dataset != "ybco_like" else [row]


def _protocol(scores: Sequence[Scores], unit: str) -> str:
    """What was trained, in words."""
    sentences = []
    for label in dict.fromkeys(one["label"] for one in scores):
        some = [one["training"] for one in scores if one["label"] == label]
        minutes = fmean(one["minutes"] for one in some)
        hardware = " and ".join(dict.fromkeys(one["hardware"] for one in some))
        sentences.append(
            f"{label}: {len(some)} {unit}{'s' if len(some) > 1 else ''}, {some[0]['epochs']} epochs each, "
            f"{minutes:.1f} minutes each on average ({hardware}), {some[0]['parameters']:,} parameters."
        )
    return " ".join(sentences)


def _gathered(scores: Sequence[Scores], split: str, pooled: bool) -> dict[str, Any]:
    """Mean and standard deviation of the metrics over trials, or the metrics of their pooled crystals."""
    tallies = [Tally.from_dict(one["splits"][split]) for one in scores]
    described = {"label": scores[0]["label"], "trials": [one["trial"] for one in scores], "pooled": pooled}
    if pooled:
        whole = Tally()
        for tally in tallies:
            whole.merge(tally)
        score = whole.score().to_dict()
        mean = {column.key: score[column.key] for column in COLUMNS}
        failed = score["position_crystals_left_out"]
        return {**described, "mean": mean, "deviation": dict.fromkeys(mean), "n": score["n"], "failed": failed}
    each = [tally.score().to_dict() for tally in tallies]
    found = {column.key: [one[column.key] for one in each if one[column.key] is not None] for column in COLUMNS}
    return {
        **described,
        "mean": {key: fmean(some) if some else None for key, some in found.items()},
        "deviation": {key: stdev(some) if len(some) > 1 else None for key, some in found.items()},
        "n": each[0]["n"],
        "failed": max(one["position_crystals_left_out"] for one in each),
    }


def _table(split: str, ours: Mapping[str, Any], paper: Mapping[str, Sequence[PublishedRow]]) -> Table:
    columns: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    notes = []
    for method, name in METHODS.items():
        if method in ours:
            one = ours[method]
            columns[one["label"]] = one["mean"], one["deviation"]
            runs = len(one["trials"])
            unit = f"{runs} folds, pooled" if one["pooled"] else f"{runs} runs, mean ± sample deviation"
            unit = "one run" if runs == 1 else unit
            notes.append(
                f"{one['label']}: {one['n']} crystals, {unit}; at most {one['failed']} refused or not found, which are "
                "left out of the means of positions and lattices."
            )
        for row, reading in zip(paper.get(method, ()), ("", ", exchanged"), strict=False):
            columns[name + reading] = row.mean, row.deviation
            if row.note is not None and not reading:
                notes.append(f"{name}: {row.note}.")
    rows = [
        [column.title, *(_cell(mean, spread, column.key, max(column.digits, 3)) for mean, spread in columns.values())]
        for column in COLUMNS
    ]
    if any(len(readings) > 1 for readings in paper.values()):
        notes.append(_SWAP)
    return Table(f"{split} ({PAPER_TABLES[split]})", ["", *columns], rows, " ".join(notes))


def _cell(mean: Mapping[str, Any], spread: Mapping[str, Any], key: str, digits: int) -> str | None:
    if mean[key] is None:
        return None
    return f"{mean[key]:.{digits}f}" + (f" ± {spread[key]:.{digits}f}" if spread[key] is not None else "")


def _trials(scores: Sequence[Scores]) -> Table:
    rows = []
    for one in scores:
        for split, tally in one["splits"].items():
            score, training = Tally.from_dict(tally).score().to_dict(), one["training"]
            metrics = [score[column.key] for column in COLUMNS]
            failures = score["failures"]
            rows.append(
                [one["label"], one["trial"], split, *metrics, failures, training["epochs"], training["minutes"]]
            )
    heads = ["method", "trial", "split", *_SHORT.values(), "failed", "epochs", "minutes"]
    return Table("Every trial", heads, rows, "x: positions; s: species; ‹ actual, › detected; l, angle: lattice.")


def _brief(one: Scores) -> dict[str, Any]:
    splits = {split: Tally.from_dict(tally).score().to_dict() for split, tally in one["splits"].items()}
    return {**{key: one[key] for key in ("method", "label", "trial", "training", "model")}, "splits": splits}


def _ratios(split: str, ours: Mapping[str, float | None], paper: Sequence[PublishedRow]) -> dict[str, dict[str, float]]:
    """Our errors as multiples of the paper's by its readings and the labels of the metrics."""
    return {
        split + reading: {
            c.label: value / row.mean[c.key]
            for c in COLUMNS
            if (value := ours[c.key]) is not None and row.mean[c.key] > 0
        }
        for row, reading in zip(paper, ("", ", paper's positions exchanged"), strict=False)
    }


def _summary(values: Mapping[str, Any]) -> str:
    sentences = [values["protocol"]]
    for split, one in values["splits"].items():
        if "nesf" in one["ours"] and "nesf" in one["paper"]:
            mean, readings = one["ours"]["nesf"]["mean"], [row["mean"] for row in one["paper"]["nesf"]]
            known = [c for c in COLUMNS if mean[c.key] is not None]
            # To the paper's decimals: it prints 0.00° for angles that are exact by rounding only.
            worse = [
                c.label.lower() for c in known if round(mean[c.key], c.digits) > min(row[c.key] for row in readings)
            ]
            text = f"On {split}, {len(known) - len(worse)} of {len(known)} errors of nesf are at most the paper's"
            both = " (in both readings)" if len(readings) > 1 else ""
            sentences.append(f"{text}{both}" + (f"; not {', '.join(worse)}." if worse else "."))
    return " ".join(sentences)
