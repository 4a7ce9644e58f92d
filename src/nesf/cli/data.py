"""``nesf data import`` and ``nesf data info``."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from tyro.conf import Positional, UseAppendAction, arg

from nesf.cli.completeness import note_unread
from nesf.cli.console import (
    DEFAULT_MODEL,
    Data,
    Model,
    check_table,
    counted,
    crystals_of,
    notes,
    parse,
    progress,
    results,
    show,
    table,
    write_json,
)
from nesf.crystal import Crystal, Failure
from nesf.elements import symbol
from nesf.errors import NesfError
from nesf.io import Cell, find, write_table
from nesf.io.export import refuse_to_replace, write_left_out
from nesf.io.files import LeftOut
from nesf.lock import alone

TESTS = "in_test_of"
"""The column of a table that names, separated by commas, the test sets that hold the same id."""

T = TypeVar("T")
Files = Annotated[UseAppendAction[tuple[tuple[Path, ...], ...]], arg(metavar="FILE...")]
Names = Annotated[UseAppendAction[tuple[tuple[str, ...], ...]], arg(metavar="NAME...")]


def import_(arguments: Sequence[str]) -> None:
    """The command ``nesf data import``."""
    parse(_import, "data import", arguments)


def info(arguments: Sequence[str]) -> None:
    """The command ``nesf data info``."""
    parse(_info, "data info", arguments)


def _import(
    sources: Annotated[Positional[tuple[Path, ...]], arg(metavar="SOURCE...")],
    /,
    out: Path,
    cell: Cell = "as-is",
    without: Files = (),
    held_out: Names = (),
    json: Path | None = None,
) -> None:
    """Read crystals from files or folders and write them to one Parquet table.

    Readable are CIF, POSCAR, extended XYZ, pymatgen JSON, Parquet tables, CDVAE csv and the released
    pickle folders. What cannot be read is listed with the reason, also in OUT.left_out.csv, and left out (status 3). Of
    crystals with the same id, the later ones get a suffix.

    Args:
        sources: files or folders, read in this order.
        out: the table to write (.parquet).
        cell: the cell to store; the model universal takes any, lcs6a-paper conventional standard cells.
        without: files or folders, such as validation tables: crystals whose id is in one of them are left out;
            ids are compared as the files hold them, before any gets a suffix.
        held_out: names of test sets: crystals whose column in_test_of has one of them (separated by commas there)
            are left out; a name that no crystal has is an error.
        json: write what was read and left out to this file (- for the standard output).
    """
    if not sources:
        raise NesfError("Give at least one file or folder to import.")
    check_table(out)
    files = _flat("without", without)
    refuse_to_replace(out, files)
    source = find(sources, cell)
    withheld = _Withheld(files, _flat("held-out", held_out))
    entries: list[Crystal | Failure] = []
    with alone(out):
        with progress("reading", source.expected) as done:
            for entry in source.entries(objection=withheld.objection):
                entries.append(entry)
                done(1)
        withheld.check_names()
        counts = withheld.counts(entries)
        crystals = _readable(entries)
        write_table(out, crystals)
        left_out = [Failure(entry.id, entry.reason) for entry in entries if isinstance(entry, Failure)]
        write_left_out(left_out, out.with_suffix(".left_out.csv"))
    for reason, count in counts.items():
        notes.print(f"{count:7d} left out: {reason}", markup=False)
    converted = sum("cell_conversion" in crystal.properties for crystal in crystals)
    remark = f", {converted} of them converted to the {cell} standard cell" if converted else ""
    written, lost = counted(len(crystals), "crystals"), counted(len(left_out), "entries")
    notes.print(f"{written}{remark} written to {out}; {lost} left out.", markup=False)
    if json is not None:
        values = {
            "crystals": len(crystals),
            "converted": converted,
            "withheld": counts,
            "left_out": [vars(one) for one in left_out],
        }
        write_json({**values, "out": str(out)}, json)


class _Withheld:
    """What is to be left out although it can be read: ids that other files hold, and test sets.

    Of several reasons the first one counts, in the order of the command line, files before test sets.
    """

    def __init__(self, files: Sequence[Path], names: Sequence[str]) -> None:
        self._by_id: dict[str, str] = {}
        self._by_name = {name: f"Its {TESTS} names the test set {name}." for name in names}
        self._reasons = [f"Its id is in {path}." for path in files]
        self._met: set[str] = set()
        if files:
            self._read_ids(files)

    def _read_ids(self, files: Sequence[Path]) -> None:
        sources = [find(path) for path in files]  # a wrong path is refused before any file is read
        with progress("reading the ids to leave out", len(files)) as done:
            for source, reason in zip(sources, self._reasons, strict=True):
                for name in source.ids():
                    self._by_id.setdefault(name, reason)
                done(1)

    def objection(self, crystal: Crystal) -> str | None:
        """Why a crystal is to be left out; its id must be the one of its file."""
        tests = {name.strip() for name in str(crystal.properties.get(TESTS) or "").split(",")} - {""}
        self._met |= tests
        named = (reason for name, reason in self._by_name.items() if name in tests)
        return self._by_id.get(crystal.id) or next(named, None)

    def check_names(self) -> None:
        """Raise ``NesfError`` where no crystal was in a test set: its name is probably misspelt."""
        for name in self._by_name:
            if name not in self._met:
                known = f"there are {', '.join(sorted(self._met))}" if self._met else "nor any other test set"
                where = f"No crystal that was read names the test set {name!r} in its {TESTS} ({known})"
                raise NesfError(f"{where}; correct --held-out or leave this name away.")

    def counts(self, entries: Iterable[Crystal | Failure]) -> dict[str, int]:
        """How many were left out for each reason, also where there are none."""
        counts = Counter(entry.objection for entry in entries if isinstance(entry, LeftOut))
        return {reason: counts[reason] for reason in (*self._reasons, *self._by_name.values())}


def _readable(entries: Sequence[Crystal | Failure]) -> list[Crystal]:
    """The crystals; what cannot be read is said. Raises ``NesfError`` where there are none."""
    wanted = [entry for entry in entries if not isinstance(entry, LeftOut)]
    if entries and not wanted:
        raise NesfError(f"--without and --held-out leave out all {len(entries)} crystals, such as {entries[0].id}.")
    return crystals_of(wanted)[0]


def _flat(option: str, given: tuple[tuple[T, ...], ...]) -> tuple[T, ...]:
    """The values of an option that may be given several times."""
    if () in given:  # as the empty variable of a script makes it: nothing would be withheld, in silence
        raise NesfError(f"--{option} has no value; give at least one, or leave it away.")
    return tuple(value for values in given for value in values)


def _info(data: Positional[Data], /, model: Model = DEFAULT_MODEL, json: Path | None = None) -> None:
    """Show what a data set holds, and what a model would leave out of it and why.

    Args:
        data: a Parquet table, any other readable file or folder, or the name of an embedded data set (textbook).
        model: a run folder, a weights file or the name of a shipped model.
        json: write the figures to this file (- for the standard output).
    """
    from nesf.codec import load
    from nesf.data.datasets import load_dataset

    found = load_dataset(data)
    note_unread(len(found.failures))
    codec = load(model)
    reasons = [(c, codec.refusal(c)) for c in found.crystals]
    left_out = [Failure(c.id, reason) for c, reason in reasons if reason is not None]
    lengths = np.stack([c.lengths for c in found.crystals])
    angles = np.degrees(np.stack([c.angles_rad for c in found.crystals]))
    atoms = np.array([len(c) for c in found.crystals])
    elements = Counter(symbol(z) for c in found.crystals for z in set(c.numbers.tolist()))
    right = np.isclose(angles, 90, atol=0.01).all(1)
    values = {
        "name": found.name,
        "sha256": found.sha256,
        "crystals": len(found.crystals),
        "unreadable": [vars(failure) for failure in found.failures],
        "elements": dict(elements.most_common()),
        "atoms_per_cell": {"min": int(atoms.min()), "mean": float(atoms.mean()), "max": int(atoms.max())},
        "lengths_angstrom": {"min": lengths.min(0).tolist(), "max": lengths.max(0).tolist()},
        "angles_deg": {"min": angles.min(0).tolist(), "max": angles.max(0).tolist()},
        "right_angled": int(right.sum()),
        "model": codec.card.name,
        "left_out": [vars(failure) for failure in left_out],
    }
    if json is not None:
        write_json(values, json)
    if json is None or str(json) != "-":
        _show_info(values, lengths, angles, atoms)


def _show_info(values: dict, lengths: np.ndarray, angles: np.ndarray, atoms: np.ndarray) -> None:  # type: ignore[type-arg]
    n = values["crystals"]
    results.print(f"{values['name']}: {counted(n, 'crystals')}, sha256 {values['sha256'][:16]}…", markup=False)
    rows = [("atoms per cell", int(atoms.min()), float(np.median(atoms)), int(atoms.max()))]
    columns = [(f"{name} [Å]", lengths[:, i]) for i, name in enumerate("abc")]
    columns += [(f"{name} [°]", angles[:, i]) for i, name in enumerate(("α", "β", "γ"))]
    spans = [(name, float(v.min()), float(np.median(v)), float(v.max())) for name, v in columns]
    cells = [[name, *(show(x, 3) for x in span)] for name, *span in rows + spans]
    results.print(table("Cells", ["", "least", "median", "most"], cells))
    results.print(f"right-angled cells: {values['right_angled']} of {n}")
    elements = ", ".join(f"{name} {count}" for name, count in values["elements"].items())
    results.print(f"crystals by element ({len(values['elements'])}): {elements}", markup=False)
    for title, key in (("cannot be read", "unreadable"), (f"would be left out by {values['model']}", "left_out")):
        results.print(f"\n{len(values[key])} of {n + len(values['unreadable'])} {title}", markup=False)
        kinds = Counter(_kind(row["reason"]) for row in values[key])
        example = {_kind(row["reason"]): row for row in reversed(values[key])}
        for kind, count in kinds.most_common(12):
            row = example[kind]
            results.print(f"  {count:6d}  such as {row['id']}: {row['reason']}", markup=False)


def _kind(reason: str) -> str:
    """A reason without its numbers, so that crystals of one kind are counted together."""
    import re

    return re.sub(r"-?\d+(\.\d+)?", "#", reason)
