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
OURS = {"nesf": "nesf", "icsg3d": "voxel baseline, ours"}
THEIRS = {"nesf": "paper, NeSF", "icsg3d": "paper, ICSG3D"}

Scores = Mapping[str, Any]
"""Of one trial, as ``trials.perform`` returns them."""


def table1(dataset: Published, scores: Sequence[Scores], *, pooled: bool, protocol: str) -> Outcome:
    """All trials together, beside the paper.

    Args:
        dataset: the column of the paper's tables.
        scores: of all trials of all methods.
        pooled: whether the trials are folds, whose crystals are pooled; else they are repeats, and mean and standard
            deviation over them are given, as in the paper.
        protocol: what was trained on what, in words.
    """
    splits = [split for split in SPLITS if any(split in one["splits"] for one in scores)]
    methods = [method for method in OURS if any(one["method"] == method for one in scores)]
    values: dict[str, Any] = {"dataset": dataset, "pooled": pooled, "protocol": protocol, "splits": {}}
    tables, ratios = {"trials": _trials(scores)}, {}
    for split in splits:
        ours = {
            m: _gathered([s for s in scores if s["method"] == m and split in s["splits"]], split, pooled)
            for m in methods
        }
        rows = {m: row for m in OURS if (row := published(dataset, split, m)) is not None}
        values["splits"][split] = {"ours": ours, "paper": {m: row.to_dict() for m, row in rows.items()}}
        tables[split] = _table(split, ours, rows)
        if "nesf" in ours and "nesf" in rows:
            ratios[split] = _ratios(ours["nesf"]["mean"], rows["nesf"].mean)
    values["trials"] = [_brief(one) for one in scores]
    pictures = {}
    if ratios:
        caption = "Errors of nesf as multiples of the paper's (NeSF); below the line, ours are smaller. " + _SWAP
        pictures["ratios"] = Picture(error_ratios(ratios), caption)
    return Outcome(f"Errors on {_TITLES[dataset]}", _summary(values), values, dict(reversed(tables.items())), pictures)


def protocol(scores: Sequence[Scores], *, folded: bool) -> str:
    """What was trained, in words."""
    sentences = []
    for method, name in OURS.items():
        some = [one["training"] for one in scores if one["method"] == method]
        if some:
            minutes = fmean(one["minutes"] for one in some)
            hardware = " and ".join(dict.fromkeys(one["hardware"] for one in some))
            sentences.append(
                f"{name}: {len(some)} {'folds' if folded else 'seeds'}, {some[0]['epochs']} epochs each, "
                f"{minutes:.1f} minutes each on average ({hardware}), {some[0]['parameters']:,} parameters."
            )
    return " ".join(sentences)


_TITLES = {"lcs6a": "LCS6Å", "icsg3d": "ICSG3D", "ybco_like": "YBCO-like"}
_SWAP = (
    "In the paper's test table the two position errors are probably exchanged (an error of atoms found below that of "
    "atoms missed is not what its other tables show), so ours should be read against both."
)


def _gathered(scores: Sequence[Scores], split: str, pooled: bool) -> dict[str, Any]:
    """Mean and standard deviation of the metrics over trials, or the metrics of their pooled crystals."""
    tallies = [Tally.from_dict(one["splits"][split]) for one in scores]
    described = {"trials": [one["trial"] for one in scores], "pooled": pooled}
    if pooled:
        whole = Tally()
        for tally in tallies:
            whole.merge(tally)
        score = whole.score().to_dict()
        mean = {column.key: score[column.key] for column in COLUMNS}
        left_out = score["position_crystals_left_out"]
        return {**described, "mean": mean, "deviation": dict.fromkeys(mean), "n": score["n"], "left_out": left_out}
    each = [tally.score().to_dict() for tally in tallies]
    found = {column.key: [one[column.key] for one in each if one[column.key] is not None] for column in COLUMNS}
    return {
        **described,
        "mean": {key: fmean(list_) if list_ else None for key, list_ in found.items()},
        "deviation": {key: stdev(list_) if len(list_) > 1 else None for key, list_ in found.items()},
        "n": each[0]["n"],
        "left_out": max(one["position_crystals_left_out"] for one in each),
    }


def _table(split: str, ours: Mapping[str, Any], paper: Mapping[str, PublishedRow]) -> Table:
    columns: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    for method in OURS:
        if method in ours:
            columns[OURS[method]] = ours[method]["mean"], ours[method]["deviation"]
        if method in paper:
            columns[THEIRS[method]] = paper[method].mean, paper[method].deviation
    rows = [
        [
            column.title,
            *(_cell(mean[column.key], spread[column.key], max(column.digits, 3)) for mean, spread in columns.values()),
        ]
        for column in COLUMNS
    ]
    covered = "; ".join(
        f"{OURS[m]}: {one['n']} crystals, {len(one['trials'])} {'folds' if one['pooled'] else 'runs'}, "
        f"{one['left_out']} crystals without atoms left out of position means"
        for m, one in ours.items()
    )
    note = f"{covered}. {_SWAP}" if split == "test" else f"{covered}."
    return Table(f"{split} ({PAPER_TABLES[split]})", ["", *columns], rows, note)


def _cell(mean: float | None, spread: float | None, digits: int) -> str | None:
    if mean is None:
        return None
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")


def _trials(scores: Sequence[Scores]) -> Table:
    keys = [column.key for column in COLUMNS]
    rows = []
    for one in scores:
        for split, tally in one["splits"].items():
            score = Tally.from_dict(tally).score().to_dict()
            training = one["training"]
            rows.append(
                [
                    one["method"],
                    one["trial"],
                    split,
                    *(score[key] for key in keys),
                    score["failures"],
                    training["epochs"],
                    training["minutes"],
                ]
            )
    heads = ["method", "trial", "split", *(column.title for column in COLUMNS), "failures", "epochs", "minutes"]
    return Table("Every trial", heads, rows)


def _brief(one: Scores) -> dict[str, Any]:
    splits = {split: Tally.from_dict(tally).score().to_dict() for split, tally in one["splits"].items()}
    return {**{key: one[key] for key in ("method", "trial", "training", "key")}, "splits": splits}


def _ratios(ours: Mapping[str, float | None], paper: Mapping[str, float]) -> dict[str, float]:
    return {c.label: ours[c.key] / paper[c.key] for c in COLUMNS if ours[c.key] is not None and paper[c.key] > 0}  # type: ignore[operator]


def _summary(values: Mapping[str, Any]) -> str:
    sentences = [values["protocol"]]
    for split, one in values["splits"].items():
        if "nesf" in one["ours"] and "nesf" in one["paper"]:
            mean, paper = one["ours"]["nesf"]["mean"], one["paper"]["nesf"]["mean"]
            better = [c.label.lower() for c in COLUMNS if mean[c.key] is not None and mean[c.key] <= paper[c.key]]
            worse = [c.label.lower() for c in COLUMNS if c.label.lower() not in better]
            text = f"On {split}, nesf is at or below the paper in {len(better)} of {len(COLUMNS)} metrics"
            sentences.append(f"{text}; not in {', '.join(worse)}." if worse else f"{text}.")
    return " ".join(sentences)
