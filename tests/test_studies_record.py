"""A study's folder holds what was found, and what it takes to find it again."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import nesf
from nesf.data.datasets import load_dataset
from nesf.errors import NesfError
from nesf.studies import Outcome, Picture, Record, Table, describe_data, describe_model
from nesf.studies.record import read_record
from nesf.testing import rocksalt

MODEL = {"name": "tiny", "preset": "fast", "sha256": "ab" * 32}
DATA = {"name": "some.parquet", "sha256": "cd" * 32, "crystals": 7}
COMMAND = "nesf study test tiny 'some data.parquet'"


def outcome(**values: object) -> Outcome:
    """An outcome with one file of each kind."""
    return Outcome(
        title="A test",
        summary="Nothing came out.",
        values=values,
        tables={"numbers": Table("Numbers", ["name", "x [Å]"], [["a, b", 0.25], ["nothing", None]], "A note.")},
        pictures={"empty": Picture(Figure(), "An empty figure.")},
        pages={"page": "<p>Å</p>"},
    )


def record(**settings: object) -> Record:
    """Where it comes from."""
    return Record("test", COMMAND, 3, [MODEL], [DATA], settings)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    record(least=10, names=("x", "y")).write(outcome(error=0.125), tmp_path)
    back = read_record(tmp_path)
    assert {key: back[key] for key in ("study", "title", "summary", "values")} == {
        "study": "test",
        "title": "A test",
        "summary": "Nothing came out.",
        "values": {"error": 0.125},
    }
    assert back["tables"] == {"numbers": {"title": "Numbers", "note": "A note."}}
    assert back["pictures"] == {"empty": "An empty figure."}
    assert back["pages"] == ["page"]


def test_the_record_says_how_to_get_the_outcome_again(tmp_path: Path) -> None:
    record(least=10).write(outcome(), tmp_path)
    source = read_record(tmp_path)["provenance"]
    assert source["command"] == COMMAND
    assert source["seed"] == 3
    assert source["models"] == [MODEL]
    assert source["data"] == [DATA]
    assert source["settings"] == {"least": 10}
    assert source["software"]["nesf"] == nesf.__version__


def test_each_table_picture_and_page_is_a_file_and_nothing_else_is(tmp_path: Path) -> None:
    record().write(outcome(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"study.json", "numbers.csv", "empty.png", "page.html"}
    with (tmp_path / "numbers.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "x [Å]"], ["a, b", "0.25"], ["nothing", ""]]
    assert (tmp_path / "empty.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<p>Å</p>"


def test_what_an_earlier_study_listed_is_removed_and_nothing_else(tmp_path: Path) -> None:
    structures = {"structures/a/01.cif": [rocksalt()], "structures/b/all.extxyz": [rocksalt(), rocksalt()]}
    record().write(replace(outcome(), structures=structures), tmp_path / "study")
    assert read_record(tmp_path / "study")["structures"] == list(structures)
    for name in ("mine.csv", "structures/a/notes.txt", "../outside.html"):
        (tmp_path / "study" / name).touch()
    # A record may be from elsewhere.
    path = tmp_path / "study" / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pages": ["page", "../outside"]}))
    record().write(Outcome("Another", "", {}), tmp_path / "study")
    left = {one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if one.is_file()}
    assert left == {"outside.html", "study/study.json", "study/mine.csv", "study/structures/a/notes.txt"}
    assert not (tmp_path / "study" / "structures" / "b").exists()


def test_a_csv_has_no_more_digits_than_can_be_used(tmp_path: Path) -> None:
    rows = [["a", 0.0056402411665726435, 2.504478073969145e-06, 1234567, 0.25]]
    record().write(replace(outcome(), tables={"t": Table("T", list("abcde"), rows)}), tmp_path)
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "a,0.00564024,2.50448e-06,1234567,0.25"


def test_a_folder_has_no_record_where_the_study_was_not_completed(tmp_path: Path) -> None:
    record().write(outcome(error=1.0), tmp_path)
    broken = Figure()
    broken.subplots().set_title("$ $x^{ $ $")
    with pytest.raises(ValueError, match="ParseException"):
        record().write(replace(outcome(error=2.0), pictures={"broken": Picture(broken, "")}), tmp_path)
    assert not (tmp_path / "study.json").exists()


def test_what_cannot_be_written_leaves_the_earlier_record(tmp_path: Path) -> None:
    record().write(outcome(error=1.0), tmp_path)
    with pytest.raises(TypeError, match="serializable"):
        record().write(outcome(error=object()), tmp_path)
    assert read_record(tmp_path)["values"] == {"error": 1.0}


def test_what_is_no_number_is_written_as_none(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    found = replace(
        outcome(r2=[0.5, nan], by={"x": inf}), tables={"t": Table("T", ["a", "b"], [[nan, 1.0], [inf, "x"]])}
    )
    record(limit=-inf).write(found, tmp_path)
    back = read_record(tmp_path)
    assert back["values"] == {"r2": [0.5, None], "by": {"x": None}}
    assert back["provenance"]["settings"] == {"limit": None}
    assert (tmp_path / "t.csv").read_text().splitlines() == ["a,b", ",1.0", ",x"]


@pytest.mark.parametrize("content", [None, "no JSON", "[1]", json.dumps({"format": 99})])
def test_what_is_no_record_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "study.json").write_text(content, encoding="utf-8")
    with pytest.raises(NesfError, match=r"study\.json"):
        read_record(tmp_path)


def test_models_and_data_are_described_by_their_hashes() -> None:
    model, data = nesf.load("lcs6a-paper"), load_dataset("textbook")
    described = {"method": "nesf", "name": "lcs6a-paper", "preset": "fast", "sha256": model.fingerprint}
    assert describe_model(model) == described
    assert describe_data(data) == {"name": "textbook", "sha256": data.sha256, "crystals": len(data.crystals)}
