"""``nesf evaluate``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from rich.markup import escape
from tyro.conf import Positional

from nesf import streams
from nesf.cli.console import (
    Data,
    Model,
    check_processes,
    counted,
    note_failures,
    parse,
    results,
    score_rows,
    table,
    write_json,
)
from nesf.cli.console import show as show_value
from nesf.cli.jobs import Work, account, begin, chunk_size, run
from nesf.codec import Codec
from nesf.crystal import Crystal
from nesf.errors import NesfError
from nesf.io.export import work_beside
from nesf.jobs import chunks
from nesf.match import Judge, total
from nesf.metrics import COLUMNS, named, published
from nesf.output import check_file
from nesf.precision import best_device
from nesf.streams import Entry
from nesf.workers import cores


def evaluate(arguments: Sequence[str]) -> None:
    """The command ``nesf evaluate``."""
    parse(_evaluate, "evaluate", arguments)


def _evaluate(
    model: Positional[Model],
    data: Positional[Data],
    /,
    json: Path | None = None,
    literal: bool = False,
    match: bool = False,
    tolerance: float | None = None,
    processes: int = cores(),
) -> None:
    """Measure how well a model gives the crystals of a data set back, by the seven metrics of the paper.

    Distances are Euclidean over the atoms listed in the cells, as in the paper; the periodic variants
    (nearest image) are shown below. A crystal that is refused or not found counts as failed. Data of any
    length will do; with --json FILE the same command goes on after an interruption.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        data: a Parquet table, any other readable file or folder, or the name of an embedded data set (textbook).
        json: write the metrics to this file (- for the standard output); interim results are kept beside it.
        literal: decode by the slow reference path.
        match: judge the found crystals as structures, too: match rates by pymatgen's StructureMatcher, of all and of
            the valid ones (SMACT), RMSE and cRMSE, the RMSD of GLASS, recovery of the space group.
        tolerance: with --match, of the space group of found crystals, in angstrom; by default that of the model, as in
            its CIFs (0.01; the paper's network 0.2). Of the true ones it is 0.01.
        processes: with --match, how many match at the same time.
    """
    from nesf import codec, evaluation
    from nesf.data.datasets import open_dataset

    if not match and tolerance is not None:
        raise NesfError("--tolerance is of the space groups that --match compares; add --match, or leave it out.")
    check_processes(processes)
    loaded = codec.load(model, best_device())
    judge = Judge(processes, loaded.tolerance if tolerance is None else tolerance) if match else None
    options = {"match": judge.settings} if judge else {}
    stream = open_dataset(data)
    if json is not None:
        check_file(json)
    out = json if json is not None and _lasting(json) else None

    def stamp() -> str:
        return open_dataset(data).sha256

    with (
        _folder(out) as folder,
        judge or nullcontext(),
        begin(folder, "evaluate", loaded, stamp, out, literal=literal, **options) as job,
    ):
        pieces = chunks(stream.entries(job.done, streams.ids(job)), chunk_size(loaded, literal))
        task = "reconstructing and matching" if judge else "reconstructing"
        run(job, task, stream.expected, pieces, _work(loaded, literal, judge), stamp)
        account(job, None)
        result = streams.total(job)
        matched = total(note["match"] for note in job.notes()) if judge else None
        unreadable = sum(1 for _ in streams.left_out(job, read=False))
        description = {"name": stream.name, "sha256": stream.sha256, "unreadable": unreadable}
        values = evaluation.report(loaded, result, description, matched, judge.settings if judge else None)
        if json is not None:
            write_json(values, json)
    if json is None or str(json) != "-":
        show(values, stream.name)
        if matched:
            show_match(values)
    note_failures(result.failure_reasons, "crystals failed")
    if matched:
        note_failures(matched.undecided, "crystals were not fully judged, which counts against them")


def _work(model: Codec, literal: bool, judge: Judge | None) -> Work[list[Entry]]:
    """What is done with each chunk: reconstructed and scored, and judged where there is a judge."""

    def work(chunk: list[Entry], done: Callable[[int], None]) -> tuple[pa.Table, dict[str, Any]]:
        # The matching takes longer, so where there is one, the bar goes by it.
        found, rows, tally = streams.reconstruct(model, chunk, literal, (lambda _: None) if judge else done)
        note = tally.to_dict()
        if judge:
            pairs = [(true, one) for true, one in zip(chunk, found, strict=True) if isinstance(true, Crystal)]
            done(len(chunk) - len(pairs))
            note["match"] = judge(pairs, done).to_dict()
        return rows.select(["material_id", "read", "reason"]), note

    return work


def _lasting(json: Path) -> bool:
    """Whether the output is a file; the standard output, and pipes and devices, keep nothing."""
    return str(json) != "-" and (json.is_file() or not json.exists())


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """The working folder: beside the output, or, where there is none to go on to, a temporary one."""
    if out is not None:
        yield work_beside(out)
    else:
        with TemporaryDirectory() as folder:
            try:
                yield Path(folder) / "parts"
            except KeyboardInterrupt:
                raise KeyboardInterrupt("Interrupted; with --json FILE the same command could go on.") from None


def show(values: dict[str, Any], name: str, *, method: str = "nesf", rows: Sequence[Sequence[str]] = ()) -> None:
    """Print the scores of a method on a data set, with what the paper reports for it.

    Args:
        values: what ``evaluate --json`` writes.
        name: the data set's.
        method: whose row of the paper is shown beside: "nesf" or "icsg3d".
        rows: further rows, each a label and the cells of ``score_rows``.
    """
    title = f"{values['model']} on {name}: {counted(values['n'], 'crystals')}, {values['failures']} failed"
    shown: list[Sequence[str]] = [["this model", *score_rows(values)]]
    periodic = values["periodic"] | {"atoms_error_percent": None, "length_error": None, "angle_error": None}
    shown += [["  periodic", *score_rows(periodic)], *rows]
    table_of_paper = named(name)
    row = published(*table_of_paper, method) if table_of_paper is not None else None
    if row is not None:
        whose = "paper" if method == "nesf" else method.upper()
        shown.append([f"{whose} ({row.split})", *score_rows(dict(row.mean))])
    results.print(table(title, ["", *[column.title for column in COLUMNS]], shown))
    left_out = values["position_crystals_left_out"]
    results.print(
        f"positions cover {values['n'] - left_out} of {values['n']} crystals "
        f"({values['n_atoms_true']} true atoms, {values['n_atoms_found']} found); {left_out} left out"
    )
    if (farthest := values["farthest"]) is not None:
        distance, whose = show_value(farthest["distance"]), escape(farthest["id"])
        results.print(f"the farthest atom is {distance} Å off (nearest image), in {whose}")


def show_match(values: dict[str, Any]) -> None:
    """Print how the found crystals were judged as structures, each value with what it covers.

    Args:
        values: what ``evaluate --match --json`` writes.
    """
    match, everything = values["match"], f"{values['match']['n']} crystals"
    used = match["settings"]
    tolerances = f"stol {used['stol']:g}, ltol {used['ltol']:g}, angle_tol {used['angle_tol_degrees']:g}°"
    rows = [
        ["match rate, all", _percent(values["match_rate_all"]), f"{match['matched']} of {everything}; {tolerances}"],
        [
            "match rate, valid only",
            _percent(values["match_rate_valid"]),
            f"{match['matched_and_valid']} of {everything}; SMACT {used['smact']} ({used['oxidation_states']}); "
            f"{match['valid']} found and {match['true_valid']} true ones are valid",
        ],
        ["RMSE", show_value(values["match_rmse"]), f"{match['matched']} matches"],
        ["cRMSE", show_value(values["match_crmse"]), f"{everything}, a miss counts as {used['stol']:g}"],
        [
            "RMSD of GLASS, Å",
            show_value(values["glass_rmsd"]),
            f"{match['right_count']} with the right number of atoms",
        ],
        [
            "right species of GLASS",
            _percent(values["glass_species_percent"], 1),
            f"the {match['glass_atoms']} atoms of these",
        ],
        [
            "space group recovered",
            _percent(values["spacegroup_recovered_percent"], 1),
            f"{match['same_spacegroup']} of {everything}; within {used['spacegroup_tolerance_found_angstrom']:g} Å, "
            f"true ones {used['spacegroup_tolerance_true_angstrom']:g} Å",
        ],
    ]
    results.print(table("As structures", ["", "value", "over"], rows, numbers=[False, True, False]))


def _percent(value: float | None, factor: int = 100) -> str:
    return "–" if value is None else f"{factor * value:.2f} %"
