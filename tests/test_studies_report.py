"""The page of all studies: self-contained, safe, complete, in a fixed order."""

import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from nesf.cli import main
from nesf.errors import NesfError
from nesf.plots import Figure
from nesf.studies import Outcome, Picture, Record, Table
from nesf.studies.report import LARGE_BYTES, write_report
from nesf.studies.rounding import is_amount, rounded
from nesf.studies.sections import collect

HOSTILE = "</h2><script>alert(1)</script><img src=http://evil/x onerror='alert(\"2\")'>&amp;"
SHA = "0123456789abcdef" * 4


def write(out: Path, study: str, folder: str | None = None, **parts: object) -> Path:
    """The folder of a made-up study."""
    outcome = Outcome(**{"title": f"About {study}", "summary": "All went well.", "values": {}} | parts)
    data = [{"name": "lcs6a_val.parquet", "sha256": SHA, "crystals": 286}]
    record = Record(study, f"nesf study {study}", 7, [], data, {"network": {"latent": 192}})
    record.write(outcome, out / (folder or study))
    return out / (folder or study)


def picture(caption: str = "A line.") -> Picture:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    return Picture(figure, caption)


class Tags(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _, attributes in self.found if attribute in attributes]


def page(out: Path) -> str:
    return write_report(out).path.read_text(encoding="utf-8")


def test_the_page_needs_no_network_and_no_script(tmp_path):
    write(tmp_path, "map", pictures={"plane": picture()}, pages={"plane": "<!doctype html>"})
    text = page(tmp_path)
    tags = Tags(text)
    assert tags.values("src")
    assert all(re.match("data:image/(png|webp);base64,", source) for source in tags.values("src"))
    assert all(re.match(r"#|data:,|map/plane\.(png|html)$", address) for address in tags.values("href"))
    assert {"map/plane.png", "map/plane.html"} <= set(tags.values("href"))
    assert not {"script", "iframe", "object", "embed", "base"} & {tag for tag, _ in tags.found}
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_pictures_are_embedded_without_loss(tmp_path):
    folder = write(tmp_path, "map", pictures={"plane": picture()})
    (source,) = Tags(page(tmp_path)).values("src")
    content = b64decode(source.partition(",")[2])
    assert len(content) < (folder / "plane.png").stat().st_size
    with Image.open(BytesIO(content)) as embedded, Image.open(folder / "plane.png") as written:
        assert embedded.convert("RGB").tobytes() == written.convert("RGB").tobytes()
    # What Pillow cannot read is left to the browser.
    damaged = (folder / "plane.png").read_bytes()[:200]
    (folder / "plane.png").write_bytes(damaged)
    (source,) = Tags(page(tmp_path)).values("src")
    assert b64decode(source.partition(",")[2]) == damaged


def test_the_contents_lead_to_the_sections(tmp_path):
    for name in ("map", "table1"):
        write(tmp_path, name)
    tags = Tags(page(tmp_path))
    anchors = [address[1:] for address in tags.values("href") if address.startswith("#")]
    assert anchors == [attributes["id"] for tag, attributes in tags.found if tag == "section"]
    assert len(anchors) == 2


def test_what_comes_from_files_is_text_and_never_markup(tmp_path):
    table = Table(HOSTILE, [HOSTILE, "x"], [[HOSTILE, 1.0]], HOSTILE)
    parts = {"tables": {"t'\"<b>": table}, "pictures": {"p": picture(HOSTILE)}, "pages": {"<i>": ""}}
    write(tmp_path, HOSTILE.replace("/", ""), "'><script>", title=HOSTILE, summary=HOSTILE, **parts)
    tags = Tags(page(tmp_path))
    assert not {"script", "i"} & {tag for tag, _ in tags.found}
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert all(source.startswith("data:") for source in tags.values("src"))
    # The title in the contents and above the section, the summary, the table's title, head, cell and note, the caption.
    assert tags.text.count(HOSTILE) == 8


def test_studies_have_a_fixed_order(tmp_path):
    write(tmp_path, "zebra")
    write(tmp_path, "another")
    for folder in ("table1-ybco-like", "table1-lcs6a", "table1-icsg3d"):
        write(tmp_path, "table1", folder)
    for study in ("search", "properties", "map", "errors-by-size", "interpolate", "sensitivity", "reconstructions"):
        write(tmp_path, study)
    assert [section.folder for section in collect(tmp_path)[0]] == [
        *["table1-icsg3d", "table1-lcs6a", "table1-ybco-like"],
        *["errors-by-size", "reconstructions", "interpolate", "map", "properties", "sensitivity", "search"],
        *["another", "zebra"],
    ]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "errors.csv").unlink(), "errors.csv"),
        (lambda folder: (folder / "errors.csv").write_text("a,b\n1\n"), "another length"),
        (lambda folder: (folder / "line.png").write_bytes(b"GIF89a"), "line.png is not a PNG"),
        (lambda folder: (folder / "page.html").unlink(), "page.html is missing"),
        (lambda folder: (folder / "study.json").write_text("{"), "study.json"),
        (lambda folder: (folder / "study.json").write_text('{"format": 1}'), "lacks 'study'"),
        (lambda folder: (folder / "study.json").write_text('{"format": 99}'), "format"),
        (lambda folder: change(folder, tables=["x"]), "study.json"),
        (lambda folder: change(folder, pictures={"../good/line": "x"}), "is not the name of a file"),
    ],
)
def test_a_broken_folder_is_one_sentence_on_the_page_and_on_the_standard_error(tmp_path, capsys, damage, said):
    for folder in ("bad", "good"):
        parts = {"tables": {"errors": Table("T", ["a"], [[1]])}, "pictures": {"line": picture()}, "pages": {"page": ""}}
        write(tmp_path, "map", folder, **parts)
    damage(tmp_path / "bad")
    assert main(["study", "report", "--out", str(tmp_path)]) == 0
    # Long paths are broken anywhere.
    shown = "".join(capsys.readouterr().err.split())
    text = " ".join(Tags((tmp_path / "report.html").read_text(encoding="utf-8")).text.split())
    assert said in text
    assert said.replace(" ", "") in shown
    assert "The folder bad is left out" in text
    assert [section.folder for section in collect(tmp_path)[0]] == ["good"]


def change(folder: Path, **entries: object) -> None:
    path = folder / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_commands_are_set_as_such(tmp_path):
    write(tmp_path, "search", summary="Train: `nesf train a.parquet --preset <fast>`")
    assert "<code>nesf train a.parquet --preset &lt;fast&gt;</code>" in page(tmp_path)


def test_no_study_is_an_error(tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    assert main(["study", "report", "--out", str(tmp_path)]) == 1
    assert "holds no study; run one" in capsys.readouterr().err
    (tmp_path / "bad" / "study.json").write_text("{")
    with pytest.raises(NesfError, match="that can be read"):
        collect(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_long_tables_say_what_is_left_out_and_where_it_is(tmp_path):
    rows = [[f"name{i}", i + 0.5] for i in range(45)]
    write(tmp_path, "map", tables={"all": Table("T", ["id", "x"], rows), "few": Table("U", ["id", "x"], rows[:40])})
    text = page(tmp_path)
    assert "name39" in text
    assert "name40" not in text
    assert text.count("more rows") == 1
    assert "<summary>T (45 rows)</summary>" in text
    assert '5 more rows: <a href="map/all.csv">' in text


def test_provenance_is_complete(tmp_path):
    write(tmp_path, "map")
    text = Tags(page(tmp_path)).text
    for part in (
        "nesf study map",
        SHA,
        "lcs6a_val.parquet",
        "network.latent: 192",
        "seed7",
        "hardware",
        "torch: ",
        "minutes",
    ):
        assert part in text


def test_numbers_are_rounded_and_on_the_right(tmp_path):
    rows = [["ours", 0.123456789, 5.0, None, 286, "6.33 ± 0.63"], ["mp-1", 12.3456789, 0.25, None, 7, "0.1 ± 0.2"]]
    write(tmp_path, "map", tables={"t": Table("T", ["id", "a", "b", "c", "n", "text"], rows)})
    text = page(tmp_path)
    for cell in (
        '"n">12.35<',
        '"n">0.123<',
        '"n">5.00<',
        '"n">0.25<',
        ">–<",
        '"n">286<',
        '"n">6.33 ± 0.63<',
        ">mp-1<",
    ):
        assert cell in text


def test_rounding_keeps_what_matters():
    assert rounded(["0.1", "", "0.02"]) == ["0.10", "–", "0.02"]
    assert rounded(["0.1", "1", "0.02"]) == ["0.1", "1", "0.02"]
    assert rounded(["1e-05", "1.0", "0.00052345", "nan", "-inf", "7", "x"]) == [
        *["1e-05", "1.0", "0.000523", "nan", "-inf", "7", "x"],
    ]
    # What was measured and is next to nothing is no figure, but what was set is.
    assert rounded(["2.50448e-06", "-0.000204123", "0.00025", "23.4577"]) == ["0.000", "0.000", "0.00025", "23.46"]
    assert rounded(["1234.5678", "-0.0"]) == ["1235", "-0"]
    assert not any(map(is_amount, ("mp-10695", "YBa2Cu3O7", "-", "2 files", "1.2.3 (beta)")))


def test_the_size_is_told_and_a_large_page_is_warned_of(tmp_path, capsys, monkeypatch):
    write(tmp_path, "map", pictures={"plane": picture()})
    assert main(["study", "report", "--out", str(tmp_path)]) == 0
    assert re.search(r"1 study, \d+ kB", " ".join(capsys.readouterr().err.split()))
    monkeypatch.setattr("nesf.studies.report.LARGE_BYTES", 1000)
    assert main(["study", "report", "--out", str(tmp_path)]) == 0
    assert "largest picture is map/plane.png" in " ".join(capsys.readouterr().err.split())
    assert LARGE_BYTES == 3_000_000
