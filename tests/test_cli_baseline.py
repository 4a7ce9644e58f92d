"""The commands of the voxel baseline, from a table to a score, as a user types them."""

import json

import pytest

from nesf.cli import COMMANDS, main
from nesf.io.table import write_table
from nesf.testing import caesium_chloride, perovskite, rocksalt

SMALL = """--grid.size 16 --width 0.125 --vae-width 0.125 --latent 8 --unet.epochs 2 --unet.batch 2 --unet.crop 8
    --vae.epochs 1 --vae.batch 2 --loss.perceptual-after 0""".split()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "lcs6a_val.parquet"
    write_table(path, [rocksalt(), caesium_chloride(), perovskite()])
    return str(path)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("runs") / "voxel")
    assert main(["baseline", "train", table, "--val", table, "--out", folder, *SMALL]) == 0
    return folder


def test_the_commands_are_listed():
    assert {"baseline train", "baseline evaluate", "baseline oracle"} <= set(COMMANDS)


def test_a_trained_baseline_is_evaluated_beside_the_paper_with_its_budget(table, run, tmp_path, capsys):
    assert main(["baseline", "evaluate", run, table, "--json", str(tmp_path / "scores.json")]) == 0
    values = json.loads((tmp_path / "scores.json").read_text())
    assert values["n"] == 3
    assert values["n"] == values["failures"] + values["without_failures"]["n"]
    assert values["preset"] == "faithful"
    assert values["bottleneck"] == 4  # four channels of one voxel; 32 numbers on 32 voxels
    assert values["training"]["epochs"] == {"unet": 2, "vae": 1}
    assert values["trained_on"]["train"]["crystals"] == 3
    shown = capsys.readouterr().out
    assert "ICSG3D (val)" in shown
    assert "14.83" in shown
    assert "reduced capacity" in shown
    assert "epochs unet 2, vae 1 over 3 crystals" in " ".join(shown.split())


def test_sampling_is_an_option_of_its_own(table, run, capsys):
    for words in ([], ["--sampled"], ["--sampled", "--seed", "0"]):
        assert main(["baseline", "evaluate", run, table, "--json", "-", *words]) == 0
    out = capsys.readouterr().out
    decoder, found = json.JSONDecoder(), []
    while out.strip():
        values, end = decoder.raw_decode(out.lstrip())
        found.append(values)
        out = out.lstrip()[end:]
    assert [values["sampled"] for values in found] == [False, True, True]
    assert found[1] == found[2]


def test_the_ceiling_of_simple_crystals_is_perfect(table, tmp_path, capsys):
    words = ["--label-fraction", "0.5", "--label-voxels", "1.5", "--true-angles", "--json", str(tmp_path / "o.json")]
    assert main(["baseline", "oracle", table, *words]) == 0
    values = json.loads((tmp_path / "o.json").read_text())
    assert values["atoms_error_percent"] == 0
    assert values["species_actual_percent"] == 0
    assert values["position_actual"] < 0.1
    assert "ICSG3D (val)" in capsys.readouterr().out


def test_a_run_is_not_overwritten_and_goes_on_only_with_its_data(table, run, tmp_path, capsys):
    assert main(["baseline", "train", table, "--out", run, *SMALL]) == 1
    assert "--resume" in capsys.readouterr().err
    assert main(["baseline", "train", table, "--val", table, "--resume", run]) == 0
    other = tmp_path / "other.parquet"
    write_table(other, [rocksalt(), perovskite()])
    assert main(["baseline", "train", str(other), "--resume", run]) == 1
    assert "other data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["baseline", "evaluate", "nowhere", "textbook"], "nowhere holds no trained baseline"),
        (["baseline", "oracle", "nowhere.parquet"], "nowhere.parquet is neither"),
        (["baseline", "oracle", "textbook", "--size", "20"], "20 voxels"),
    ],
)
def test_wrong_input_ends_with_one_sentence(words, part, capsys):
    assert main(words) == 1
    err = capsys.readouterr().err
    assert part in err
    assert len(err.strip().splitlines()) == 1
