"""Data sets by rule: from tables, and from a server that answers like that of the Materials Project."""

import csv
import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from nesf.cli import main
from nesf.crystal import Crystal, Failure
from nesf.data import building, conversion
from nesf.data.building import QUERIES
from nesf.data.id_lists import read_id_lists
from nesf.data.rules import LCS6A, RULES, YBCO_CELL_ANGSTROM, reduced_counts
from nesf.data.selection import PARTS, stable_part
from nesf.errors import NesfError
from nesf.io import convert, materials_project, read, to_pymatgen, write_table
from nesf.io.materials_project import MaterialsProject
from nesf.testing import caesium_chloride, hexagonal, perovskite, rocksalt

KEY = "k" * 32
needs_client = pytest.mark.skipif(importlib.util.find_spec("mp_api") is None, reason="mp-api is not installed")


def salts(count: int) -> list[Crystal]:
    """Cubic AB crystals with different ids, sizes and anions."""
    anions = [9, 17, 35, 53]
    made = []
    for i in range(count):
        crystal = caesium_chloride()
        numbers = [55, anions[i % 4]]
        made.append(Crystal.from_frac(f"mp-{i}", numbers, crystal.frac, np.eye(3) * (4 + 0.001 * i)))
    return made


def like_ybco(count: int) -> list[Crystal]:
    frac = np.random.default_rng(0).random((13, 3))
    numbers = [8] * 7 + [29] * 6
    return [Crystal.from_frac(f"y-{i}", numbers, frac, YBCO_CELL_ANGSTROM * (1 + i / 1000)) for i in range(count)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A table of forty salts and a hexagonal metal."""
    path = tmp_path / "source.parquet"
    write_table(path, [*salts(40), hexagonal()])
    return path


def ids_of(path: Path) -> list[str]:
    return [crystal.id for crystal in read(path)] if path.is_file() else []


def left_out(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


# --- from tables ------------------------------------------------------------------------------------------------------


def test_a_data_set_from_a_table_accounts_for_every_crystal(source, tmp_path):
    out = tmp_path / "out"
    assert main(["data", "build", "icsg3d", "--from", str(source), "--out", str(out)]) == 0
    parts = {part: ids_of(out / f"icsg3d_{part}.parquet") for part in PARTS}
    assert {name: part for part, names in parts.items() for name in names} == {
        f"mp-{i}": stable_part(f"mp-{i}") for i in range(40)
    }
    assert left_out(out / "icsg3d_left_out.csv") == {
        hexagonal().id: "Its atoms are of the kind A; the rule wants AB, ABC2 or ABC3."
    }
    account = json.loads((out / "icsg3d.json").read_text(encoding="utf-8"))
    assert account["parts"] == {part: len(names) for part, names in parts.items()}
    assert account["left_out"]["do not obey the rule"] == 1
    assert account["sources"][0]["name"] == "source.parquet"
    assert set(account["sha256"]) == {f"icsg3d_{part}.parquet" for part in PARTS}


def test_crystals_are_converted_before_the_rule_is_applied(tmp_path):
    primitive = convert(rocksalt(), "primitive")
    assert len(primitive) == 2
    write_table(tmp_path / "p.parquet", [primitive])
    for cell, kept in (("conventional", [8]), ("as-is", [])):
        command = ["data", "build", "icsg3d", "--from", str(tmp_path / "p.parquet"), "--cell", cell]
        assert main([*command, "--out", str(tmp_path / cell)]) == (0 if kept else 1)
        found = [c for part in PARTS for c in _crystals(tmp_path / cell / f"icsg3d_{part}.parquet")]
        assert [len(crystal) for crystal in found] == kept


def _crystals(path: Path) -> list[Crystal | Failure]:
    return read(path) if path.is_file() else []


def test_of_two_sources_the_first_has_the_word(tmp_path):
    first, second = salts(3), [crystal.renamed(f"mp-{i + 2}") for i, crystal in enumerate(salts(3))]
    write_table(tmp_path / "a.parquet", first)
    write_table(tmp_path / "b.parquet", second)
    sources = ["--from", str(tmp_path / "a.parquet"), "--from", str(tmp_path / "b.parquet")]
    assert main(["data", "build", "icsg3d", *sources, "--cell", "as-is", "--out", str(tmp_path / "o")]) == 0
    found = {c.id: c for part in PARTS for c in _crystals(tmp_path / "o" / f"icsg3d_{part}.parquet")}
    assert sorted(found) == [f"mp-{i}" for i in range(5)]
    assert found["mp-2"] == first[2]
    assert found["mp-4"].properties["source"] == "b.parquet"
    assert "a.parquet" in left_out(tmp_path / "o" / "icsg3d_left_out.csv")["mp-2"]


def test_rare_elements_are_dropped_unless_all_are_wanted(source, tmp_path):
    # Of Cs, F, Cl, Br, I nine tenths are four elements: iodine is the heaviest of the four that are equally frequent.
    for elements, count in (("frequent", 30), ("all", 40)):
        out = tmp_path / elements
        command = ["data", "build", "lcs6a", "--from", str(source), "--elements", elements, "--cell", "as-is"]
        assert main([*command, "--out", str(out)]) == 0
        assert json.loads((out / "lcs6a.json").read_text(encoding="utf-8"))["crystals"] == count
    assert "contains I" in left_out(tmp_path / "frequent" / "lcs6a_left_out.csv")["mp-3"]


def test_a_seeded_split_has_the_sizes_of_the_paper(source, tmp_path):
    command = ["data", "build", "icsg3d", "--from", str(source), "--split", "seeded", "--seed", "3", "--cell", "as-is"]
    assert main([*command, "--out", str(tmp_path / "o")]) == 0
    assert [len(ids_of(tmp_path / "o" / f"icsg3d_{part}.parquet")) for part in PARTS] == [36, 2, 2]


@pytest.mark.parametrize("name", ["ybco-like", "ybco_like"])
def test_the_ybco_like_set_has_folds(name, tmp_path):
    write_table(tmp_path / "y.parquet", like_ybco(25))
    command = ["data", "build", name, "--from", str(tmp_path / "y.parquet"), "--cell", "as-is", "--elements", "all"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    folds = json.loads((tmp_path / "ybco_like_folds.json").read_text(encoding="utf-8"))
    assert len(folds) == 20
    assert sorted(name for fold in folds for name in fold["test"]) == sorted(f"y-{i}" for i in range(25))
    assert ids_of(tmp_path / "ybco_like.parquet") == [f"y-{i}" for i in range(25)]


def test_what_is_there_is_replaced_only_when_asked(source, tmp_path, capsys):
    command = ["data", "build", "icsg3d", "--from", str(source), "--cell", "as-is", "--out", str(tmp_path / "o")]
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 1
    assert "--overwrite" in sentence(capsys)
    assert main([*command, "--overwrite"]) == 0
    # Not even then, where it is the input.
    own = tmp_path / "o" / "icsg3d_train.parquet"
    capsys.readouterr()
    assert main(["data", "build", "icsg3d", "--from", str(own), "--out", str(own.parent), "--overwrite"]) == 1
    assert "is the input" in sentence(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lcs7a", "--from", "SOURCE"], "no rule for a data set 'lcs7a'"),
        (["ybco-like", "--from", "SOURCE"], "none belongs to ybco_like"),
        (["icsg3d", "--from", "nowhere.parquet"], "nowhere.parquet is neither"),
        (["icsg3d", "--from", "SOURCE", "--ids", "SOURCE.json"], "does not exist"),
        (["icsg3d", "--from", "SOURCE", "--split", "seeded", "--seed", "-1"], "The seed is -1"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, source, tmp_path, capsys):
    arguments = [str(source) if word == "SOURCE" else word for word in arguments]
    assert main(["data", "build", *arguments, "--out", str(tmp_path / "o")]) == 1
    assert words in sentence(capsys)
    assert not (tmp_path / "o").exists()


def test_processes_convert_as_one_does(monkeypatch):
    monkeypatch.setattr(conversion, "WORTH_PROCESSES", 2)
    monkeypatch.setattr(conversion, "CHUNK", 2)
    crystals = [convert(rocksalt(), "primitive"), perovskite(), caesium_chloride(), hexagonal(), *salts(1)]
    done: list[int] = []
    found = conversion.converted(crystals, "conventional", 2, done.append)
    assert found == [convert(crystal, "conventional") for crystal in crystals]
    assert [c.properties["cell_conversion"][:12] for c in found if isinstance(c, Crystal)] == ["conventional"] * 5
    assert done == [2, 2, 1]


# --- published lists --------------------------------------------------------------------------------------------------

LISTS = {"train": ["mp-1", "mp-2", "mp-3", "mp-99"], "val": ["mp-4"], "test": ["mp-5"]}


def as_json(folder: Path) -> Path:
    path = folder / "ids.json"
    path.write_text(json.dumps(LISTS))
    return path


def as_text(folder: Path) -> Path:
    for part, ids in LISTS.items():
        (folder / f"{part}.txt").write_text("\n".join(ids) + "\n")
    return folder


def as_released(folder: Path) -> Path:
    # As the paper's authors released theirs: those held out stand in the list for training, too.
    lists = {**LISTS, "train": LISTS["train"] + LISTS["test"] + LISTS["val"]}
    for part, ids in lists.items():
        (folder / f"dataset_x_{part}").mkdir()
        (folder / f"dataset_x_{part}" / "dataset_attr.json").write_text(json.dumps({"mpid": ids}))
    return folder / "dataset_x"


@pytest.mark.parametrize("write", [as_json, as_text, as_released])
def test_published_lists_make_the_parts(write, source, tmp_path, capsys):
    folder = tmp_path / "lists"
    folder.mkdir()
    out = tmp_path / "o"
    command = ["data", "build", "lcs6a", "--from", str(source), "--cell", "as-is", "--ids", str(write(folder))]
    assert main([*command, "--out", str(out)]) == 0
    found = {part: ids_of(out / f"lcs6a_{part}.parquet") for part in PARTS}
    assert found == {"train": ["mp-1", "mp-2", "mp-3"], "val": ["mp-4"], "test": ["mp-5"]}
    assert "1 of 6 listed ids are not in it, such as mp-99" in capsys.readouterr().err
    assert "in no list" in left_out(out / "lcs6a_left_out.csv")["mp-7"]
    account = json.loads((out / "lcs6a.json").read_text(encoding="utf-8"))["split"]
    assert account["missing"] == ["mp-99"]
    assert account["listed_twice"] == (2 if write is as_released else 0)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"train": ["a"], "val": ["b"], "test": ["b"]}, "'b' is in the lists of both"),
        ({"train": ["a"], "val": ["b"]}, "has no list 'test'"),
        ({"train": "a", "val": [], "test": []}, "something else than lists"),
        ([{"val": ["a"], "test": ["b"]}, {"val": ["b"], "test": ["b"]}], "'b'"),
        ([{"val": ["a"], "test": ["b"]}, {"val": ["b"], "test": ["c"]}], "'a' is tested in 0 folds"),
        ([], "holds no ids"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(value, words, tmp_path):
    path = tmp_path / "ids.json"
    path.write_text(json.dumps(value))
    with pytest.raises(NesfError, match=words):
        read_id_lists(path)


def test_official_folds_come_out_as_they_went_in(shared_data, tmp_path):
    folds = shared_data / "ybco_like_folds.json"
    command = ["data", "build", "ybco-like", "--from", str(shared_data / "ybco_like.parquet"), "--cell", "as-is"]
    assert main([*command, "--ids", str(folds), "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "ybco_like_folds.json").read_text()) == json.loads(folds.read_text())
    assert len(ids_of(tmp_path / "ybco_like.parquet")) == 100


def test_converting_them_again_changes_nothing_for_official_crystals(shared_data):
    crystals = [c for c in read(shared_data / "lcs6a_val.parquet") if isinstance(c, Crystal)][::10]
    again = conversion.converted(crystals, "conventional", 1, lambda _: None)
    kept = {c.id: c for c in LCS6A.select([c for c in again if isinstance(c, Crystal)], "all").kept}
    assert set(kept) == {c.id for c in crystals}
    assert all(len(kept[c.id]) == len(c) and np.allclose(kept[c.id].lengths, c.lengths, atol=0.02) for c in crystals)


@pytest.mark.parametrize("name", RULES)
def test_an_early_objection_is_never_against_a_crystal_that_belongs(name, shared_data):
    rule, table = RULES[name], {"lcs6a": "lcs6a_val", "icsg3d": "icsg3d_val", "ybco_like": "ybco_like"}[name]
    crystals = [c for c in read(shared_data / f"{table}.parquet") if isinstance(c, Crystal)][::8]
    primitive = [convert(crystal, "primitive") for crystal in crystals[:20]]
    assert {rule.early_objection(crystal) for crystal in crystals + primitive} == {None}


# --- from a server ----------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    """Answers heartbeat and summary like api.materialsproject.org, from documents in memory."""

    daemon_threads = True

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents = documents
        self.asked: list[dict[str, str]] = []
        self.broken = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/heartbeat":
            return self._say(200, {"version": "0.90.0", "db_version": "2099.01.01", "access_controlled_batch_ids": []})
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.server.asked.append(query)
        if self.headers.get("X-API-KEY") != KEY:
            return self._say(401, {"detail": "Invalid authentication credentials"})
        if url.path != "/materials/summary/" or self.server.broken:
            return self._say(500, {"detail": "Something broke"})
        found = [one for one in self.server.documents if _matches(one, query)]
        start, limit = int(query.get("_skip", 0)), int(query["_limit"])
        fields = query["_fields"].split(",")
        page = [{name: one[name] for name in fields} for one in found[start : start + limit]]
        return self._say(200, {"data": page, "meta": {"total_doc": len(found)}})

    def _say(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _matches(document: dict[str, Any], query: dict[str, str]) -> bool:
    def within(name: str) -> bool:
        return float(query.get(f"{name}_min", -1e9)) <= document[name] <= float(query.get(f"{name}_max", 1e9))

    def wanted(name: str, value: str) -> bool:
        return value in query.get(name, value).split(",")

    return (
        within("volume")
        and within("nsites")
        and wanted("formula", document["formula_anonymous"])
        and wanted("crystal_system", document["symmetry"]["crystal_system"])
        and wanted("material_ids", document["material_id"])
    )


def document(crystal: Crystal, **changes: Any) -> dict[str, Any]:
    """A crystal as the summary of the Materials Project gives it, in its primitive cell."""
    structure = to_pymatgen(convert(crystal, "primitive"))
    counts = reduced_counts(crystal)
    return {
        "material_id": crystal.id,
        "structure": structure.as_dict(),
        "volume": structure.volume,
        "nsites": len(structure),
        "formula_anonymous": "".join("ABC"[i] + (str(n) if n > 1 else "") for i, n in enumerate(counts)),
        "formation_energy_per_atom": -2.0,
        "band_gap": 5,
        "energy_above_hull": 0.0,
        "total_magnetization_normalized_formula_units": 0.5,
        "bulk_modulus": {"voigt": 1.0, "reuss": 2.0, "vrh": 24.5},
        "shear_modulus": None,
        "symmetry": {"crystal_system": "Cubic", "symbol": "Fm-3m", "number": 225},
    } | changes


@contextmanager
def served(documents: list[dict[str, Any]]) -> Iterator[_Server]:
    with _Server(documents) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(60)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    """A served collection, and an environment in which it is asked."""
    hexagonal_system = {"crystal_system": "Hexagonal", "symbol": "P6_3/mmc", "number": 194}
    documents = [
        *(document(crystal) for crystal in salts(7)),
        document(rocksalt().renamed("mp-22862")),
        document(perovskite().renamed("mp-5229")),
        document(hexagonal().renamed("mp-153"), symmetry=hexagonal_system),
        document(rocksalt().renamed("mp-666"), structure=None),
    ]
    with served(documents) as server:
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("MP_API_ENDPOINT", server.address)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        yield server


@needs_client
def test_the_rule_is_asked_for_page_by_page_and_applied(project, tmp_path, monkeypatch):
    monkeypatch.setattr(materials_project, "PAGE", 3)
    assert main(["data", "build", "icsg3d", "--out", str(tmp_path)]) == 0
    found = {c.id: c for part in PARTS for c in _crystals(tmp_path / f"icsg3d_{part}.parquet")}
    assert sorted(found) == sorted([*(f"mp-{i}" for i in range(7)), "mp-22862", "mp-5229"])
    assert len(found["mp-22862"]) == 8  # it was asked for in its primitive cell
    assert {"_skip": "3", "_limit": "3"}.items() <= project.asked[1].items()
    for query in project.asked:
        assert query["crystal_system"] == "Cubic"
        assert query["batch_id_not_eq"] == "gnome_r2scan_statics"
        assert query["deprecated"] == "False"
    assert "no structure that can be read" in left_out(tmp_path / "icsg3d_left_out.csv")["mp-666"]
    origin = json.loads((tmp_path / "icsg3d.json").read_text(encoding="utf-8"))["sources"][0]
    assert (origin["name"], origin["version"], len(origin["queries"])) == ("Materials Project", "2099.01.01", 3)


@needs_client
@pytest.mark.usefixtures("project")
def test_properties_become_the_columns_of_the_project():
    with MaterialsProject() as connection:
        (found,) = connection.search({"material_ids": ["mp-5229"]})
    assert isinstance(found, Crystal)
    assert dict(found.properties) == {
        "source": "Materials Project 2099.01.01",
        "formation_energy_per_atom": -2.0,
        "band_gap": 5.0,
        "energy_above_hull": 0.0,
        "total_magnetization": 0.5,
        "bulk_modulus": 24.5,
        "spacegroup": 225,
    }


@needs_client
def test_listed_ids_are_asked_for_by_id(project, tmp_path, capsys):
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({"train": ["mp-0", "mp-5229"], "val": ["mp-22862"], "test": ["mp-77"]}))
    assert main(["data", "build", "lcs6a", "--ids", str(ids), "--out", str(tmp_path / "o")]) == 0
    assert [query["material_ids"] for query in project.asked] == ["mp-0,mp-5229,mp-22862,mp-77"]
    found = {part: ids_of(tmp_path / "o" / f"lcs6a_{part}.parquet") for part in PARTS}
    assert found == {"train": ["mp-0", "mp-5229"], "val": ["mp-22862"], "test": []}
    assert "1 of 4 listed ids are not in it, such as mp-77" in capsys.readouterr().err


@needs_client
def test_crystals_on_the_border_of_two_searches_come_once(project, tmp_path, monkeypatch):
    border = QUERIES["lcs6a"][4]["volume"][1]
    assert border == QUERIES["lcs6a"][5]["volume"][0]
    monkeypatch.setattr(building, "QUERIES", {"lcs6a": QUERIES["lcs6a"][4:6]})
    cube = caesium_chloride()
    edge = Crystal.from_frac("mp-12", cube.numbers, cube.frac, np.eye(3) * border ** (1 / 3))
    project.documents.append(document(edge, volume=border))
    assert main(["data", "build", "lcs6a", "--elements", "all", "--out", str(tmp_path)]) == 0
    found = [name for part in PARTS for name in ids_of(tmp_path / f"lcs6a_{part}.parquet")]
    assert found.count("mp-12") == 1
    assert set(json.loads((tmp_path / "lcs6a.json").read_text(encoding="utf-8"))["left_out"].values()) == {0}


def test_the_searches_for_lcs6a_leave_no_gap():
    ends = [query["volume"] for query in QUERIES["lcs6a"]]
    assert (ends[0][0], ends[-1][1]) == (0, 6**3)
    assert all(a[1] == b[0] for a, b in pairwise(ends))


@needs_client
def test_what_the_server_refuses_is_one_sentence(project, tmp_path, capsys, monkeypatch):
    command = ["data", "build", "ybco-like", "--out", str(tmp_path / "o")]
    project.broken = True
    assert main(command) == 1
    assert "Something broke" in sentence(capsys)
    for key, words in (("w" * 32, "Invalid authentication"), ("short", "32 characters")):
        monkeypatch.setenv("MP_API_KEY", key)
        assert main(command) == 1
        assert words in sentence(capsys)
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:9/")
    assert main(command) == 1
    assert "gives no answer" in sentence(capsys)


def test_without_a_key_it_says_where_to_get_one_and_what_works_without(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    assert main(["data", "build", "lcs6a", "--out", str(tmp_path)]) == 1
    said = sentence(capsys)
    assert all(words in said for words in ("MP_API_KEY", "materialsproject.org", "--from"))


def test_without_the_client_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    assert main(["data", "build", "lcs6a", "--out", str(tmp_path)]) == 1
    assert 'pip install -c constraints.txt ".[mp]"' in sentence(capsys)
