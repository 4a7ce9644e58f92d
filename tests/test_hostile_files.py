"""Files of other people run no code, fill no memory, and write nowhere but where they are told to."""

import ast
import csv
import json
import pickle
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nesf import codec, testing, weights
from nesf.cli import main
from nesf.config import FAST, UNIVERSAL
from nesf.crystal import Crystal, Failure
from nesf.decoding import EstimationSettings, estimate
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.fields import TrueField
from nesf.io import read
from nesf.io.export import write_folder, write_left_out
from nesf.io.released import read_released
from nesf.model import autoencoder
from nesf.plots import map_page
from nesf.plots.latent_page import Point
from nesf.studies.record import RECORD
from nesf.studies.report import write_report

SOURCE = Path(__file__).resolve().parents[1]
NAMES = [
    "../../escaped",
    "/var/tmp/escaped-absolutely",  # noqa: S108 (it is not to be written)
    "..\\..\\escaped",
    "CON",
    "nul.cif",
    "x" * 300,
    "two\nlines",
    "tab\tand\rreturn",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=cmd|' /C calc'!A0",
    "@SUM(A1)",
    "$\\frac{",
    "%s {0} ${x}",
    "\x1b[31mred",
    ".",
    "..",
    "~",
    "-rf",
    "été Å",
]


# --- what the code may use at all ---

FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "joblib.load"),
    *(
        "yaml.load",
        "marshal.loads",
        "shelve.open",
        "tempfile.mktemp",
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
    ),
}
ONLY_READER_OF_PICKLES = "src/nesf/io/array_pickle.py"


def named(node: ast.expr) -> str:
    """A dotted name as it is written, or nothing."""
    if isinstance(node, ast.Attribute):
        return f"{named(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(path: Path) -> list[str]:
    """The calls and bases of a file that could run what is in other files."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            keywords = {word.arg: word.value for word in node.keywords}
            if named(node.func) in FORBIDDEN:
                found.append(named(node.func))
            for word in ("shell", "allow_pickle"):
                value = keywords.get(word)
                if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
                    found.append(f"{named(node.func)}({word}=...)")
        if isinstance(node, ast.ClassDef):
            found += [named(base) for base in node.bases if named(base) in FORBIDDEN]
        if isinstance(node, ast.ImportFrom) and node.module in {"pickle", "marshal", "shelve", "joblib", "dill"}:
            found.append(f"from {node.module} import ...")
    return found


def test_no_code_loads_what_could_run():
    files = [path for room in ("src", "tools", "benchmarks") for path in sorted((SOURCE / room).rglob("*.py"))]
    assert len(files) > 100
    bad = {path.relative_to(SOURCE).as_posix(): found for path in files if (found := faults(path))}
    assert bad == {ONLY_READER_OF_PICKLES: ["pickle.Unpickler"]}


def test_the_search_for_such_code_finds_it(tmp_path):
    code = ["subprocess.run('ls', shell=True)", "torch.load('x')", "eval('1')", "np.load(f, allow_pickle=True)"]
    (tmp_path / "bad.py").write_text("\n".join(code))
    assert len(faults(tmp_path / "bad.py")) == 4


# --- pickles ---


def released(folder: Path, payload: bytes, elements: object = (9, 55)) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "dataset_attr.json").write_text(json.dumps({"sidx_to_z": elements}))
    (folder / "dataset.pkl").write_bytes(payload)
    return folder


LAUGHS = b"K\x01" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60))  # tuples of 2^60 leaves
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n)R"
DTYPE = b"cnumpy\ndtype\n" + LAUGHS + b"\x85R(K\x03U\x01<NNNtb"
HOSTILE_PICKLES = {
    "memo of 16 GB": b"\x80\x04]r" + struct.pack("<I", 2**31 - 1) + b".",
    "bytes of a terabyte": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",
    "frame of a terabyte": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"].",
    "text of four gigabytes": b"\x80\x04X" + struct.pack("<I", 2**32 - 1) + b"abc.",
    "integer of two gigabytes": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
    "dictionary with an endless key": b"\x80\x04}" + LAUGHS + b"K\x01s.",
    "set": b"\x80\x04(\x90.",
    "extension": b"\x80\x04\x82\x01.",
    "persistent id": b"Pname\n.",
    "new object": b"\x80\x04cnumpy\nndarray\n)\x81.",
    "instance": b"(inumpy\nndarray\n.",
    "names far away": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
}


@pytest.mark.parametrize("payload", HOSTILE_PICKLES.values(), ids=HOSTILE_PICKLES)
def test_a_bomb_in_a_pickle_is_refused_in_one_sentence(tmp_path, payload):
    with pytest.raises(
        NesfError, match=r"dataset\.pkl is refused: .*; get the file from its source again\.$"
    ) as caught:
        list(read_released(released(tmp_path / "set", payload)))
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


def row(positions: bytes, lengths: bytes) -> bytes:
    """A pickled list of one row."""
    return b"\x80\x04](" + b"(" + positions + RECONSTRUCT + lengths + lengths + b"X\x04\x00\x00\x00mp-1te."


HOSTILE_ROWS = {
    "endless type": row(RECONSTRUCT + b"(K\x01K\x02\x85" + DTYPE + b"\x89C\x08aaaaaaaatb", b"N"),
    "endless lengths": row(RECONSTRUCT, LAUGHS),
    "no state": row(RECONSTRUCT, b"N"),
    "nested 100,000 deep": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
}


@pytest.mark.parametrize("payload", HOSTILE_ROWS.values(), ids=HOSTILE_ROWS)
def test_a_bomb_in_a_row_of_a_pickle_is_a_failure(tmp_path, payload):
    [failure] = read_released(released(tmp_path / "set", payload))
    assert isinstance(failure, Failure)
    assert len(failure.reason) < 400


def test_arrays_that_claim_more_than_they_hold_or_a_crystal_has_are_failures(tmp_path):
    huge = np.zeros((60_001, 3), np.int8)
    for positions in (huge, np.zeros((2, 3))):
        rows = [(positions, np.zeros(len(positions), int), (4.0,) * 3, (1.5,) * 3, "mp-1")]
        payload = pickle.dumps(rows, protocol=3).replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86")
        [failure] = read_released(released(tmp_path / "set", payload))
        assert isinstance(failure, Failure)
        assert "an array has" in failure.reason


@pytest.mark.parametrize("elements", [[8.5], ["8"], [0], [119], [[8]], {"8": 1}, "89", 8, None, [2**80]])
def test_what_are_no_atomic_numbers_is_refused(tmp_path, elements):
    with pytest.raises(NesfError, match="has no list 'sidx_to_z' of atomic numbers"):
        list(read_released(released(tmp_path / "set", b"].", elements)))


def test_json_that_names_modules_imports_none(tmp_path, monkeypatch):
    (tmp_path / "hostile_module.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    call = {"@module": "hostile_module", "@class": "Anything"}
    site = {"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0], "properties": {"x": call}}
    entry = {"lattice": {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]}, "sites": [site], "properties": {"y": call}}
    (tmp_path / "e.json").write_text(json.dumps({**entry, **{"@module": "hostile_module", "@class": "Anything"}}))
    read([tmp_path / "e.json"])
    assert "hostile_module" not in sys.modules
    assert not (tmp_path / "mark").exists()


# --- weights ---


@pytest.fixture(scope="module", params=["perceptrons", "anchors"])
def model_file(request, tmp_path_factory) -> Path:
    """A small untrained model of each architecture."""
    torch.manual_seed(0)
    if request.param == "perceptrons":
        network = replace(FAST.network, latent=8, atom_mix=16, bottleneck=(8,), position_field=(8,), species_field=(8,))
        config = replace(FAST, network=network)
    else:
        anchors = replace(UNIVERSAL.network.anchors, tokens=5, elements=2, width=8, heads=2)
        config = replace(UNIVERSAL, network=replace(UNIVERSAL.network, latent=32, anchors=anchors))
    domain = Domain.of(testing.known_crystals())
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    weights.save(path, autoencoder(config.network, domain.vocabulary), weights.Card("tiny", "fast", config, domain))
    return path


@pytest.fixture
def victim(model_file, tmp_path) -> Path:
    """A copy to be tampered with."""
    path = tmp_path / "victim.safetensors"
    path.write_bytes(model_file.read_bytes())
    return path


def refused(path: Path, words: str) -> None:
    with pytest.raises(NesfError, match=words) as caught:
        codec.load(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert len(text) < 1000
    assert "\n" not in text


def rewrite(path: Path, change=lambda card: card, tensors=None, text: str | None = None) -> None:
    """The same file with another card or other tensors, and no hash."""
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["nesf"])
    change(card)
    save_file(tensors or load_file(path), path, {"nesf": json.dumps(card) if text is None else text})


def test_a_file_without_a_hash_is_one_of_an_older_version(victim):
    rewrite(victim)
    assert codec.load(victim).card.name == "tiny"


def test_every_changed_byte_is_noticed(victim):
    whole = bytearray(victim.read_bytes())
    header = struct.unpack("<Q", whole[:8])[0]
    chance = np.random.default_rng(0)
    for place in chance.integers(8 + header, len(whole), 12).tolist():
        changed = whole.copy()
        changed[place] ^= 1 << int(chance.integers(8))
        victim.write_bytes(changed)
        refused(victim, "by the hash in its header|not a finite number")
    victim.write_bytes(whole.replace(b'\\"known', b'\\"knows', 1).replace(b"tiny", b"tina", 1))
    refused(victim, "by the hash in its header")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(victim, value):
    tensors = load_file(victim)
    name = next(name for name, one in tensors.items() if one.is_floating_point())
    tensors[name].view(-1)[0] = value
    rewrite(victim, tensors=tensors)
    refused(victim, f"the tensor {name} holds a value that is not a finite number")


def test_other_tensors_are_refused(victim):
    whole = load_file(victim)
    name = next(name for name, one in whole.items() if one.is_floating_point())
    for tensors, words in (
        ({key: one for key, one in whole.items() if key != name}, f"the tensor {name} is missing"),
        ({**whole, "x" * 9000: torch.zeros(1)}, "the network has no tensor 'xxx"),
        ({**whole, name: torch.zeros(3, 3, 3)}, "size mismatch"),
        ({**whole, name: whole[name].double()}, r"holds torch\.float64 instead of torch\.float32"),
    ):
        rewrite(victim, tensors=tensors)
        refused(victim, words)


def set_at(*keys: str, value: object):
    def change(card):
        for key in keys[:-1]:
            card = card[key]
        card[keys[-1]] = value

    return change


CARDS = {
    "latent": set_at("config", "network", "latent", value=10**9),
    "widths": set_at("config", "network", "position_field", value=[10**9, 10**9]),
    "a thousand layers": set_at("config", "network", "position_field", value=[8] * 1000),
    "a million tokens": set_at("config", "network", "anchors", "tokens", value=10**6),
    "layers of anchors": set_at("config", "network", "anchors", "encoder_layers", value=10**9),
    "corrections": set_at("config", "network", "anchors", "corrections", value=10**9),
    "iterations": set_at("config", "estimation", "iterations", value=10**12),
    "no interval": set_at("config", "estimation", "interval", value=0.0),
    "NaN": set_at("config", "estimation", "radius", value=float("nan")),
    "votes": set_at("config", "estimation", "species_interval", value=1e-9),
    "name": set_at("name", value={"a": 1}),
    "data": set_at("data", value=[1]),
    "scores": set_at("scores", value="good"),
    "limits": set_at("limits", value=7),
    "elements": set_at("domain", "vocabulary", value=[8, 10**9]),
    "no elements": set_at("domain", "vocabulary", value=[]),
    "many atoms": set_at("domain", "max_atoms", value="many"),
    "format": set_at("format", value="2"),
}


@pytest.mark.parametrize("change", CARDS.values(), ids=CARDS)
def test_a_card_of_what_cannot_be_is_refused_before_memory_is_taken(victim, change):
    rewrite(victim, change)
    refused(victim, "does not hold the model its card describes: .*; take it again from where it came from")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "9" * 5000 + "}", "null", "3", '"text"', "", "{"])
def test_a_card_that_is_no_card_is_refused(victim, text):
    rewrite(victim, text=text)
    refused(victim, "does not hold the model its card describes")


def test_a_header_that_declares_more_than_the_file_is_refused(tmp_path):
    path = tmp_path / "huge.safetensors"
    entry = {"x": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}
    for header in (json.dumps(entry).encode(), b"{"):
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        refused(path, "cannot be read as a safetensors file")
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    refused(path, "cannot be read as a safetensors file")


def test_the_shipped_models_are_those_that_are_listed(monkeypatch):
    for name in codec.shipped_models():
        codec.load(name)
    monkeypatch.setattr(weights, "sha256", lambda _: type("Other", (), {"hexdigest": lambda _: "0" * 64})())
    with pytest.raises(NesfError, match=r"is not the model that was shipped, by its entry in SHA256SUMS"):
        codec.load("lcs6a")


def test_a_cell_that_would_take_forever_to_search_is_a_failure():
    one = Crystal.from_frac("long", [8], [[0, 0, 0]], np.diag([900.0, 900.0, 900.0]))
    settings = EstimationSettings(region="cell", max_extent=1000.0)
    for literal in (False, True):
        [found] = estimate(TrueField.of([one]), ["long"], settings, literal=literal)
        assert isinstance(found, Failure)
        assert "points; at most" in found.reason
    box = ((-1e30, 0.0, 0.0), (1e30, 1e30, 1.0))
    [found] = estimate(TrueField.of([testing.rocksalt()]), ["far"], EstimationSettings(), box=box)
    assert isinstance(found, Failure)


# --- names ---


@pytest.fixture(scope="module")
def hostile_crystals() -> list[Crystal]:
    salt = testing.rocksalt()
    return [Crystal(name, salt.numbers, salt.cart, salt.cell) for name in NAMES]


def test_names_of_crystals_never_leave_the_folder(tmp_path, hostile_crystals):
    inner = tmp_path / "a" / "b" / "c"
    paths = write_folder(hostile_crystals, inner, symmetrize=False)
    assert len({path.name.lower() for path in paths}) == len(NAMES)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {inner / name for name in [*(p.name for p in paths), "crystals.extxyz", "crystals.parquet"]}
    for path in paths:
        assert path.parent == inner
        assert path.name.isascii()
        assert path.name.isprintable()
        assert len(path.name) < 130
        assert path.name[0] not in ".-~"
        assert path.stem.split(".")[0].upper() not in {"CON", "NUL"}
    again = [one for one in read([inner / "crystals.parquet"]) if isinstance(one, Crystal)]
    assert [one.id for one in again] == NAMES


def test_a_command_writes_hostile_names_only_into_its_folder(tmp_path, hostile_crystals):
    from nesf.io import write_table

    write_table(tmp_path / "in.parquet", hostile_crystals[:4])
    folders = (tmp_path, tmp_path.parent, Path("/var/tmp"))  # noqa: S108 (it is only looked at)
    before = {path for folder in folders for path in folder.iterdir()}
    assert main(["reconstruct", "lcs6a", str(tmp_path / "in.parquet"), "--out", str(tmp_path / "deep" / "out")]) == 0
    after = {path for folder in folders for path in folder.iterdir()}
    assert after - before == {tmp_path / "deep"}


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path):
    write_left_out([Failure(name, "=1+1") for name in NAMES], tmp_path / "left_out.csv")
    with (tmp_path / "left_out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"].removeprefix("'") for row in rows] == NAMES
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


class Tags(HTMLParser):
    """All elements of a page with their attributes, and how many scripts there are."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


def point(name: str) -> Point:
    return Point(name, name, 0.0, 1.0, (4.0, 4.0, 4.0), 64.0, 8, 225, 0)


def test_names_on_the_map_are_text():
    hostile, harmless = ([point(name) for name in names] for names in (NAMES, ["a"] * len(NAMES)))
    page = map_page(hostile, ["cubic"], "</title><script>alert(1)</script>")
    assert [tag for tag, _ in tags(page)] == [tag for tag, _ in tags(map_page(harmless, ["cubic"], "title"))]
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page


def png(width: int, height: int) -> bytes:
    """A picture that declares a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def study(folder: Path, text: str, size: int = 10) -> None:
    """A study's folder in which every text is the given one."""
    folder.mkdir(parents=True)
    record = {
        **{"format": 1, "study": text, "title": text, "summary": text},
        **{"tables": {"t": {"title": text, "note": text}}, "pictures": {"p": text}, "pages": [], "values": {}},
        "provenance": {"command": text, text: [text, {text: text}], "started": text, "software": {"nesf": text}},
    }
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    (folder / "p.png").write_bytes(png(size, size))
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[text, text], [text, "1"]])


@pytest.mark.parametrize("text", NAMES)
def test_texts_of_a_study_are_text_on_the_page(tmp_path, text):
    for name, words in (("hostile", text), ("harmless", "word")):
        study(tmp_path / name / "one", words)
        write_report(tmp_path / name)
    pages = [tags((tmp_path / name / "report.html").read_text(encoding="utf-8")) for name in ("hostile", "harmless")]
    kinds = [[tag for tag, _ in page if tag != "code"] for page in pages]
    assert kinds[0] == kinds[1]
    assert not [attributes for _, attributes in pages[0] if any(name.startswith("on") for name in attributes)]


def test_a_picture_of_a_bomb_is_not_unpacked(tmp_path):
    study(tmp_path / "one", "word", size=60_000)
    report = write_report(tmp_path)
    assert report.broken == []
    assert 'src="data:image/png' in report.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": 1, "a": ' + "[" * 500 + "]" * 500 + "}"])
def test_a_record_without_end_is_left_out(tmp_path, text):
    study(tmp_path / "good", "word")
    study(tmp_path / "endless", "word")
    (tmp_path / "endless" / RECORD).write_text(text)
    [failure] = write_report(tmp_path).broken
    assert failure.id == "endless"


# --- dependencies ---


def test_the_static_check_for_security_is_on():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "S", "--show-settings", "src"],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    pyproject = (SOURCE / "pyproject.toml").read_text(encoding="utf-8")
    assert '"S", ' in pyproject.split("select = ")[1].split("\n")[0]
