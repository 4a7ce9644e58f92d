"""The staged search: the paper's grids and criterion; each trial once, by whatever processes, after whatever end."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nesf.cli import main
from nesf.codec import Codec
from nesf.config import FAST, PAPER, PRESETS, Config
from nesf.crystal import Failure
from nesf.data.datasets import Dataset
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.io import write_table
from nesf.lock import FileLock
from nesf.model import NetworkSettings
from nesf.runs import Run
from nesf.studies import search as searching
from nesf.studies.search import Search, choose, walk
from nesf.studies.search_outcome import outcome, train_command
from nesf.studies.search_stages import PUBLISHED, STAGES, START, Stage, changed
from nesf.studies.search_storage import Result, Storage
from nesf.studies.search_workers import LAST_SECONDS, _walk, perform
from nesf.testing import caesium_chloride, perovskite, rocksalt
from nesf.training import Trainer

SMALL = NetworkSettings(
    latent=8,
    atom_position=(8,),
    atom_species=(8,),
    atom_mix=8,
    bottleneck=(8,),
    lattice_head=(8,),
    position_field=(8, 8),
    species_field=(8, 8),
    dropout=0.0,
)
TWO = (
    Stage("latent", "Size", {"network.latent": (4, 6)}),
    Stage("rate", "Rate", {"training.learning_rate": (1e-3, 1e-2)}),
)


def data(*crystals):
    return Dataset("made up", tuple(crystals), (), "0" * 64)


@pytest.fixture
def tiny(tmp_path) -> Search:
    """Two stages of two points, each trained in a moment."""
    training = replace(FAST.training, epochs=2, batch=2, precision="float32")
    config = replace(FAST, network=SMALL, training=training)
    crystals = data(rocksalt(), caesium_chloride(), perovskite())
    return Search(crystals, crystals, "fast", config, TWO, tmp_path / "trials.journal")


def scores(monkeypatch, score):
    """Puts a function of the configuration in the place of a training; the list of what was trained."""
    trained: list[Config] = []

    def measure(_search, config, point, _folder):
        trained.append(config)
        return Result(point, *score(config), 0.1)

    monkeypatch.setattr(searching, "measure", measure)
    return trained


def told(_text: str) -> None:
    """For workers, which cannot be given what is not in a module."""


def result(atoms, position):
    return Result({"x": 1}, atoms, position, 0.0)


def test_the_grids_are_the_papers():
    counts = {stage.name: len(stage.points()) for stage in STAGES}
    assert counts == {
        "loss": 9, "latent": 8, "rate": 8, "decoder": 25, "encoder": 9, "crystal": 10, "batch": 8, "joint": 81,
    }  # fmt: skip
    decoder = STAGES[3].points()
    assert decoder[0]["network.position_field"] == (256, *[128] * 7)
    assert decoder[-1] == {"network.position_field": (256, 128), "network.species_field": (256, 128)}
    # The paper's own choice can be found, setting by setting, and what it starts from can be built.
    for stage in STAGES:
        assert stage.point_of(PAPER) in stage.points()
    assert {path for stage in STAGES for path in stage.grid} == set(START) - {"loss.length", "loss.angle"}
    assert changed(changed(PAPER, START), PUBLISHED) == PAPER


def test_the_criterion_is_the_count_of_atoms_and_then_the_position():
    few, near, far, nothing = result(5.0, 0.9), result(6.0, 0.1), result(6.0, 0.2), result(6.0, None)
    assert choose([nothing, far, near, few]) is few
    assert choose([nothing, far, near]) is near
    assert choose([nothing, far]) is far
    # A failed trial is worse than a model that finds no crystal.
    worst = result(100.0, None)
    assert choose([replace(worst, failed=True), worst]) is worst
    # What was chosen before stays unless something is better; of equals the first is taken.
    before = result(6.0, 0.2)
    assert choose([far, nothing], before) is before
    assert choose([near], before) is near
    assert choose([far, result(6.0, 0.2)]) is far


def test_a_stage_goes_on_from_the_best_of_the_one_before(tiny, monkeypatch):
    trained = scores(monkeypatch, lambda c: (abs(c.network.latent - 6.0), 1e3 * abs(c.training.learning_rate - 1e-2)))
    first, second = walk(tiny, told)
    assert {config.network.latent for config in trained[:2]} == {4, 6}
    assert all(config.network.latent == 6 for config in trained[2:])
    assert [one.chosen.point for one in (first, second)] == [{"network.latent": 6}, {"training.learning_rate": 1e-2}]
    assert second.after == changed(tiny.start, {"network.latent": 6, "training.learning_rate": 1e-2})
    # All is kept: the same search again trains nothing, one with other data everything.
    count = len(trained)
    assert walk(tiny, told) == [first, second]
    assert len(trained) == count
    walk(replace(tiny, val=replace(tiny.val, sha256="1" * 64)), told)
    assert len(trained) == 2 * count


def test_what_was_trained_in_the_stage_before_is_not_trained_again(tiny, monkeypatch):
    start = changed(tiny.start, {"training.learning_rate": 1e-3})
    trained = scores(monkeypatch, lambda config: (float(config.network.latent), 1.0))
    _, second = walk(replace(tiny, start=start), told)
    assert len(trained) == 3
    assert [one.note for one in second.results] == ["as in the stage before", ""]
    assert second.after == changed(start, {"network.latent": 4})


def test_a_cap_of_points_is_kept_and_can_be_raised(tiny, monkeypatch):
    trained = scores(monkeypatch, lambda _: (1.0, 1.0))
    many = Stage("latent", "Size", {"network.latent": (3, 4, 5, 6), "training.batch": (2, 3)})
    (one,) = walk(replace(tiny, stages=(many,), most=3), told)
    assert len(one.results) == len(trained) == 3
    (one,) = walk(replace(tiny, stages=(many,)), told)
    assert [each.point for each in one.results] == many.points()
    assert len({(config.network.latent, config.training.batch) for config in trained}) == len(trained) == 8


def test_a_diverged_trial_is_the_worst_and_says_why(tiny):
    stages = (TWO[0], Stage("rate", "Rate", {"training.learning_rate": (1e-3, 1e30)}))
    search = replace(tiny, stages=stages, start=changed(tiny.start, {"training.learning_rate": 1e-3}))
    first, second = walk(search, told)
    assert [one.note for one in first.results] == ["", ""]
    diverged = second.results[1]
    assert (diverged.atoms, diverged.position, diverged.failed) == (100.0, None, True)
    assert "diverged" in diverged.note
    assert second.after.training.learning_rate == 1e-3
    remarks = [row[-1] for row in outcome(tiny, [first, second], ("a", "b")).tables["stage-rate"].rows]
    assert "chosen" not in remarks[0]
    assert "diverged" in remarks[1]


def test_where_no_trial_gives_a_crystal_nothing_is_chosen(tiny, monkeypatch):
    trained = scores(monkeypatch, lambda _: (100.0, None))
    finished = walk(tiny, told)
    assert [one.chosen for one in finished] == [None, None]
    assert finished[-1].after == tiny.start
    # The second stage goes on from the start, not from the first point of the first stage.
    assert {config.network.latent for config in trained[2:]} == {tiny.start.network.latent}
    found = outcome(tiny, finished, ("a", "b"))
    assert "No trial gave a crystal; train longer (--epochs) or on more crystals." in found.summary
    assert "nesf train" not in found.summary
    assert found.values["command"] is None
    assert all("chosen" not in (row[-1] or "") for row in found.tables["stage-rate"].rows)
    assert {row[0]: row[3] for row in found.tables["choices"].rows}["network.latent"] is None


def test_a_choice_among_ties_is_said(tiny, monkeypatch):
    scores(monkeypatch, lambda config: (5.0, 0.1 if config.training.learning_rate == 1e-3 else 0.2))
    first, second = walk(replace(tiny, start=changed(tiny.start, {"training.learning_rate": 1e-3})), told)
    assert (first.ties, second.ties) == (1, 0)
    found = outcome(tiny, [first, second], ("a", "b"))
    assert "Chosen among ties: another point did exactly as well" in found.tables["stage-latent"].note
    assert "In latent other points did exactly as well" in found.summary
    assert "ties" not in found.tables["stage-rate"].note


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("CUDA out of\nmemory"), r"network.latent = \d failed \(CUDA out of memory\); it is not recorded"),
        (MemoryError(), "not enough memory to train with batches"),
        (NesfError("The disk is full."), "The disk is full"),
    ],
)
def test_what_fails_for_the_sake_of_the_machine_is_not_recorded_and_goes_on(tiny, monkeypatch, error, sentence):
    epochs, run_all = [], Trainer.run

    def failing(trainer):
        for report in run_all(trainer):
            epochs.append(report.epoch)
            yield report
            if error is not None:
                raise error

    monkeypatch.setattr(Trainer, "run", failing)
    monkeypatch.setattr("nesf.runs.SAVE_EVERY_SECONDS", 0.0)
    search = replace(tiny, stages=TWO[:1])
    with pytest.raises(NesfError, match=sentence):
        walk(search, told)
    assert len(list(tiny.storage.parent.glob("*.work/run-*/checkpoint.safetensors"))) == 1
    error = None
    (stage,) = walk(search, told)
    # The first trial goes on with its second epoch, and both are scored.
    assert epochs == [1, 2, 1, 2]
    assert not any(one.failed for one in stage.results)


def test_the_elements_of_the_whole_set_are_known_to_models_of_its_first_crystals(tiny):
    few = replace(tiny, train=data(rocksalt(), caesium_chloride()), stages=TWO[:1], most=1)
    whole = replace(few, domain=Domain.of(tiny.train.crystals))
    assert (few.refused(), whole.refused()) == (1, 0)
    (without,), (knowing,) = walk(few, told), walk(whole, told)
    summaries = [outcome(*one, ("a", "b")).summary for one in ((few, [without]), (whole, [knowing]))]
    assert ["of which 1 lie beyond" in text for text in summaries] == [True, False]
    # They are other trials than those of models that know less.
    assert len({json.dumps(line) for line in studies_in(tiny.storage)}) == 2


def studies_in(storage):
    """The studies that a journal tells of."""
    lines = [json.loads(line) for line in storage.read_text().splitlines()]
    return {line["study_name"] for line in lines if line["op_code"] == 0}


def test_a_worker_that_cannot_go_on_says_one_sentence_and_ends(tiny, monkeypatch):
    said = []

    def fail(*_):
        raise NesfError("The disk is full.")

    monkeypatch.setattr("nesf.studies.search_workers.walk", fail)
    with pytest.raises(SystemExit) as end:
        _walk(tiny, said.append)
    assert end.value.code == 1
    assert said == ["A worker ended: The disk is full."]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"workers": 0}, "--workers is 0; give at least 1."),
        ({"most": 0}, "--points is 0; give at least 1."),
        ({"seed": -1}, "The seed is -1; give a whole number from 0 to 4294967295."),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(tiny, wrong, sentence):
    start = changed(tiny.start, {"training.seed": wrong.get("seed", 0)})
    with pytest.raises(NesfError) as error:
        perform(replace(tiny, start=start, most=wrong.get("most")), told, wrong.get("workers", 1))
    assert str(error.value) == sentence


def test_a_hopeless_model_is_not_scored_to_the_end(monkeypatch):
    monkeypatch.setattr(searching, "HOPELESS", 2)
    asked = []

    class Half(Codec):
        def __init__(self):
            pass

        def reconstruct(self, crystals):
            asked.extend(one.id for one in crystals)
            return [one if one.id == "CsCl" else Failure(one.id, "no") for one in crystals]

    hopeful, hopeless = ([rocksalt(), caesium_chloride(), perovskite()], [rocksalt(), perovskite(), caesium_chloride()])
    assert searching._score(Half(), hopeful).atoms_error_percent == pytest.approx(200 / 3)
    assert len(asked) == 3
    assert (searching._score(Half(), hopeless).n, len(asked)) == (2, 5)


INTERRUPTED = """
import sys, time
from pathlib import Path
from nesf.data.datasets import Dataset
from nesf.studies import search as searching
from nesf.studies.search_stages import changed
sys.path.insert(0, {tests!r})
from test_studies_search import SMALL, TWO, FAST, Search, data, replace, result, told, Result
from nesf.studies.search_workers import perform
from nesf.testing import rocksalt
def measure(search, config, point, folder):
    if searching.done:
        (search.storage.parent / "waiting").touch()
        time.sleep(60)
    searching.done = True
    return Result(point, 1.0, 1.0, 0.1)
searching.done, searching.measure = False, measure
crystals = data(rocksalt())
config = replace(FAST, network=SMALL)
searching.walk(Search(crystals, crystals, "fast", config, TWO, Path({storage!r})), told)
"""


def test_after_a_kill_only_what_is_missing_is_trained(tmp_path, monkeypatch):
    storage = tmp_path / "trials.journal"
    code = INTERRUPTED.format(tests=str(Path(__file__).parent), storage=str(storage))
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        until = time.monotonic() + 300
        while not (tmp_path / "waiting").exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    # A line that was being written when the power went away.
    with storage.open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    crystals = data(rocksalt())
    trained = scores(monkeypatch, lambda _: (2.0, 1.0))
    search = Search(crystals, crystals, "fast", replace(FAST, network=SMALL), TWO, storage)
    first, second = walk(search, told)
    # Of four trials one was done and one was interrupted; the done one is the best, with its own score.
    assert len(trained) == 3
    assert sorted(one.atoms for one in first.results) == [1.0, 2.0]
    assert {one.point["network.latent"] for one in first.results} == {4, 6}
    assert len(second.results) == 2


def test_an_interrupted_training_goes_on(tiny, monkeypatch):
    epochs = []
    train = Run.train

    def interrupted(run, report):
        def watch(epoch):
            report(epoch)
            epochs.append(epoch.epoch)
            if len(epochs) == 1:
                raise KeyboardInterrupt

        return train(run, watch)

    monkeypatch.setattr(Run, "train", interrupted)
    monkeypatch.setattr("nesf.runs.SAVE_EVERY_SECONDS", 0.0)
    search = replace(tiny, stages=TWO[:1], most=1)
    with pytest.raises(KeyboardInterrupt):
        walk(search, told)
    walk(search, told)
    assert epochs == [1, 2]
    assert not list(tiny.storage.parent.glob("*.work/run-*"))


def test_workers_share_the_trials(tiny):
    finished = perform(replace(tiny, start=changed(tiny.start, {"training.learning_rate": 0.1})), told, workers=2)
    assert [len(one.results) for one in finished] == [2, 2]
    lines = [json.loads(line) for line in tiny.storage.read_text().splitlines()]
    # Operation 4 makes a trial, and operation 6 ends it.
    assert sum(line["op_code"] == 4 for line in lines) == 4
    assert sum(line["op_code"] == 6 for line in lines) == 4


def test_a_worker_that_does_not_end_is_not_waited_for_for_ever(tiny, monkeypatch):
    done: list[object] = []

    class Stuck:
        exitcode = None

        def __init__(self, **given):
            assert given["daemon"]

        def start(self):
            done.append("started")

        def join(self, timeout=None):
            done.append(timeout)

        def terminate(self):
            done.append("ended")

    monkeypatch.setattr("multiprocessing.context.SpawnContext.Process", Stuck)
    scores(monkeypatch, lambda _: (1.0, 1.0))
    finished = perform(tiny, told, workers=2)
    assert [len(one.results) for one in finished] == [2, 2]
    assert done == ["started", LAST_SECONDS, "ended"]


def test_two_at_a_time_get_different_trials_and_wait_for_the_last(tiny):
    one, other = (Storage(tiny.storage).trials("a", TWO[0], None, 0) for _ in range(2))
    first, second = one.claim(), other.claim()
    assert first is not None
    assert second is not None
    assert first.point != second.point
    assert one.claim() is None
    assert other.claim() is None
    one.tell(first, Result(first.point, 1.0, None, 0.0))
    first.lock.release()
    assert not other.complete
    # The owner ends without a result: its trial is free again, under the same number.
    second.lock.release()
    again = one.claim()
    assert again is not None
    assert (again.number, again.point) == (second.number, second.point)
    one.tell(again, Result(again.point, 2.0, 0.5, 0.0))
    again.lock.release()
    assert other.complete
    assert [(each.atoms, each.position) for each in sorted(other.results(), key=lambda r: r.atoms)] == [
        (1.0, None),
        (2.0, 0.5),
    ]


def test_a_trial_that_ends_while_it_is_looked_at_is_not_done_again(tiny, monkeypatch):
    one, other = (Storage(tiny.storage).trials("a", TWO[0], 1, 0) for _ in range(2))
    claim = one.claim()
    assert claim is not None
    take = FileLock.acquire

    def late(lock, wait=True):
        if not wait and not other.complete:
            one.tell(claim, Result(claim.point, 1.0, None, 0.0))
            claim.lock.release()
        return take(lock, wait)

    monkeypatch.setattr(FileLock, "acquire", late)
    assert other.claim() is None
    assert other.complete
    again = FileLock(claim.lock.path)
    assert again.acquire(wait=False), "nobody holds it"
    again.release()


def test_a_lock_ends_with_its_holder(tmp_path):
    one, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with one:
        assert not other.acquire(wait=False)
    assert other.acquire(wait=False)
    other.release()


def test_another_file_is_not_taken_for_a_storage(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes\nmore\n")
    with pytest.raises(NesfError, match=r"notes.txt is no file of trials"):
        Storage(path)
    assert path.read_text() == "my notes\nmore\n"


def test_without_optuna_one_sentence_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setattr("nesf.extras.find_spec", lambda _: None)
    with pytest.raises(NesfError, match=r'pip install -c constraints.txt "\.\[studies\]"'):
        perform(tiny, told)


def test_the_command_trains_what_was_chosen(monkeypatch):
    chosen = changed(PRESETS["fast"], {**START, "network.bottleneck": (512, 512, 256), "training.epochs": 3})
    trained = {}
    monkeypatch.setattr("nesf.cli.train._train", lambda *given: trained.update(preset=given[3], config=given[4]))
    words = train_command("fast", chosen, ("a b.parquet", "v.parquet"))
    assert main(["train", "a b.parquet", *words.split("'a b.parquet' ")[1].split()]) == 0
    assert trained == {"preset": "fast", "config": replace(chosen, training=replace(chosen.training, epochs=225))}


def test_the_command_line_writes_the_folder(tmp_path, monkeypatch, capsys):
    scores(monkeypatch, lambda config: (100.0 - config.network.latent / 100, 0.5 + config.training.batch / 1e3))
    crystals = [replace(rocksalt(), id=f"NaCl-{i}") for i in range(4)] + [caesium_chloride()]
    table = tmp_path / "salt.parquet"
    write_table(table, crystals)
    words = ["study", "search", str(table), str(table), "--stages", "latent", "batch", "--epochs", "2"]
    assert main([*words, "--crystals", "4", "--points", "5", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "search" / "study.json").read_text())
    assert "2 epochs" in record["summary"]
    assert "of 4 crystals" in record["summary"]
    # The fifth has other elements, which the models are told of.
    assert record["values"]["refused"] == 0
    assert "10 of 16 points in 2 stages" in record["summary"]
    assert (
        record["values"]["configuration"]["network"]["latent"]
        == record["values"]["stages"][0]["chosen"]["network.latent"]
    )
    assert record["provenance"]["data"][0]["crystals"] == 4
    assert record["provenance"]["settings"]["points"] == 5
    assert "5 of 8 points, drawn at random." in record["tables"]["stage-latent"]["note"]
    for name in ("choices.csv", "stage-latent.csv", "stage-batch.csv", "stage-latent.png", "trials.journal"):
        assert (tmp_path / "search" / name).is_file()
    assert "--preset fast --network.latent" in " ".join(capsys.readouterr().out.split())
