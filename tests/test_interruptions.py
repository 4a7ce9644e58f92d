"""Nothing is lost, mixed or half written, whatever ends a command: a signal, a full disk, another process, damage."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load_file

from nesf.baselines.voxel import run as voxel
from nesf.cli import main
from nesf.cli.console import results
from nesf.codec import Codec
from nesf.config import PRESETS
from nesf.data.datasets import Dataset
from nesf.errors import NesfError
from nesf.io import write_latents, write_table
from nesf.jobs import Job
from nesf.lock import FileLock, alone, hold
from nesf.output import sweep, whole_file
from nesf.runs import CHECKPOINT, LOG, MODEL, SETUP, Run, Setup, describe
from nesf.studies.outcome import Outcome, Table
from nesf.studies.record import Record
from nesf.testing import caesium_chloride, hexagonal, perovskite, rocksalt
from test_jobs import contents, quick_decode, quick_reconstruct

DATA = Dataset("four", (rocksalt(), perovskite(), hexagonal(), caesium_chloride()), (), "a hash")
COMMANDS = ("encode", "decode", "reconstruct", "evaluate", "data import", "train")
NOT_AGAIN = {"seconds", "training_seconds", "minutes"}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of seven crystals and their latent vectors, worked on in chunks of three by quick stand-ins."""
    monkeypatch.setattr("nesf.jobs.CHUNK", 3)
    monkeypatch.setattr(Codec, "decode", quick_decode)
    monkeypatch.setattr(Codec, "reconstruct", quick_reconstruct)
    folder = tmp_path / "in"
    folder.mkdir()
    write_table(folder / "t.parquet", [rocksalt().renamed(f"{i}") for i in range(7)])
    z = np.random.default_rng(0).normal(size=(7, 192)).astype(np.float32)
    write_latents(folder / "z.parquet", [f"{i}" for i in range(7)], z, "lcs6a", "")
    return folder


def words(name: str, source: Path, out: Path) -> list[str]:
    """A command that writes to ``out``: a file, or the folder of a run."""
    table = str(source / "t.parquet")
    if name == "train":
        return ["train", table, "--out", str(out), "--training.epochs", "2"]
    if name == "evaluate":
        return ["evaluate", "lcs6a", table, "--json", str(out)]
    if name == "data import":
        return ["data", "import", table, "--out", str(out)]
    return [name, "lcs6a", str(source / "z.parquet") if name == "decode" else table, "--out", str(out)]


def output(name: str, folder: Path) -> Path:
    """Where a command writes to."""
    return folder / ("run" if name == "train" else "said.json" if name == "evaluate" else "out.parquet")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line that a failing command said, which is all of its sentence."""
    error = capsys.readouterr().err
    assert "Traceback" not in error
    last = error.strip().splitlines()[-1]
    assert last.startswith("nesf: "), error
    assert last.endswith("."), error
    return last


@contextmanager
def small_files() -> Iterator[None]:
    """A system on which no file may have more than 600 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO])
def test_what_cannot_be_written_is_said_with_the_cure_and_leaves_the_old_file(number, tmp_path):
    path = tmp_path / "there.txt"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as target:
            target.write_text("half of the ne")
            raise OSError(number, os.strerror(number))

    with pytest.raises(NesfError, match=rf"File .*there.txt cannot be written: {os.strerror(number)}; .*[a-z]\."):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_lasts_before_its_name_does(tmp_path, monkeypatch):
    done: list[str] = []
    sync, replaced = os.fsync, Path.replace

    def syncing(handle: int) -> None:
        done.append("content")
        sync(handle)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append("name"), replaced(self, to))[1])
    with whole_file(tmp_path / "there.txt") as target:
        target.write_text("new")
    assert done == ["content", "name"]


def test_devices_are_written_to_and_links_followed(tmp_path):
    with whole_file("/dev/null") as target:
        target.write_text("gone")
    assert Path("/dev/null").is_char_device()
    refused = pytest.raises(NesfError, match="/dev/full cannot be written: No space left on device; free some space")
    with refused, whole_file("/dev/full") as target:
        target.write_text("too much")
    (tmp_path / "link").symlink_to(tmp_path / "there.txt")
    with whole_file(tmp_path / "link") as target:
        target.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there.txt").read_text() == "new"


def test_what_killed_processes_left_is_swept_away_and_nothing_else(tmp_path):
    (tmp_path / ".t.parquet.0123abcd.part").write_text("of a killed process")
    (tmp_path / "mine.part").write_text("mine")
    with whole_file(tmp_path / "t.parquet") as target:
        sweep(tmp_path)
        assert target.exists()
        assert {path.name for path in tmp_path.iterdir()} == {"mine.part", target.name}
        target.write_text("whole")


# --- two processes ---------------------------------------------------------------------------------------------------


def test_a_lock_leaves_nothing_and_is_not_held_by_the_dead(tmp_path):
    (tmp_path / ".out.lock").touch()  # of a killed process
    refused = pytest.raises(NesfError, match=r"Another process is writing to .*out; wait for it or end it")
    with alone(tmp_path / "out"), refused, alone(tmp_path / "out"):
        pass
    with alone(tmp_path / "new" / "deep" / "out"):
        assert (tmp_path / "new" / "deep").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_who_waits_for_a_lock_that_is_removed_gets_a_new_one(tmp_path):
    first, second, third = (FileLock(tmp_path / "lock") for _ in range(3))
    first.acquire()
    waiting = threading.Thread(target=second.acquire, daemon=True)
    waiting.start()
    first.release(remove=True)
    waiting.join(60)
    assert not waiting.is_alive()
    assert not third.acquire(wait=False)
    second.release()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_second_process_that_writes_to_an_output_is_refused(name, source, tmp_path, capsys):
    out = output(name, tmp_path)
    lock = hold(out) if name == "train" else None
    with alone(out):
        assert main(words(name, source, out)) == 1
    assert f"Another process is writing to {out}; wait for it or end it" in said(capsys)
    if lock is not None:
        lock.release()
    assert main(words(name, source, out)) == 0


# --- disks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_said_in_one_sentence_and_costs_nothing(name, source, tmp_path, capsys):
    whole, out = tmp_path / "whole", tmp_path / "out"
    whole.mkdir()
    assert main(words(name, source, output(name, whole))) == 0
    out.mkdir()
    old = output(name, out)
    if name != "train":
        old.write_text("old")
    capsys.readouterr()
    with small_files():
        assert main(words(name, source, old)) == 1
    sentence = said(capsys)
    assert str(out) in sentence
    assert (
        "cannot be written: File too large; raise the limit (ulimit -f), or choose a place on another disk" in sentence
    )
    if name != "train":
        assert old.read_text() == "old"
    assert not list(out.rglob("*.part"))
    assert main(words(name, source, old)) == 0
    expected, found = contents(whole), contents(out)
    assert expected.keys() == found.keys()
    if name != "train":
        assert found == expected


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("place", ["/proc/nowhere", "FILE"])
def test_where_nothing_can_be_written_one_sentence_says_so(name, place, source, tmp_path, capsys):
    (tmp_path / "file").write_text("a file, not a folder")
    folder = tmp_path / "file" if place == "FILE" else Path(place)
    assert main(words(name, source, output(name, folder))) == 1
    sentence = said(capsys)
    assert str(folder) in sentence
    assert "; choose " in sentence
    assert (tmp_path / "file").read_text() == "a file, not a folder"


def test_a_really_full_disk(source, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    try:
        if subprocess.run(mounted, capture_output=True, check=False, timeout=60).returncode:
            pytest.skip("mounting a disk is not allowed here")
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    try:
        assert main(words("train", source, disk / "run")) == 1
        assert "No space left on device; free some space, or choose a place on another disk." in said(capsys)
        assert not list(disk.rglob("*.part"))
    finally:
        subprocess.run(["umount", str(disk)], check=True, timeout=60)


# --- signals and pipes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_command_that_is_told_to_stop_says_how_it_goes_on(number, status, source, tmp_path, monkeypatch, capsys):
    out, encode, calls = tmp_path / "z.parquet", Codec.encode_taken, []

    def stopping(self, crystals):
        calls.append(len(crystals))
        if len(calls) == 2:
            signal.raise_signal(number)
        return encode(self, crystals)

    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    begun_with = signal.signal(number, usual)  # where the tests run without a terminal, some are ignored
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Codec, "encode_taken", stopping)
            assert main(words("encode", source, out)) == status
        assert signal.getsignal(number) == usual
    finally:
        signal.signal(number, begun_with)
    assert said(capsys) == "nesf: Interrupted; the same command goes on after 3 crystals."
    assert {path.name for path in tmp_path.iterdir()} == {"in", ".z.parquet.parts"}
    assert main(words("encode", source, out)) == 0
    assert "continuing after 3 crystals" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"in", "z.parquet"}


def test_a_signal_that_is_ignored_stays_so(monkeypatch):
    monkeypatch.setattr("nesf.cli._function", lambda _: lambda _: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["demo"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@contextmanager
def unread(monkeypatch):
    """A standard output whose reader is gone."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", closed)
        yield


@pytest.mark.parametrize("extra", [[], ["--json", "-"]])
def test_output_that_nobody_reads_ends_nothing(extra, source, tmp_path, monkeypatch, capfd):
    with unread(monkeypatch):
        assert main(["reconstruct", "lcs6a", str(source / "t.parquet"), "--out", str(tmp_path / "found"), *extra]) == 0
    assert "Traceback" not in capfd.readouterr().err
    assert {path.name for path in (tmp_path / "found").iterdir()} >= {"crystals.parquet", "errors.csv"}
    assert not (tmp_path / "found" / ".parts").exists()
    # The next command of the same process is heard again, and nothing of what was lost comes with it.
    with unread(monkeypatch):
        results.print("the last line")
    assert main(["evaluate", "lcs6a", str(source / "t.parquet")]) == 0
    shown = capfd.readouterr().out
    assert "7 crystals, 0 failed" in shown
    assert "the last line" not in shown
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)  # `>&-`
        assert main(["evaluate", "lcs6a", str(source / "t.parquet")]) == 0
        sys.stdout.close()


def test_a_standard_output_that_is_full_is_said(source, monkeypatch, capsys):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["evaluate", "lcs6a", str(source / "t.parquet"), "--json", "-"]) == 1
    assert "The output: No space left on device" in said(capsys)


# --- interim results -------------------------------------------------------------------------------------------------


def rows(count: int, first: int = 0) -> pa.Table:
    return pa.table({"material_id": [f"row {first + i}" for i in range(count)]})


def test_parts_of_a_job_whose_end_was_interrupted_are_not_mixed_with_another(tmp_path):
    earlier = Job(tmp_path, {"model": "m"})
    for first in (0, 2, 4):
        earlier.append(rows(2, first))
    (tmp_path / "manifest.json").unlink()  # the first step of the end, and it is killed
    Job(tmp_path, {"model": "n"}).append(rows(2))
    assert Job(tmp_path, {"model": "n"}).done == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "another"])
def test_a_damaged_part_and_what_follows_it_is_made_again(damage, tmp_path):
    job = Job(tmp_path, {})
    for first in (0, 2, 4):
        job.append(rows(2, first), {"note": 1})
    second = sorted(tmp_path.glob("*.parquet"))[1]
    content = bytearray(second.read_bytes())
    content[content.index(b"row 2")] ^= 1
    if damage == "another":
        Job(tmp_path / "other", {}).append(rows(3))
        content = bytearray(next((tmp_path / "other").glob("*.parquet")).read_bytes())
    second.write_bytes(content[:-20] if damage == "truncated" else content)
    again = Job(tmp_path, {})
    assert again.done == 2
    assert second.name in str(again.damaged)


def test_a_manifest_that_cannot_be_read_is_that_of_another_job(tmp_path):
    Job(tmp_path, {}).append(rows(2))
    (tmp_path / "manifest.json").write_bytes(b"\xff\x00")
    assert (Job(tmp_path, {}).done, Job(tmp_path, {}).dropped) == (0, False)


@pytest.mark.parametrize("name", ["encode", "evaluate"])
def test_input_that_is_changed_while_it_is_read_gives_no_result(name, source, tmp_path, monkeypatch, capsys):
    out = output(name, tmp_path)
    method = "encode_taken" if name == "encode" else "reconstruct"
    right = getattr(Codec, method)

    def changing(self, crystals, **options):
        write_table(source / "t.parquet", [perovskite().renamed(f"{i}") for i in range(7)])
        return right(self, crystals, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Codec, method, changing)
        assert main(words(name, source, out)) == 1
    assert "The input was changed while it was read, so nothing is written" in said(capsys)
    assert not out.exists()
    assert main(words(name, source, out)) == 0
    assert "it is dropped" in " ".join(capsys.readouterr().err.split())


# --- trainings -------------------------------------------------------------------------------------------------------


def setup(preset: str = "fast", precision: str = "float32", epochs: int = 4, **training: object) -> Setup:
    config = PRESETS[preset]
    settings = {"epochs": epochs, "batch": 2, "validate_every": 1, "precision": precision, **training}
    network = config.network
    if preset == "universal":
        network = replace(network, anchors=replace(network.anchors, tokens=16, width=16, heads=2))
    made = replace(config, network=network, training=replace(config.training, **settings))
    return Setup(preset, made, describe(DATA, DATA))


class Killed(BaseException):
    """Ends a training at once."""


def trained(folder: Path, made: Setup, stop: int | None = None) -> Path:
    """A run to its end, or to the report of some epoch; gone on with where it has been stopped."""

    def report(epoch):
        if epoch.epoch == stop:
            raise Killed

    run = Run(folder, made, DATA, DATA, resume=True)
    with suppress(Killed):
        run.train(report)
    return folder


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(one) for key, one in value.items() if key not in NOT_AGAIN}
    return value


def left_by(folder: Path) -> dict:
    """What a training leaves, without times."""
    bits = {name: {k: v.numpy().tobytes() for k, v in load_file(folder / name).items()} for name in (MODEL, CHECKPOINT)}
    log = [timeless(json.loads(line)) for line in (folder / LOG).read_text().splitlines()]
    return {**bits, LOG: log, "card": timeless(json.loads((folder / "model.json").read_text()))}


@pytest.mark.parametrize("preset", ["fast", "universal"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_training_is_the_unbroken_one_bit_for_bit(preset, precision, tmp_path, monkeypatch):
    whole = left_by(trained(tmp_path / "a" / "run", setup(preset, precision)))
    folder = trained(tmp_path / "b" / "run", setup(preset, precision), stop=1)
    # From here on, no checkpoint but those of the best epochs: epochs are lost, and done again.
    monkeypatch.setattr("nesf.runs.SAVE_EVERY_SECONDS", 1e9)
    for stop in (2, 3, 4):
        trained(folder, setup(preset, precision), stop)
    with (folder / LOG).open("a") as file:
        file.write('{"epoch": 5, "tr')
    trained(folder, setup(preset, precision))
    assert left_by(folder) == whole
    assert {path.name for path in folder.iterdir()} == {MODEL, "model.json", CHECKPOINT, LOG, SETUP, ".lock"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    return trained(tmp_path_factory.mktemp("finished") / "run", setup(epochs=2))


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that may be damaged."""
    (tmp_path / "run").mkdir()
    for path in finished.iterdir():
        (tmp_path / "run" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "run"


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "rubbish"])
def test_a_damaged_checkpoint_is_refused_with_the_cure(damage, folder):
    path = folder / CHECKPOINT
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes({"empty": b"", "truncated": content[:-9], "flipped": content, "rubbish": b"{" * 99}[damage])
    with pytest.raises(
        NesfError, match=f"{CHECKPOINT} is not a checkpoint of this training: .*; put a copy of it back"
    ):
        trained(folder, setup(epochs=3))


def test_a_checkpoint_of_another_training_is_refused(folder, tmp_path):
    other = trained(tmp_path / "other", setup(epochs=1, seed=7))
    (folder / CHECKPOINT).write_bytes((other / CHECKPOINT).read_bytes())
    with pytest.raises(NesfError, match="written by a training with another configuration or other data"):
        trained(folder, setup(epochs=3))


def test_a_training_goes_on_longer_and_under_no_other_setting(folder):
    with pytest.raises(NesfError, match=r"its own configuration \(training.batch was 2 and is 3 now\); leave out"):
        trained(folder, setup(epochs=3, batch=3))
    trained(folder, setup(epochs=3))
    assert len((folder / LOG).read_text().splitlines()) == 3


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"preset": 1, "config": {"x": 3}, "data": 2}'])
def test_a_damaged_description_of_a_run_is_refused(content, folder, capsys):
    (folder / SETUP).write_bytes(content)
    assert main(["train", "textbook", "--resume", str(folder)]) == 1
    assert str(folder) in said(capsys)


def test_a_damaged_line_in_the_log_is_said_with_the_cure(folder):
    lines = (folder / LOG).read_bytes().splitlines(keepends=True)
    (folder / LOG).write_bytes(b"\x00\xff\n" + lines[1])
    with pytest.raises(NesfError, match=r"Line 1 of .*log\.jsonl is damaged; delete the file to go on without it"):
        trained(folder, setup(epochs=3))
    (folder / LOG).unlink()
    trained(folder, setup(epochs=3))
    assert [json.loads(line)["epoch"] for line in (folder / LOG).read_text().splitlines()] == [3]


def test_a_model_without_its_checkpoint_is_not_trained_anew(folder):
    before = (folder / MODEL).read_bytes()
    (folder / CHECKPOINT).unlink()
    with pytest.raises(NesfError, match="holds a run already"):
        Run(folder, setup(), DATA, DATA)
    with pytest.raises(NesfError, match="holds a model, but no checkpoint to go on from; choose another --out"):
        trained(folder, setup())
    assert (folder / MODEL).read_bytes() == before


def test_a_baseline_folder_is_whole_or_says_what_is_not(tmp_path):
    (tmp_path / voxel.SETUP).write_bytes(b"\xff")
    with pytest.raises(NesfError, match="holds no baseline that can be resumed"):
        voxel.Setup.read(tmp_path)


# --- studies, and real processes -------------------------------------------------------------------------------------


def test_a_study_that_cannot_be_written_says_so_and_two_write_in_turn(tmp_path):
    outcome = Outcome("title", "summary", {}, tables={"t": Table("t", ["a"], [[1]])})
    record = Record("s", "nesf study s", None, [], [], {})
    with pytest.raises(NesfError, match="/proc/nowhere"):
        record.write(outcome, Path("/proc/nowhere/s"))
    writers = [threading.Thread(target=record.write, args=(outcome, tmp_path / "s"), daemon=True) for _ in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
        assert not one.is_alive()
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"study.json", "t.csv"}
    assert {path.name for path in tmp_path.iterdir()} == {"s"}


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = """
import os, signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from nesf.workers import follow
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), follow)
    print(pool.submit(os.getpid).result(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "parent.py").write_text(code)
    # The pipe ends when nobody can write to it any more: the worker, too, has ended.
    done = subprocess.run([sys.executable, tmp_path / "parent.py"], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0


def test_real_processes_are_killed_and_resumed_to_the_same_end(root, tmp_path):
    chosen = ["--kills", "2", "--epochs", "6", "--crystals", "24", "--only", "train fast float32"]
    command = [sys.executable, str(root / "tests" / "long" / "kill.py"), *chosen, "--out", str(tmp_path / "k.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "k.json").read_text())
    assert [one["case"] for one in found["cases"]] == ["train fast float32"]
    assert all(one["kills"] + one["ended"] for one in found["cases"])
