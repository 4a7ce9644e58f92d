"""Long commands go on after an interruption, to the very files of an unbroken run, and hold one chunk at a time."""

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nesf.cli import main
from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import convert, find, open_latents, read_latents, write_latents, write_table
from nesf.io.table import crystals_in, geometry_columns, write_geometry
from nesf.jobs import Job, chunks
from nesf.testing import caesium_chloride, hexagonal, known_crystals, perovskite, rocksalt

ENDED = (0, 3)
"""Statuses of a command that has done its work; with 3, a file of the source could not be read."""

CHUNK = 3
WORKER = {"encode": "encode_taken", "decode": "decode", "reconstruct": "reconstruct", "evaluate": "reconstruct"}
"""The method of the codec that each command spends its time in."""


def rows(count: int, name: str = "material_id") -> pa.Table:
    return pa.table({name: [f"row {i}" for i in range(count)]})


def test_a_job_is_taken_up_where_it_was_left(tmp_path):
    folder = tmp_path / "out" / ".parts"
    first = Job(folder, {"model": "m"})
    assert not folder.exists()
    first.append(rows(3), {"note": 1})
    first.append(rows(2), {"note": 2})
    (folder / ".000000000005-000000000009.parquet.abc.part").write_text("torn off")
    again = Job(folder, {"model": "m"})
    assert (again.done, again.dropped) == (5, False)
    assert [len(part) for part in again.parts()] == [3, 2]
    assert [note["note"] for note in again.notes()] == [1, 2]
    again.finish()
    assert not folder.exists()
    assert Job(folder, {"model": "m"}).done == 0


def test_parts_of_another_job_are_dropped_and_foreign_files_are_not(tmp_path):
    Job(tmp_path, {"model": "m"}).append(rows(3))
    (tmp_path / "mine.txt").write_text("kept")
    other = Job(tmp_path, {"model": "n"})
    assert (other.done, other.dropped) == (0, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_part_without_its_predecessor_does_not_count(tmp_path):
    job = Job(tmp_path, {})
    for count in (2, 3, 4):
        job.append(rows(count))
    next(tmp_path.glob("000000000002-*.parquet")).unlink()
    assert Job(tmp_path, {}).done == 2


def test_a_damaged_part_is_made_again_or_said_with_the_cure(tmp_path):
    job = Job(tmp_path, {})
    job.append(rows(2))
    next(tmp_path.glob("*.parquet")).write_bytes(b"")
    assert Job(tmp_path, {}).done == 0
    with pytest.raises(NesfError, match="delete it and give the command again"):
        list(job.parts())


@given(st.lists(st.integers()), st.integers(1, 9))
def test_chunks_hold_everything_in_order(items, size):
    cut = list(chunks(items, size))
    assert [item for chunk in cut for item in chunk] == items
    assert all(len(chunk) == size for chunk in cut[:-1])


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5), max_size=12), st.data())
def test_geometry_goes_through_a_table_piece_by_piece(tmp_path_factory, kinds, data):
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    known = known_crystals()
    entries = [known[kind] if kind < len(known) else Failure("lost", "lost") for kind in kinds]
    cut = data.draw(st.integers(0, len(entries)))
    write_geometry(path, [pa.table(geometry_columns(part)) for part in (entries[:cut], entries[cut:])])
    assert list(crystals_in(pq.read_table(path))) == [entry for entry in entries if isinstance(entry, Crystal)]


def test_latents_are_read_from_any_row_on(tmp_path):
    z = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    write_latents(tmp_path / "z.parquet", [f"{i}" for i in range(7)], z, "m", "h")
    file = open_latents(tmp_path / "z.parquet")
    for skip in range(9):
        batches = list(file.batches(3, skip))
        assert [one for ids, _ in batches for one in ids] == [f"{i}" for i in range(skip, 7)]
        np.testing.assert_array_equal(np.concatenate([np.empty((0, 4)), *(part for _, part in batches)]), z[skip:])


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["a", "a-2", "a-3", "b"]), max_size=8), st.data())
def test_ids_are_the_same_after_skipping(tmp_path_factory, names, data):
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    write_table(path, [rocksalt().renamed(name) for name in names])
    whole = [crystal.id for crystal in find([path]).entries()]
    assert len(set(whole)) == len(whole)
    skip = data.draw(st.integers(0, len(names)))
    assert [crystal.id for crystal in find([path]).entries(skip, whole[:skip])] == whole[skip:]


def test_what_was_skipped_is_not_converted(tmp_path, monkeypatch):
    write_table(tmp_path / "t.parquet", known_crystals())
    converted = []
    monkeypatch.setattr("nesf.io.files.convert", lambda item, cell: converted.append(item.id) or convert(item, cell))
    assert len(list(find([tmp_path / "t.parquet"], "primitive").entries(3))) == 2
    assert converted == ["Mg", "TiO2"]


def test_the_stamp_tells_changed_input_and_the_count_needs_no_reading(tmp_path):
    write_table(tmp_path / "t.parquet", known_crystals())
    before = find([tmp_path]).stamp()
    assert find([tmp_path]).stamp() == before
    assert find([tmp_path], "primitive").stamp() != before
    assert find([tmp_path]).expected == 5
    (tmp_path / "broken.cif").write_text("data_nothing\n")
    assert find([tmp_path]).stamp() != before
    assert find([tmp_path]).expected == 6
    (tmp_path / "some.json").write_text("[]")
    assert find([tmp_path]).expected is None


def quick_decode(_self, z, ids, **_) -> list[Crystal | Failure]:
    """Stands in for the estimation, which takes its time: another crystal for each vector, one of them lost."""
    known = known_crystals()
    answers = [known[int(1e4 * abs(one[0])) % len(known)].renamed(name) for one, name in zip(z, ids, strict=True)]
    return [Failure(one.id, "lost") if one.id == "CsCl-2" else one for one in answers]


def quick_reconstruct(self, crystals, progress, **_) -> list[Crystal | Failure]:
    """Likewise: the first atom of each crystal a little off."""
    progress(len(crystals))
    found = [replace(one, cart=one.cart + 0.1 * np.eye(len(one), 3)) for one in crystals]
    reasons = [self.refusal(one) for one in crystals]
    return [one if why is None else Failure(one.id, why) for one, why in zip(found, reasons, strict=True)]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 13 entries: good crystals of which some share an id, refused ones, one that cannot be read."""
    monkeypatch.setattr("nesf.jobs.CHUNK", CHUNK)
    monkeypatch.setattr(Codec, "decode", quick_decode)
    monkeypatch.setattr(Codec, "reconstruct", quick_reconstruct)
    folder = tmp_path / "in"
    one = [rocksalt(), hexagonal(), caesium_chloride(), perovskite(), rocksalt(), rocksalt()]
    folder.mkdir()
    write_table(folder / "a.parquet", one)
    (folder / "b.cif").write_text("data_nothing\n")
    write_table(folder / "c.parquet", [perovskite(), hexagonal(), *one[2:]])
    return folder


def command(name: str, source: Path, out: Path) -> list[str]:
    """A command with everything that it can write, into ``out``."""
    out.mkdir(exist_ok=True)
    if name == "decode":
        z = source / "z.parquet"
        if not z.exists():
            assert main(["encode", "lcs6a", str(source), "--out", str(z)]) in ENDED
        return ["decode", "lcs6a", str(z), "--out", str(out / "found"), "--json", str(out / "said.json")]
    if name == "evaluate":
        return ["evaluate", "lcs6a", str(source), "--json", str(out / "said.json")]
    target = out / ("z.parquet" if name == "encode" else "found")
    return [name, "lcs6a", str(source), "--out", str(target), "--json", str(out / "said.json")]


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes().replace(str(folder).encode(), b"") for path in files}


def watched(monkeypatch: pytest.MonkeyPatch, method: str, stop: int | None, calls: list[int]) -> None:
    """Note the crystals of each call of a method of the codec; the call number ``stop`` is interrupted."""
    whole: Callable = getattr(Codec, method)

    def watching(self, items, *arguments, **options):
        if stop is not None and len(calls) == stop:
            raise KeyboardInterrupt
        calls.append(len(items))
        return whole(self, items, *arguments, **options)

    monkeypatch.setattr(Codec, method, watching)


@pytest.mark.parametrize("name", WORKER)
def test_an_interrupted_command_goes_on_to_the_same_files(name, source, tmp_path, monkeypatch, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    calls: list[int] = []
    with monkeypatch.context() as patched:
        words = command(name, source, whole)
        watched(patched, WORKER[name], None, calls)
        assert main(words) in ENDED
    expected, resumed = sum(calls), []
    with monkeypatch.context() as patched:
        words = command(name, source, broken)
        watched(patched, WORKER[name], 2, resumed)
        assert main(words) == 130
    assert "the same command goes on after 6 crystals." in capsys.readouterr().err
    made = [path for path in broken.rglob("*") if path.suffix in (".parquet", ".csv", ".extxyz", ".json")]
    assert {path.parent.name[-5:] for path in made} == {"parts"}, "only parts may be there"
    with monkeypatch.context() as patched:
        watched(patched, WORKER[name], None, resumed)
        assert main(words) in ENDED
    assert "continuing after 6 crystals" in capsys.readouterr().err
    assert sum(resumed) == expected, "nothing may be computed twice"
    assert max(calls) <= CHUNK
    assert contents(broken) == contents(whole)
    assert not [path for path in broken.rglob("*") if path.name.startswith(".")]


def test_every_entry_is_accounted_for(source, tmp_path):
    words = command("reconstruct", source, tmp_path / "out")
    assert main(words) in ENDED
    said = json.loads((tmp_path / "out" / "said.json").read_text())
    assert [row["id"] for row in said["crystals"]] == [
        *("NaCl", "Mg", "CsCl", "SrTiO3", "NaCl-2", "NaCl-3"),
        *("SrTiO3-2", "Mg-2", "CsCl-2", "SrTiO3-3", "NaCl-4", "NaCl-5"),
    ]
    left = (tmp_path / "out" / "found" / "left_out.csv").read_text().splitlines()
    assert left[0] == "id,reason"
    assert [line.split(",")[0] for line in left[1:]] == ["Mg", "b.cif", "Mg-2"]
    assert len(said["unreadable"]) == 1
    assert said["score"]["n"] == 12
    assert main([*command("encode", source, tmp_path / "out")]) in ENDED
    assert len(read_latents(tmp_path / "out" / "z.parquet").ids) == 10
    assert len((tmp_path / "out" / "z.left_out.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("change", ["option", "input", "model"])
def test_what_belongs_to_another_job_is_dropped_with_a_remark(change, source, tmp_path, monkeypatch, capsys):
    words = command("reconstruct", source, tmp_path / "out")
    with monkeypatch.context() as patched:
        watched(patched, "reconstruct", 1, [])
        assert main(words) == 130
    if change == "option":
        words = [*words, "--no-cifs"]
    elif change == "input":
        (source / "b.cif").write_text("data_nothing_else\n")
    else:
        monkeypatch.setattr(Codec, "fingerprint", "another")
    capsys.readouterr()
    assert main(words) in ENDED
    said = capsys.readouterr().err
    assert "it is dropped" in " ".join(said.split())
    assert "continuing" not in said
    assert json.loads((tmp_path / "out" / "said.json").read_text())["score"]["n"] == 12


def test_a_table_alone_is_written_where_the_output_is_one(source, tmp_path):
    folder, out = tmp_path / "folder", tmp_path / "out"
    assert main(["reconstruct", "lcs6a", str(source), "--out", str(folder), "--no-cifs"]) in ENDED
    assert main(["reconstruct", "lcs6a", str(source), "--out", str(out / "found.parquet")]) in ENDED
    assert set(contents(out)) == {"found.parquet", "found.errors.csv", "found.left_out.csv"}
    assert set(contents(folder)) == {"crystals.parquet", "crystals.extxyz", "errors.csv", "left_out.csv"}
    assert (out / "found.parquet").read_bytes() == (folder / "crystals.parquet").read_bytes()
    assert (out / "found.errors.csv").read_bytes() == (folder / "errors.csv").read_bytes()


def test_a_list_of_what_is_left_out_does_not_outlive_its_reason(source, tmp_path):
    words = command("encode", source, tmp_path / "out")
    assert main(words) in ENDED
    assert (tmp_path / "out" / "z.left_out.csv").exists()
    for path in source.iterdir():
        path.unlink()
    write_table(source / "a.parquet", [rocksalt()])
    assert main(words) in ENDED
    assert not (tmp_path / "out" / "z.left_out.csv").exists()


@pytest.mark.parametrize("name", ["encode", "reconstruct"])
def test_no_more_than_a_few_chunks_of_crystals_are_alive(name, tmp_path, monkeypatch):
    monkeypatch.setattr("nesf.jobs.CHUNK", CHUNK)
    write_table(tmp_path / "t.parquet", [rocksalt().renamed(f"{i}") for i in range(10 * CHUNK)])
    alive: list[int] = []

    def counting(self, items):
        if len(alive) in (1, 9):
            gc.collect()
            alive.append(sum(type(one) is Crystal for one in gc.get_objects()))
        else:
            alive.append(0)
        return np.zeros((len(items), self.latent), np.float32) if name == "encode" else items

    monkeypatch.setattr(Codec, WORKER[name], lambda self, items, **_: counting(self, items))
    assert main([name, "lcs6a", str(tmp_path / "t.parquet"), "--out", str(tmp_path / "out.parquet")]) in ENDED
    assert len(alive) == 10
    assert alive[9] <= alive[1]


def test_what_an_earlier_command_left_in_the_folder_is_said_and_nothing_found_is_an_error(tmp_path, capsys):
    write_table(tmp_path / "two.parquet", [rocksalt(), perovskite()])
    write_table(tmp_path / "one.parquet", [caesium_chloride()])
    write_table(tmp_path / "none.parquet", [replace(rocksalt(), id="x", numbers=[118] * 8)])

    def said(name: str, *words: str, status: int = 0) -> str:
        command = ["reconstruct", "universal", str(tmp_path / f"{name}.parquet"), "--out", str(tmp_path / "found")]
        assert main([*command, *words]) == status
        return " ".join(capsys.readouterr().err.split())

    assert "earlier command" not in said("two")
    assert "earlier command" not in said("two")
    assert "by an earlier command: 2 CIFs." in said("one")
    assert "by an earlier command: 3 CIFs." in said("one", "--no-cifs")
    ended = said("none", status=1)
    assert "by an earlier command: 3 CIFs, crystals.parquet, crystals.extxyz." in ended
    assert "nesf: No crystal was found; " in ended
    assert "left_out.csv says why." in ended
    assert "contains Og" in (tmp_path / "found" / "left_out.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["encode", "reconstruct"])
def test_an_output_never_replaces_the_input(name, source, capsys):
    table = next(path for path in ([source] if source.is_file() else sorted(source.rglob("*.parquet"))))
    before = table.read_bytes()
    assert main([name, "lcs6a", str(table), "--out", str(table)]) == 1
    assert "is the input; choose another --out" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_latent_vectors_are_not_replaced_by_what_they_decode_to(tmp_path, capsys):
    path = tmp_path / "z.parquet"
    write_latents(path, ["a"], np.zeros((1, 192), np.float32), "lcs6a", "")
    before = path.read_bytes()
    assert main(["decode", "lcs6a", str(path), "--out", str(path)]) == 1
    assert "is the input" in capsys.readouterr().err
    assert path.read_bytes() == before
