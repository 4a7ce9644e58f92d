"""The command line, used as its users use it: one small training through it serves all other commands."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nesf.cli import COMMANDS, main
from nesf.crystal import Crystal
from nesf.data import load_dataset
from nesf.io import read, read_latents, write_cif, write_table
from nesf.testing import hexagonal, perovskite, rocksalt

SMALL = ["--training.epochs", "2", "--training.batch", "32", "--training.validate-every", "1"]


# A tiny model may find no crystal at all, which is status 1.
ANY_FOUND = (0, 1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs on the embedded crystals."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "textbook", "--val", "textbook", "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture
def cifs(tmp_path: Path) -> Path:
    """A folder with the CIFs of two crystals."""
    folder = tmp_path / "cifs"
    for crystal in (rocksalt(), perovskite()):
        write_cif(crystal, folder / f"{crystal.id}.cif")
    return folder


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What a failing command said: one line on the standard error."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_help_names_every_command_and_is_instant() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "nesf", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert not any(f"| {heavy}\n" in done.stderr for heavy in ("torch", "pymatgen", "ase", "matplotlib", "tyro"))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*name.split(), "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"nesf {name}" in shown
    assert "INPUT" in shown or "MODEL" in shown or "OUT" in shown.upper()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_usage_says_what_its_arguments_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*name.split(), "--help"])
    shown = capsys.readouterr().out
    usage, _, described = shown.partition("\n\n")
    arguments = described.partition("─ positional arguments ─")[2].partition("╰")[0]
    assert "STR" not in usage
    assert not [line for line in arguments.splitlines() if line.startswith(("│ STR", "│ PATH"))]


def test_an_input_that_cannot_be_read_does_not_silence_what_follows(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def deny(_: object) -> None:
        raise PermissionError(13, "Permission denied", "/some/input")

    with monkeypatch.context() as patched:
        patched.setattr("nesf.cli._function", lambda _: deny)
        assert main(["demo"]) == 1
    assert "/some/input: Permission denied" in capfd.readouterr().err
    assert main(["data", "info", "textbook"]) == 0
    assert "120 crystals" in capfd.readouterr().out


def test_unknown_command_is_refused_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recontruct"]) == 2
    assert "recontruct" in sentence(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "lcs6a", "textbook", "--tolerance", "0.1"], "--tolerance is of the space groups that --match"),
        (["evaluate", "lcs6a", "textbook", "--match", "--processes", "0"], "--processes is 0; give at least 1."),
        (
            ["data", "build", "lcs6a", "--from", "x.parquet", "--out", "x", "--processes", "-1"],
            "--processes is -1; give at least 1.",
        ),
        (["study", "table1", "lcs6a", "x.parquet", "--processes", "0"], "--processes is 0; give at least 1."),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    assert said in sentence(capsys)


def test_import_then_info(cifs: Path, tmp_path: Path, trained: Path) -> None:
    (cifs / "broken.cif").write_text("data_broken\n_cell_length_a oops\n", encoding="utf-8")
    table, said, figures = tmp_path / "t.parquet", tmp_path / "import.json", tmp_path / "info.json"
    assert (
        main(["data", "import", str(cifs), "--out", str(table), "--json", str(said)]) == 3
    )  # a file could not be read
    assert [crystal.id for crystal in read([table])] == ["NaCl", "SrTiO3"]
    left_out = json.loads(said.read_text(encoding="utf-8"))["left_out"]
    assert len(left_out) == 1
    assert "broken.cif" in left_out[0]["id"] + left_out[0]["reason"]
    assert main(["data", "info", str(table), "--model", str(trained), "--json", str(figures)]) == 0
    values = json.loads(figures.read_text(encoding="utf-8"))
    assert values["crystals"] == 2
    assert values["atoms_per_cell"] == {"min": 5, "mean": 6.5, "max": 8}
    assert values["elements"] == {"Na": 1, "Cl": 1, "O": 1, "Ti": 1, "Sr": 1}


def test_import_converts_on_request_and_says_so(tmp_path: Path) -> None:
    primitive = Crystal.from_frac("Cu", [29], [[0, 0, 0]], [[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]])
    write_cif(primitive, tmp_path / "Cu.cif", symmetrize=False)
    table = tmp_path / "t.parquet"
    assert main(["data", "import", str(tmp_path / "Cu.cif"), "--out", str(table), "--cell", "conventional"]) == 0
    (copper,) = read([table])
    assert isinstance(copper, Crystal)
    assert len(copper) == 4
    assert "conventional" in copper.properties["cell_conversion"]


def write_rows(path: Path, *rows: tuple[str, str | None]) -> str:
    """A table of one crystal under several ids, each with its column ``in_test_of``; its path."""
    crystals = [replace(rocksalt(), id=name, properties={"in_test_of": tests, "of": path.stem}) for name, tests in rows]
    write_table(path, crystals)
    return str(path)


def test_import_pools_tables_without_the_ids_of_others_and_without_test_sets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_rows(tmp_path / "one.parquet", ("a", ""), ("b", "set2, set1"), ("c", None), ("d", "set10"))
    two = write_rows(tmp_path / "two.parquet", ("a", None), ("c", "set1"), ("v", "set2"), ("a-2", "set3"), ("w", ""))
    val = write_rows(tmp_path / "val.parquet", ("v", ""), ("a-2", ""), ("z", ""))
    write_cif(replace(rocksalt(), id="w"), tmp_path / "more" / "w.cif")
    out, said = tmp_path / "pool.parquet", tmp_path / "said.json"
    lists = ["--without", val, str(tmp_path / "more"), "--held-out", "set1", "set2"]
    assert main(["data", "import", one, two, *lists, "--out", str(out), "--json", str(said)]) == 0
    kept = [crystal for crystal in read([out]) if isinstance(crystal, Crystal)]
    assert [(c.id, c.properties["of"]) for c in kept] == [("a", "one"), ("c", "one"), ("d", "one"), ("a-2", "two")]
    assert [c.properties.get("in_test_of") for c in kept] == ["", None, "set10", None]
    values = json.loads(said.read_text(encoding="utf-8"))
    assert [row["id"] for row in values["left_out"]] == ["b", "c", "v", "a-2", "w"]
    assert list(values["withheld"].values()) == [2, 1, 2, 0]
    shown = capsys.readouterr().err.split()
    assert " ".join(shown).count("left out") == 5  # a line for each reason, and the sum
    assert "could" not in shown


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--held-out", "set1", "st2"], "'st2'"),
        (["--held-out", "set1,set2"], "'set1,set2'"),
        (["--held-out", ""], "''"),
        (["--held-out"], "--held-out has no value"),
        (["--without"], "--without has no value"),
        (["--without", "a.parquet", "--without", "none.parquet"], "none.parquet"),
        (["--without", "broken.parquet"], "broken.parquet"),
        (["--without", "a.parquet"], "all 2 crystals"),
        (["--without", "out.parquet"], "would be replaced"),
    ],
)
def test_an_import_that_might_withhold_too_little_is_refused(
    options: list[str],
    named: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(Path("a.parquet"), ("a", "set1"), ("b", "set2"))
    Path("broken.parquet").write_text("no table", encoding="utf-8")
    before = write_rows(Path("out.parquet"), ("v", None))
    content = Path(before).read_bytes()
    assert main(["data", "import", "a.parquet", *options, "--out", "out.parquet"]) == 1
    assert named in sentence(capsys)
    assert Path(before).read_bytes() == content


def test_a_test_set_is_not_known_where_no_source_has_the_column(
    cifs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "import", str(cifs), "--held-out", "set1", "--out", str(tmp_path / "t.parquet")]) == 1
    assert "'set1'" in sentence(capsys)


def test_pooled_real_tables_share_nothing_with_what_they_are_tested_on(shared_data: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    paths = {name: shared_data / f"{name}.parquet" for name in ("lcs6a_val", "icsg3d_val", "ybco_like")}
    out, (first, second, without) = tmp_path / "pool.parquet", map(str, paths.values())
    command = ["data", "import", first, second, "--without", without, "--held-out", "mp20", "icsg3d"]
    assert main([*command, "--out", str(out)]) == 0
    rows = {name: pq.read_table(path, columns=["material_id", "in_test_of"]) for name, path in paths.items()}
    forbidden = set(rows["ybco_like"]["material_id"].to_pylist())
    expected = [
        name
        for table in ("lcs6a_val", "icsg3d_val")
        for name, tests in zip(*rows[table].to_pydict().values(), strict=True)
        if name not in forbidden and not {"mp20", "icsg3d"} & set((tests or "").split(","))
    ]
    kept = [crystal.id for crystal in read([out])]
    assert len(kept) == len(expected) < sum(len(rows[name]) for name in ("lcs6a_val", "icsg3d_val"))
    assert set(kept) >= set(expected)
    assert len(set(kept)) == len(kept)


def test_encode_then_decode_keeps_ids_and_order(cifs: Path, trained: Path, tmp_path: Path) -> None:
    z, out, said = tmp_path / "z.parquet", tmp_path / "found", tmp_path / "decode.json"
    assert main(["encode", str(trained), str(cifs), "--out", str(z)]) == 0
    latents = read_latents(z)
    assert latents.ids == ("NaCl", "SrTiO3")
    assert latents.z.shape == (2, 192)
    assert main(["decode", str(trained), str(z), "--out", str(out), "--json", str(said)]) in ANY_FOUND
    values = json.loads(said.read_text(encoding="utf-8"))
    assert [one["id"] for one in values["decoded"] + values["failures"]] == ["NaCl", "SrTiO3"]


def test_one_crystal_is_said_in_the_singular(cifs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cifs / "NaCl.cif").write_text("data_x\n", encoding="utf-8")
    assert main(["data", "import", str(cifs), "--out", str(tmp_path / "t.parquet")]) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "1 entry could not be read:" in said
    assert "1 crystal written to" in said
    assert "1 entry left out." in said


def test_an_embedded_data_set_is_encoded_and_reconstructed_by_name(cifs: Path, trained: Path, tmp_path: Path) -> None:
    z, out, said = tmp_path / "z.parquet", tmp_path / "found.parquet", tmp_path / "said.json"
    assert main(["encode", str(trained), str(cifs), "textbook", "--out", str(z), "--json", str(said)]) == 0
    values = json.loads(said.read_text(encoding="utf-8"))
    ids = [crystal.id for crystal in load_dataset("textbook").crystals]
    left_out = {failure["id"] for failure in values["left_out"]}
    assert [name for name in read_latents(z).ids if name in ids] == [name for name in ids if name not in left_out]
    assert len(read_latents(z).ids) + len(left_out) == 122
    main(["reconstruct", str(trained), "textbook", "--out", str(out)])  # two epochs may be too few to find any crystal
    with out.with_suffix(".errors.csv").open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ids


def test_the_demo_names_all_that_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(load_dataset("textbook"), crystals=(rocksalt(), perovskite()))
    monkeypatch.setattr("nesf.demo.load_dataset", lambda _: few)
    assert main(["demo", "--model", "lcs6a", "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out.replace("\n", " ").rpartition("Å.")[2].split(" written to ")[0]
    others = {path.name for path in (tmp_path / "demo").iterdir() if path.suffix != ".cif" and path.name[0] != "."}
    assert set(said.replace(" and ", ", ").strip().split(", ")) == {"2 CIFs", *others}


def test_latents_of_another_model_are_refused(
    cifs: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    z, other = tmp_path / "z.parquet", tmp_path / "other"
    assert main(["train", "textbook", "--out", str(other), "--training.seed", "1", *SMALL[:4]]) == 0
    assert main(["encode", str(trained), str(cifs), "--out", str(z)]) == 0
    capsys.readouterr()
    assert main(["decode", str(other), str(z), "--out", str(tmp_path / "found")]) == 1
    assert "another model" in sentence(capsys)


def test_reconstruct_writes_a_row_for_every_crystal(
    cifs: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = Crystal.from_frac("Uuo", [118], [[0, 0, 0]], [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]])
    write_cif(foreign, cifs / "Uuo.cif")
    out = tmp_path / "found"
    words = ["reconstruct", str(trained), str(cifs), "--out", str(out), "--json", str(out / "all.json")]
    assert main(words) in ANY_FOUND
    with (out / "errors.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"NaCl", "SrTiO3", "Uuo"}
    assert rows["Uuo"]["ok"] == "False"
    assert "Og" in rows["Uuo"]["reason"]
    score = json.loads((out / "all.json").read_text(encoding="utf-8"))["score"]
    assert score["n"] == 3
    assert score["failures"] >= 1
    assert f"All together: 3 crystals, {score['failures']} of them refused or not found" in capsys.readouterr().out


def test_two_evaluations_give_identical_json(trained: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    for target in (first, second):
        assert main(["evaluate", str(trained), "textbook", "--json", str(target)]) == 0
    assert first.read_bytes() == second.read_bytes()
    keys = "n atoms_error_percent position_actual position_detected species_actual_percent species_detected_percent"
    assert set(f"{keys} length_error angle_error failures".split()) <= set(json.loads(first.read_bytes()))


def test_a_run_is_resumed_to_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    longer = ["--training.epochs", "4", "--training.schedule", "step", *SMALL[2:]]
    shorter = ["--training.epochs", "2", "--training.schedule", "step", *SMALL[2:]]
    assert main(["train", "textbook", "--out", str(whole), *longer]) == 0
    assert main(["train", "textbook", "--out", str(broken), *shorter]) == 0
    assert main(["train", "textbook", "--resume", str(broken), "--training.epochs", "4"]) == 0
    from safetensors.torch import load_file

    one, two = load_file(whole / "model.safetensors"), load_file(broken / "model.safetensors")
    assert all(bool((one[name] == two[name]).all()) for name in one)


def test_a_run_that_goes_on_with_other_data_says_which(
    trained: Path, cifs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "textbook", "--resume", str(trained)]) == 1
    said = sentence(capsys)
    assert "its validation data was textbook (120 crystals, sha256 " in said
    assert "…) and is none now; give the same DATA and --val." in said
    assert "training data" not in said
    assert main(["train", str(cifs), "--val", "textbook", "--resume", str(trained)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "its training data was textbook (120 crystals, sha256 " in said
    assert "…) and is cifs (2 crystals, sha256 " in said
    assert "validation data" not in said
    assert "{" not in said


def test_the_universal_preset_goes_all_the_way(cifs: Path, tmp_path: Path) -> None:
    """Trained, interrupted, resumed, and used by every command that takes a model."""
    small = ["--network.anchors.tokens", "16", "--network.anchors.width", "16", "--network.anchors.heads", "2"]
    start = ["train", "textbook", "--val", "textbook", "--preset", "universal", *small, *SMALL]
    run, z, scores = tmp_path / "run", tmp_path / "z.parquet", tmp_path / "scores.json"
    assert main([*start, "--out", str(run)]) == 0
    card = json.loads((run / "model.json").read_text(encoding="utf-8"))
    assert card["preset"] == "universal"
    assert card["config"]["network"]["architecture"] == "anchors"
    assert card["config"]["network"]["anchors"]["tokens"] == 16
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [epoch["epoch"] for epoch in log] == [1, 2]
    assert set(log[0]["train"]) == {"position", "species", "length", "angle", "anchors", "total"}
    resume = ["train", "textbook", "--val", "textbook", "--resume", str(run), "--training.epochs", "3"]
    assert main(resume) == 0
    assert main(["encode", str(run), str(cifs), "--out", str(z)]) == 0
    latents = read_latents(z)
    assert latents.ids == ("NaCl", "SrTiO3")
    assert latents.z.shape == (2, 192)
    assert main(["decode", str(run), str(z), "--out", str(tmp_path / "found"), "--json", str(tmp_path / "d.json")]) == 0
    values = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert {one["id"] for one in values["decoded"] + values["failures"]} == {"NaCl", "SrTiO3"}
    assert main(["evaluate", str(run), "textbook", "--json", str(scores)]) == 0
    score = json.loads(scores.read_bytes())
    assert score["n"] == 120
    # The cell is copied, whatever else is not learned in three epochs.
    assert score["length_error"] < 1e-4
    assert score["angle_error"] < 1e-2


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["evaluate", "no-such-model", "textbook"], "no-such-model"),
        (["evaluate", "TRAINED", "nowhere.parquet"], "nowhere.parquet"),
        (["encode", "TRAINED", "nowhere.cif", "--out", "z.parquet"], "nowhere.cif"),
        (["decode", "TRAINED", "nowhere.parquet", "--out", "found"], "nowhere.parquet"),
        (["data", "import", "nowhere", "--out", "t.parquet"], "nowhere"),
        (["data", "import", "README.md", "--out", "t.csv"], "t.csv"),
        (["train", "textbook", "--out", "TRAINED"], "--resume"),
        (["encode", "TRAINED", "textbook", "--out", "z.txt"], "z.txt does not end with .parquet"),
        (["train", "textbook", "--resume", "nowhere"], "There is no folder nowhere; correct --resume"),
        (["train", "textbook", "--resume", "."], ". holds no run; correct --resume"),
        (["train", "textbook", "--resume", "TRAINED", "--out", "b"], "--out b is of no use beside --resume"),
        (["baseline", "train", "textbook", "--resume", "."], ". holds no run; correct --resume"),
        (["baseline", "train", "textbook", "--resume", "nowhere"], "There is no folder nowhere; correct --resume"),
    ],
)
def test_bad_input_ends_with_one_sentence(
    command: list[str],
    named: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(trained) if word == "TRAINED" else word for word in command]) == 1
    said = sentence(capsys)
    assert named in said
    assert said.endswith(".")
    assert list(tmp_path.iterdir()) == []


def test_crystals_that_no_model_can_take_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    for crystal in (rocksalt(), perovskite()):
        write_cif(crystal, tmp_path / "two" / f"{crystal.id}.cif")
    write_cif(hexagonal(), tmp_path / "Mg.cif")
    assert main(["train", str(tmp_path / "two"), "--out", str(folder), "--training.epochs", "1"]) == 0
    capsys.readouterr()
    assert main(["encode", str(folder), str(tmp_path / "Mg.cif"), "--out", str(tmp_path / "z.parquet")]) == 1
    assert "Mg" in capsys.readouterr().err
    assert not (tmp_path / "z.parquet").exists()


def test_an_interrupted_run_can_be_resumed_from_its_first_epoch_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    for crystal in (rocksalt(), perovskite()):
        write_cif(crystal, tmp_path / "two" / f"{crystal.id}.cif")

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("nesf.cli.train._state", interrupted)
        assert main(["train", str(tmp_path / "two"), "--out", str(folder), "--training.epochs", "3"]) == 130
    assert f"--resume {folder}" in capsys.readouterr().err.replace("\n", " ")
    assert main(["train", str(tmp_path / "two"), "--resume", str(folder)]) == 0
    epochs = [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert epochs == [1, 2, 3]


def test_primitive_cells_are_pointed_out(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]]
    primitive = Crystal.from_frac("salt", [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], half)
    write_cif(primitive, tmp_path / "salt.cif", symmetrize=False)
    command = ["reconstruct", str(trained), str(tmp_path / "salt.cif"), "--out", str(tmp_path / "found")]
    assert main(command) in ANY_FOUND
    assert "It has 2 atoms, its conventional cell 8." in capsys.readouterr().err
    assert main([*command, "--cell", "conventional"]) in ANY_FOUND
    assert "conventional cell 8" not in capsys.readouterr().err
