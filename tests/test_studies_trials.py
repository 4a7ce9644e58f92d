"""Trainings over seeds and folds, and the tables made of them."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nesf.cli import main
from nesf.config import FAST, Config
from nesf.crystal import Crystal
from nesf.data.datasets import Dataset
from nesf.errors import NesfError
from nesf.io import write_table
from nesf.metrics import COLUMNS, Tally, published
from nesf.studies.methods import NesfMethod
from nesf.studies.table1 import table1
from nesf.studies.trials import Trial, over_folds, over_seeds, perform, read_folds, share
from nesf.testing import perovskite, rocksalt

COUNT = 12


def crystals() -> list[Crystal]:
    made = []
    for i in range(COUNT):
        one = rocksalt() if i % 2 else perovskite()
        made.append(replace(one, id=f"mp-{i}"))
    return made


def dataset(name: str = "all", chosen: slice = slice(None)) -> Dataset:
    return Dataset(name, tuple(crystals()[chosen]), (), f"sha of {name}")


def folds(count: int) -> list[dict[str, list[str]]]:
    return read_folds(str(count), dataset(), 0)


@dataclass(frozen=True)
class Copier:
    """A method that learns nothing and gives back what it got, with every atom moved by its trial's seed in Å."""

    name: str = "nesf"
    label: str = "a copier"
    epochs: int = 1

    def train(self, trial, folder, watch):  # noqa: ARG002
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "trained").write_text(
            (folder / "trained").read_text() + "x" if (folder / "trained").exists() else "x"
        )
        return Moved(trial.seed * 0.01), {"epochs": 1, "minutes": 0.5, "hardware": "none", "parameters": 0}


@dataclass(frozen=True)
class Moved:
    by: float

    @property
    def fingerprint(self):
        return str(self.by)

    def reconstruct(self, crystals, /):
        return [replace(one, cart=one.cart + np.array([self.by, 0, 0])) for one in crystals]


def performed(trials: list[Trial], folder: Path) -> list[dict]:
    return [perform(trial, Copier(), folder / trial.name, lambda *_: None) for trial in trials]


def test_every_crystal_is_tested_once_and_never_trained_on_in_its_fold():
    trials = over_folds(dataset(), folds(4), seed=0)
    tested = [crystal.id for trial in trials for crystal in trial.parts["test"].crystals]
    assert sorted(tested) == sorted(crystal.id for crystal in crystals())
    for trial in trials:
        ids = [{crystal.id for crystal in trial.parts[part].crystals} for part in ("train", "val", "test")]
        assert not ids[0] & (ids[1] | ids[2])
        assert not ids[1] & ids[2]
        assert sum(map(len, ids)) == COUNT
        assert trial.domain is not None
        assert trial.domain.vocabulary.unknown([8, 11, 17, 22, 38]) == []
    hashes = {trial.parts["train"].sha256 for trial in trials}
    assert len(hashes) == len(trials)


def test_a_fold_with_a_foreign_id_is_refused():
    with pytest.raises(NesfError, match="mp-77"):
        over_folds(dataset(), [{"val": ["mp-1"], "test": ["mp-77"]}], 0)


FOLD = {"val": ["mp-0"], "test": ["mp-1"]}


@pytest.mark.parametrize("content", ["no json", '{"val": 1}', '[{"val": ["a"]}]', "[]", json.dumps([FOLD])])
def test_an_unreadable_or_incomplete_file_of_folds_is_refused(tmp_path, content):
    (tmp_path / "folds.json").write_text(content)
    with pytest.raises(NesfError, match=r"folds\.json"):
        read_folds(str(tmp_path / "folds.json"), dataset(), 0)


def test_shares_are_disjoint_and_complete():
    trials = over_seeds({"train": dataset()}, 7)
    parts = [share(trials, f"{k}/3") for k in (1, 2, 3)]
    assert sorted(trial.name for part in parts for trial in part) == sorted(trial.name for trial in trials)
    for wrong in ("0/3", "4/3", "x", "1", "1/"):
        with pytest.raises(NesfError, match="--part"):
            share(trials, wrong)


def test_mean_and_deviation_over_seeds_are_those_of_known_errors(tmp_path):
    trials = over_seeds({"train": dataset(), "val": dataset("val")}, 3)
    outcome = table1("lcs6a", performed(trials, tmp_path), pooled=False)
    ours = outcome.values["splits"]["val"]["ours"]["nesf"]
    # The seeds 0, 1 and 2 move atoms by 0, 0.01 and 0.02 Å.
    assert ours["mean"]["position_actual"] == pytest.approx(0.01)
    assert ours["deviation"]["position_actual"] == pytest.approx(0.01)
    assert ours["mean"]["atoms_error_percent"] == 0
    paper = outcome.values["splits"]["val"]["paper"]["nesf"][0]["mean"]
    assert paper == dict(published("lcs6a", "val").mean)
    assert "0.0100 ± 0.0100" in [row[1] for row in outcome.tables["val"].rows]
    assert len(outcome.tables["trials"].rows) == 3 * 2


def test_folds_are_pooled_over_their_crystals(tmp_path):
    trials = over_folds(dataset(), folds(3), seed=0)
    scores = performed(trials, tmp_path)
    outcome = table1("ybco_like", scores, pooled=True)
    pooled = outcome.values["splits"]["test"]["ours"]["nesf"]
    whole = Tally()
    for trial in trials:
        for true, found in zip(
            trial.parts["test"].crystals,
            Moved(trial.seed * 0.01).reconstruct(trial.parts["test"].crystals),
            strict=True,
        ):
            whole.add(true, found)
    expected = whole.score().to_dict()
    assert pooled["n"] == COUNT
    assert pooled["mean"] == {column.key: expected[column.key] for column in COLUMNS}


def test_scores_are_kept_and_made_anew_for_another_model(tmp_path):
    (trial,) = over_seeds({"train": dataset()}, 1)
    first = perform(trial, Copier(), tmp_path, lambda *_: None)
    kept = (tmp_path / "scores.json").stat().st_mtime_ns
    assert perform(trial, Copier(), tmp_path, lambda *_: None) == first
    assert (tmp_path / "scores.json").stat().st_mtime_ns == kept
    other = perform(replace(trial, seed=3), Copier(), tmp_path, lambda *_: None)
    assert other["model"] != first["model"]


def test_scores_of_parts_that_are_not_asked_for_again_are_kept(tmp_path):
    (trial,) = over_seeds({"train": dataset(), "val": dataset("val")}, 1)
    both = perform(trial, Copier(), tmp_path, lambda *_: None)
    one = perform(trial, Copier(), tmp_path, lambda *_: None, ("val",))
    assert set(one["splits"]) == {"val"}
    kept = (tmp_path / "scores.json").stat().st_mtime_ns
    assert perform(trial, Copier(), tmp_path, lambda *_: None) == both
    assert (tmp_path / "scores.json").stat().st_mtime_ns == kept


def test_the_test_table_is_read_both_ways(tmp_path):
    trials = over_seeds({"train": dataset(), "test": dataset("test")}, 1)
    outcome = table1("lcs6a", performed(trials, tmp_path), pooled=False)
    table = outcome.tables["test"]
    rows = {row[0]: row for row in table.rows}
    printed, exchanged = table.heads.index("paper, NeSF"), table.heads.index("paper, NeSF, exchanged")
    actual, detected = rows["Position error (actual) [Å]"], rows["Position error (detected) [Å]"]
    assert (actual[printed], detected[printed]) == (detected[exchanged], actual[exchanged])
    assert actual[printed] != actual[exchanged]


def small_config() -> Config:
    return replace(FAST, training=replace(FAST.training, epochs=2, validate_every=1))


def test_a_run_of_another_configuration_is_not_overwritten(tmp_path):
    (trial,) = over_seeds({"train": dataset(), "val": dataset("val")}, 1)
    config = small_config()
    NesfMethod("fast", config).train(trial, tmp_path, lambda *_: None)
    with pytest.raises(NesfError, match="another configuration"):
        NesfMethod("fast", replace(config, training=replace(config.training, epochs=3))).train(
            trial, tmp_path, lambda *_: None
        )


def test_the_command_trains_in_two_processes_goes_on_and_writes_its_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "all.parquet", crystals())
    (tmp_path / "folds.json").write_text(json.dumps(folds(3)))
    command = ["study", "table1", "ybco-like", "all.parquet", "--folds", "folds.json", "--out", "studies"]
    command += ["--training.epochs", "1", "--training.batch", "4"]
    assert main([*command, "--processes", "2"]) == 0
    folder = tmp_path / "studies" / "table1-ybco-like"
    record = json.loads((folder / "study.json").read_text())
    assert record["provenance"]["command"].startswith("nesf study table1 ybco-like all.parquet")
    assert record["values"]["splits"]["test"]["ours"]["nesf"]["n"] == COUNT
    assert (folder / "test.csv").is_file()
    assert (folder / "ratios.png").is_file()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("scores.json")}
    assert len(before) == 3
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("scores.json")} == before
    assert "test (Table 1)" in capsys.readouterr().out


def test_both_methods_stand_beside_the_paper_and_only_what_is_asked_for_is_scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "train.parquet", crystals()[:6])
    write_table(tmp_path / "val.parquet", crystals()[6:])
    small = [
        "--training.epochs",
        "1",
        "--training.batch",
        "3",
        "--voxel.network.width",
        "0.125",
        "--voxel.grid.size",
        "16",
    ]
    small += [
        "--voxel.unet.epochs",
        "1",
        "--voxel.unet.batch",
        "3",
        "--voxel.vae.epochs",
        "1",
        "--voxel.vae.batch",
        "3",
    ]
    command = ["study", "table1", "lcs6a", "train.parquet", "--val", "val.parquet", "--seeds", "1", "--out", "studies"]
    assert main([*command, "--method", "both", "--score", "val", *small]) == 0
    record = json.loads((tmp_path / "studies" / "table1-lcs6a" / "study.json").read_text())
    assert set(record["values"]["splits"]) == {"val"}
    assert set(record["values"]["splits"]["val"]["ours"]) == {"nesf", "icsg3d"}
    heads = (tmp_path / "studies" / "table1-lcs6a" / "val.csv").read_text().splitlines()[0]
    assert heads == ',"nesf (fast, changed)","paper, NeSF","voxels (faithful, U-Net width 0.125)","paper, ICSG3D"'
    assert record["provenance"]["settings"]["icsg3d"]["settings"]["network"]["width"] == 0.125
    # The tables once more: nothing is trained, scored or stamped again.
    runs = tmp_path / "studies" / "table1-lcs6a" / "runs"
    kept = {path: path.read_bytes() for path in runs.rglob("*.json")}
    assert main([*command, "--method", "both", "--score", "val", *small]) == 0
    assert {path: path.read_bytes() for path in runs.rglob("*.json")} == kept
