"""Broken and odd inputs through the real command line: each is read, or left out with a row that says why."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bad_inputs import FILES, Case
from bad_inputs.cif import GOOD
from nesf.cli import main
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import read, write_latents, write_table
from nesf.io.cif_reading import crystal_from_cif
from nesf.io.limits import closest_pair
from nesf.io.structures import quiet
from nesf.testing import crystals, rocksalt

INCOMPLETE = 3


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[int], list[str]]]:
    """All files of the corpus in one folder, imported by one command: atoms and reasons of each file's entries."""
    folder = tmp_path_factory.mktemp("all")
    for case in FILES:
        # A folder for each, named after it, so that every id and reason can be traced back to its case.
        (folder / "in" / case.file.replace(".", "-")).mkdir(parents=True)
        (folder / "in" / case.file.replace(".", "-") / case.file).write_bytes(case.content)
    table, said = folder / "t.parquet", folder / "said.json"
    assert main(["data", "import", str(folder / "in"), "--out", str(table), "--json", str(said)]) == INCOMPLETE
    read_rows = pq.read_table(table, columns=["material_id", "numbers"]).to_pylist()
    with (folder / "t.left_out.csv").open(encoding="utf-8", newline="") as file:
        left_out = list(csv.DictReader(file))
    assert left_out == json.loads(said.read_text(encoding="utf-8"))["left_out"]
    assert len(read_rows) == sum(len(case.atoms) for case in FILES)
    named = {case.file: re.compile(rf"(?<!\w){re.escape(case.file)}(?!\w)") for case in FILES}
    reasons = {name: [row["reason"] for row in left_out if text.search(row["reason"])] for name, text in named.items()}
    alone = {
        case.file: [len(e) for e in read(folder / "in" / case.file.replace(".", "-")) if isinstance(e, Crystal)]
        for case in FILES
    }
    assert sum(map(len, reasons.values())) == len(left_out)
    assert sorted(n for atoms in alone.values() for n in atoms) == sorted(len(row["numbers"]) for row in read_rows)
    return {case.file: (alone[case.file], reasons[case.file]) for case in FILES}


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.file)
def test_each_file_is_read_or_left_out_with_its_reason(
    case: Case, imported: dict[str, tuple[list[int], list[str]]]
) -> None:
    atoms, reasons = imported[case.file]
    assert atoms == list(case.atoms)
    assert len(reasons) == len(case.says), reasons
    for reason, piece in zip(reasons, case.says, strict=True):
        assert piece in reason
        assert reason.endswith(".")
        assert not reason.endswith("..")
        assert "\n" not in reason
        assert len(reason) < 500


def test_there_are_enough_cases_of_different_names() -> None:
    assert len({case.file for case in FILES}) == len(FILES) >= 60


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What a failing command said: one line on the standard error."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.mark.parametrize(
    "case", [FILES[0], *(c for c in FILES if c.file in ("deep.json", "no_table.parquet", "no_cif.csv"))]
)
def test_a_broken_file_alone_ends_with_one_sentence(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.content)
    for command in (["data", "import", str(path), "--out", str(tmp_path / "t.parquet")], ["data", "info", str(path)]):
        assert main(command) == 1
        assert case.file in (sentence := said(capsys))
        assert case.says[0] in sentence
    assert main(["reconstruct", "lcs6a", str(path), "--out", str(tmp_path / "found")]) == 1
    assert case.file in said(capsys)
    assert not (tmp_path / "t.parquet").exists()


def test_the_rest_of_a_folder_is_reconstructed_and_the_status_tells(tmp_path: Path) -> None:
    for name, content in (("good.cif", GOOD), ("bad.cif", "data_x\n"), ("worse.json", "{")):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(content, encoding="utf-8")
    out = tmp_path / "found"
    assert main(["reconstruct", "lcs6a", str(tmp_path / "in"), "--out", str(out), "--no-cifs"]) == INCOMPLETE
    assert [crystal.id for crystal in read(out / "crystals.parquet")] == ["good"]
    with (out / "left_out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["bad.cif", "worse.json"]
    (tmp_path / "in" / "bad.cif").unlink()
    (tmp_path / "in" / "worse.json").unlink()
    assert main(["encode", "lcs6a", str(tmp_path / "in"), "--out", str(tmp_path / "z.parquet")]) == 0


def loop(folder: Path) -> None:
    (folder / "round.cif").symlink_to(folder / "round.cif")


def dangling(folder: Path) -> None:
    (folder / "gone.cif").symlink_to(folder / "nowhere")


def linked_folder(folder: Path) -> None:
    (folder / "back").symlink_to(folder)


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.cif")


def device(folder: Path) -> None:
    (folder / "zeros.cif").symlink_to("/dev/zero")


def folder_called_cif(folder: Path) -> None:
    (folder / "folder.cif").mkdir()


ODD = {
    "a link to itself": (loop, "round.cif", "link that leads nowhere"),
    "a dangling link": (dangling, "gone.cif", "link that leads nowhere"),
    "a link back": (linked_folder, "back", "links are not followed"),
    "a pipe": (pipe, "pipe.cif", "no regular file"),
    "a device": (device, "zeros.cif", "no regular file"),
    "an empty folder called like a file": (folder_called_cif, None, ""),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_things_in_a_folder_are_said_and_never_waited_for(name: str, tmp_path: Path) -> None:
    make, what, reason = ODD[name]
    (tmp_path / "good.cif").write_text(GOOD, encoding="utf-8")
    make(tmp_path)
    crystal, *failures = sorted(read(tmp_path), key=lambda entry: isinstance(entry, Failure))
    assert isinstance(crystal, Crystal)
    assert [failure.id for failure in failures] == ([what] if what else [])
    assert all(reason in failure.reason for failure in failures)
    table = tmp_path / "t.parquet"
    assert main(["data", "import", str(tmp_path), "--out", str(table)]) == (INCOMPLETE if what else 0)


@pytest.mark.parametrize("make", [loop, pipe, device, dangling])
def test_odd_things_that_are_named_are_refused(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path)
    [path] = tmp_path.iterdir()
    assert main(["data", "import", str(path), "--out", str(tmp_path / "t.parquet")]) == 1
    assert path.name in said(capsys)


def test_an_unreadable_folder_or_file_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root, too, whom no permission stops: the system's refusal is played."""
    for name in ("a.cif", "closed/b.cif", "secret.cif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    really, content = Path.iterdir, Path.read_bytes

    def iterdir(self: Path):
        if self.name == "closed":
            raise PermissionError(13, "Permission denied", str(self))
        return really(self)

    def read_bytes(self: Path) -> bytes:
        if self.name == "secret.cif":
            raise PermissionError(13, "Permission denied", str(self))
        return content(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    good, folder, file = read(tmp_path)
    assert (good.id, folder.id, file.id) == ("a", "closed", "secret.cif")
    assert "Permission denied" in folder.reason
    assert "Permission denied" in file.reason


def test_a_file_of_many_gigabytes_is_not_read(tmp_path: Path) -> None:
    for name in ("large.cif", "large.vasp", "large.json", "large.csv"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**40)  # sparse: it takes no room
    assert all("MiB; split it" in failure.reason for failure in read(tmp_path))


def test_a_row_of_a_million_atoms_is_refused(tmp_path: Path) -> None:
    from bad_inputs.tables import parquet

    (tmp_path / "large.parquet").write_bytes(parquet(numbers=[np.ones(10**6, np.int16)]))
    [failure] = read(tmp_path)
    assert isinstance(failure, Failure)
    assert "1000000 atoms" in failure.reason


def test_packed_files_in_a_folder_are_said(tmp_path: Path) -> None:
    for name in ("a.cif.gz", "b.zip", "notes.txt.gz", "picture.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [(one.id, "unpack it" in one.reason) for one in read(tmp_path)] == [("a.cif.gz", True), ("b.zip", True)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_file_name_that_is_no_text_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, content in ((b"caf\xe9.cif", GOOD), (b"th\xe9.cif", "no CIF")):
        (tmp_path / "in" / os.fsdecode(name)).write_text(content, encoding="utf-8")
    assert main(["data", "import", str(tmp_path / "in"), "--out", str(tmp_path / "o.parquet")]) == 3
    assert [one.id for one in read(tmp_path / "o.parquet")] == ["caf\ufffd"]
    assert "th\ufffd" in (tmp_path / "o.left_out.csv").read_text(encoding="utf-8")


def test_an_archive_is_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../../evil.cif", GOOD)
    for name in ("x.zip", "x.cif.gz"):
        (tmp_path / name).write_bytes(content.getvalue())
        assert main(["data", "import", str(tmp_path / name), "--out", str(tmp_path / "t.parquet")]) == 1
        assert "unknown ending" in said(capsys)


def test_latent_vectors_that_nothing_was_made_of_are_failures_and_no_crash(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    z = (generator.normal(size=(6, 192)) * [[0], [1], [1e3], [1e30], [1e38], [-1e4]]).astype(np.float32)
    write_latents(tmp_path / "z.parquet", list("abcdef"), z, "lcs6a", "")
    said = tmp_path / "said.json"
    command = ["decode", "lcs6a", str(tmp_path / "z.parquet"), "--out", str(tmp_path / "found"), "--no-cifs"]
    assert main([*command, "--json", str(said)]) == 0
    values = json.loads(said.read_text(encoding="utf-8"))
    assert sorted(one["id"] for one in values["decoded"] + values["failures"]) == list("abcdef")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_latent_vectors_that_are_no_numbers_are_refused(
    number: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    z = np.zeros((2, 192), np.float32)
    z[1, 5] = number
    write_latents(tmp_path / "z.parquet", ["a", "b"], z, "lcs6a", "")
    assert main(["decode", "lcs6a", str(tmp_path / "z.parquet"), "--out", str(tmp_path / "found")]) == 1
    assert "z.parquet" in said(capsys)


def test_with_debug_the_traceback_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{", encoding="utf-8")
    assert main(["--debug", "data", "import", str(tmp_path), "--out", str(tmp_path / "t.parquet")]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.strip().splitlines()[-1].startswith("nesf: No crystal could be read")


def test_a_fault_of_ours_is_a_sentence_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("float division\nby zero")

    monkeypatch.setattr("nesf.cli._function", lambda _: broken)
    assert main(["demo"]) == 70
    sentence = said(capsys)
    assert sentence.startswith("nesf: Unexpected ZeroDivisionError: float division by zero; run the command with")


@given(crystals(max_atoms=6))
@settings(max_examples=30)
def test_the_nearest_pair_is_found_as_slowly_counted(crystal: Crystal) -> None:
    moved = crystal.cart.copy()
    assert closest_pair(moved, crystal.cell) is None
    if len(moved) > 1:
        moved[0] = moved[-1] + crystal.cell[1] - crystal.cell[2] + [0.2, 0.1, -0.1]
        i, j, distance = closest_pair(moved, crystal.cell)
        assert (i, j) == (0, len(moved) - 1)
        assert distance == pytest.approx(np.sqrt(0.06))


SEEDS = [case.content for case in FILES if len(case.content) < 5000]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=6)), max_size=6))
@settings(max_examples=60)
def test_a_reader_gives_crystals_or_failures_whatever_the_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, edits: list[tuple[int, bytes]]
) -> None:
    for place, new in edits:
        place %= len(content) + 1
        content = content[:place] + new + content[place + len(new) // 2 :]
    folder = tmp_path_factory.mktemp("edited")
    for ending in ("cif", "vasp", "xyz", "json", "csv"):
        (folder / f"x.{ending}").write_bytes(content)
    assert all(isinstance(entry, (Crystal, Failure)) for entry in read(folder))


def test_a_text_is_the_same_crystal_as_its_file(tmp_path: Path) -> None:
    [crystal] = (case for case in FILES if case.file == "second_origin.cif")
    (tmp_path / "x.cif").write_bytes(crystal.content)
    assert read(tmp_path / "x.cif") == [crystal_from_cif("x", crystal.content.decode())]
    with pytest.raises(NesfError, match="'x' has no CIF"):
        crystal_from_cif("x", "data_x\n")


def test_the_same_crystal_is_read_from_a_full_and_a_symmetric_cif() -> None:
    """Of all embedded crystals, as pymatgen and we write them: as many atoms, in the same places."""
    from pymatgen.io.cif import CifWriter

    from nesf.data import load_dataset
    from nesf.io import to_pymatgen

    for crystal in load_dataset("textbook").crystals[::10]:
        structure = to_pymatgen(crystal)
        with quiet():
            text = str(CifWriter(structure, symprec=0.01, significant_figures=8))
        back = crystal_from_cif(crystal.id, text)
        assert back.formula == crystal.formula
        volume = abs(np.linalg.det(crystal.cell)) / len(crystal)
        assert abs(np.linalg.det(back.cell)) / len(back) == pytest.approx(volume, rel=1e-4)
        plain = crystal_from_cif(crystal.id, str(CifWriter(structure)))
        assert sorted(plain.numbers) == sorted(crystal.numbers)


@pytest.mark.parametrize("symprec", [None, 0.01])
def test_what_pymatgen_counts_in_pairs_is_read(symprec: float | None) -> None:
    """Gases of two atoms and peroxides: its formula units are O2 and Na2O2, of which a cell may hold a half."""
    from pymatgen.core import Lattice, Structure
    from pymatgen.io.cif import CifWriter

    gases = [[symbol] * count for symbol in ("H", "N", "O", "F", "Cl") for count in range(1, 7)]
    peroxides = [[metal, "O"] * count for metal in ("H", "Li", "Na", "K", "Rb", "Cs") for count in range(1, 5)]
    structures = [
        Structure(Lattice.cubic(9), symbols, np.arange(len(symbols))[:, None] * [[0.117, 0.231, 0.071]])
        for symbols in gases + peroxides
    ]
    structures.append(Structure.from_spacegroup("Pa-3", Lattice.cubic(5.66), ["N"], [[0.056] * 3]))
    for structure in structures:
        with quiet():
            text = str(CifWriter(structure, symprec=symprec))
        assert sorted(crystal_from_cif("x", text).numbers) == sorted(structure.atomic_numbers)


def test_tables_of_crystals_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", [rocksalt()])
    assert read(tmp_path / "t.parquet") == [rocksalt()]


def test_the_fuzzer_runs_and_finds_nothing_in_a_few_inputs(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "fuzz.json"
    options = ["--inputs", "150", "--out", str(out), "--findings", str(tmp_path / "findings")]
    command = [sys.executable, str(root / "tests" / "long" / "fuzz.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads(out.read_text(encoding="utf-8"))
    assert sum(values["outcomes"].values()) == values["inputs"] == 150
    assert values["findings"] == []
