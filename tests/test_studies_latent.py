"""Studies of latent vectors: their laws, on the shipped model and on planted vectors."""

import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import nesf
from nesf.cli import main
from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.data.datasets import Dataset, load_dataset
from nesf.errors import NesfError
from nesf.extras import require
from nesf.io import convert, read, write_cif, write_table
from nesf.plots import map_page
from nesf.plots.latent_page import Point
from nesf.plots.parity import Parity, parities
from nesf.plots.strips import Panel, strip
from nesf.studies import interpolation, latent_map, properties
from nesf.studies.endpoints import describe_files, find_usable
from nesf.studies.published_properties import published_prediction
from nesf.studies.quantities import check_quantities
from nesf.studies.regression import predict
from nesf.testing import hexagonal, perovskite, rocksalt

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>$x^{$"


@pytest.fixture(scope="module")
def model() -> Codec:
    return nesf.load("lcs6a-paper")


@pytest.fixture(scope="module")
def textbook(model: Codec) -> Dataset:
    """The embedded crystals, with one number of each as a property where it is told."""
    data = load_dataset("textbook")
    known = [c for c in data.crystals if model.refusal(c) is None]
    told = [
        Crystal(c.id, c.numbers, c.cart, c.cell, {"length": float(c.lengths[0])} if i % 4 else {})
        for i, c in enumerate(known)
    ]
    refused = [c for c in data.crystals if model.refusal(c) is not None][:3]
    return Dataset("told", (*told, *refused), (), "0" * 64)


def test_the_ends_of_an_interpolation_are_the_reconstructions_of_the_ends(model: Codec) -> None:
    ends = [rocksalt(), perovskite()]
    found = interpolation.interpolate(model, *ends, steps=4)
    assert len(found) == 5
    for one, again in zip((found[0], found[-1]), model.reconstruct(ends), strict=True):
        assert one.formula == again.formula
        assert np.allclose(one.cell, again.cell, atol=1e-4)
        # Which of two equally good atoms is found first is a matter of rounding.
        distances = np.linalg.norm(one.cart[:, None] - again.cart, axis=-1)
        distances[one.numbers[:, None] != again.numbers] = np.inf
        assert len(one) == len(again)
        assert sorted(distances.argmin(1)) == list(range(len(one)))
        assert distances.min(1).max() < 1e-3


def test_between_a_crystal_and_itself_there_is_nothing_else(model: Codec) -> None:
    (run,) = interpolation.chain(interpolation.interpolate(model, rocksalt(), rocksalt(), steps=3))
    assert (run.formula, run.first, run.last, len(run.members)) == ("NaCl", 0.0, 1.0, 4)


def test_equal_formulas_that_follow_each_other_are_one_run_and_failures_stay() -> None:
    salt, other, lost = rocksalt(), perovskite(), Failure("x", "no atoms")
    runs = interpolation.chain([salt, salt, other, lost, lost, salt])
    nothing = interpolation.NOTHING
    assert [run.formula for run in runs] == ["NaCl", "SrTiO3", nothing, "NaCl"]
    assert [(run.first, run.last) for run in runs] == [(0.0, 0.2), (0.4, 0.4), (0.6, 0.8), (1.0, 1.0)]
    assert runs[2].members == (lost, lost)


def test_a_chain_of_rocksalts_stays_one(model: Codec, textbook: Dataset) -> None:
    ends = find_usable(model, ["MgO-rocksalt", "CaO-rocksalt"], [textbook])
    found = interpolation.interpolate(model, ends["MgO-rocksalt"], ends["CaO-rocksalt"], steps=20)
    runs = interpolation.chain(found)
    assert (runs[0].formula, runs[-1].formula) == ("MgO", "CaO")
    assert {len(one) for one in found if isinstance(one, Crystal)} == {8}
    assert all(a.last < b.first for a, b in pairwise(runs))


def test_a_step_that_fails_keeps_its_row_with_the_reason(model: Codec) -> None:
    def decode(z: np.ndarray, ids: list[str]) -> list[Crystal | Failure]:
        assert z.shape == (3, 192)
        return [rocksalt(), Failure(ids[1], "the field has no atoms"), perovskite()]

    codec = Codec(model.model, model.card)
    codec.decode = decode  # type: ignore[method-assign, assignment]
    found = interpolation.study(codec, [(rocksalt(), perovskite())], steps=2)
    (name,) = found.pictures
    assert [row[1] for row in found.tables[name].rows] == ["NaCl", None, "SrTiO3"]
    assert found.tables[name].rows[1][-1] == "the field has no atoms"
    assert found.values["pairs"][name]["found"] == 2
    assert "2 of 3 steps gave a crystal" in found.summary


def test_the_chain_of_the_paper_stands_beside_ours(model: Codec) -> None:
    ends = rocksalt().renamed("mp-10695"), rocksalt().renamed("mp-2469")
    rows = interpolation.study(model, [ends], steps=1).tables["chains"].rows
    assert [row[1] for row in rows] == ["nesf", "paper, Fig. 5"]
    assert rows[0][-1] == "NaCl"
    assert rows[1][-1] == "ZnS → MgZn3S4 → MgZnS2 → Mg3ZnS4 → MgS → MgCd3S4 → CdS"
    assert rows[1][2] == 7


def test_ends_are_files_or_ids_and_what_cannot_be_used_says_why(model: Codec, tmp_path: Path) -> None:
    write_cif(rocksalt(), tmp_path / "salt.cif")
    write_table(tmp_path / "two.parquet", [rocksalt(), perovskite()])
    primitive = convert(rocksalt(), "primitive").renamed("primitive")
    data = Dataset("mine", (perovskite(), hexagonal(), primitive), (), "0" * 64)
    names = [str(tmp_path / "salt.cif"), "SrTiO3", "Mg", "primitive", "nowhere", str(tmp_path / "two.parquet")]
    found = find_usable(model, names, [data])
    assert [getattr(found[name], "formula", None) for name in names] == ["NaCl", "SrTiO3", None, None, None, None]
    reasons = [found[name].reason for name in names[2:]]
    assert "obtuse" in reasons[0]
    assert "--cell conventional" in reasons[1]
    assert "mine" in reasons[2]
    assert "2 crystals" in reasons[3]
    assert len(find_usable(model, ["primitive"], [data], "conventional")["primitive"]) == 8


def test_interpolate_goes_on_without_the_ends_that_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "t.parquet", [rocksalt(), perovskite()])
    table = ["--data", str(tmp_path / "t.parquet"), "--steps", "2", "--out", str(tmp_path)]
    assert main(["study", "interpolate", "lcs6a-paper", "NaCl", "SrTiO3", "NaCl", "nowhere", *table]) == 0
    shown = capsys.readouterr()
    assert "nowhere" in shown.err
    record = json.loads((tmp_path / "interpolate" / "study.json").read_text())
    assert list(record["values"]["pairs"]) == ["NaCl-to-SrTiO3"]
    assert [one["id"] for one in record["values"]["left_out"]] == ["nowhere"]
    rows = (tmp_path / "interpolate" / "NaCl-to-SrTiO3.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    assert (tmp_path / "interpolate" / "NaCl-to-SrTiO3.png").stat().st_size > 10_000
    assert record["provenance"]["settings"]["files"] == []
    assert "paper" not in record["tables"]["chains"]["note"]
    folder = tmp_path / "interpolate" / "structures" / "NaCl-to-SrTiO3"
    chain = [link["formula"] for link in record["values"]["pairs"]["NaCl-to-SrTiO3"]["chain"]]
    wanted = [f"{i:02d}-{name}.cif" for i, name in enumerate(chain, 1) if name != interpolation.NOTHING]
    assert sorted(path.name for path in folder.glob("*.cif")) == wanted
    steps = read(folder / "steps.extxyz")
    assert len(steps) == record["values"]["pairs"]["NaCl-to-SrTiO3"]["found"]
    (first,) = read(folder / "01-NaCl.cif")
    assert np.allclose(first.cell, steps[0].cell, atol=1e-4)
    assert len(first) == len(steps[0])
    # Other ends take the place of these.
    assert main(["study", "interpolate", "lcs6a-paper", "SrTiO3", "NaCl", *table]) == 0
    assert [path.name for path in (tmp_path / "interpolate").glob("*.png")] == ["SrTiO3-to-NaCl.png"]
    assert [path.name for path in (tmp_path / "interpolate" / "structures").iterdir()] == ["SrTiO3-to-NaCl"]
    capsys.readouterr()
    for ends in (["nowhere", "NaCl"], ["NaCl"], []):
        assert main(["study", "interpolate", "lcs6a-paper", *ends, *table]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 3


def test_ends_given_as_files_are_recorded_with_their_hash(tmp_path: Path) -> None:
    write_cif(rocksalt(), tmp_path / "salt.cif")
    names = [str(tmp_path / "salt.cif"), "NaCl-rocksalt", str(tmp_path / "salt.cif")]
    (one,) = describe_files(names)
    assert one == {"name": names[0], "sha256": hashlib.sha256((tmp_path / "salt.cif").read_bytes()).hexdigest()}


def test_a_strip_draws_failures_and_names_with_markup(tmp_path: Path) -> None:
    panels = [Panel(rocksalt(), "NaCl", ["Fm-3m"], 0.0, 0.4), Panel(None, "no crystal", [HOSTILE], 0.6, 1.0)]
    figure = strip(panels, [0.0, 0.4, 0.6, 1.0], [(5.6, 5.6, 5.6)] * 2 + [None] * 2, HOSTILE)
    figure.savefig(tmp_path / "strip.png")


def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Three planted clusters of latent vectors, and which one each vector is in."""
    kind = np.arange(60) % 3
    return np.eye(3, 12)[kind] * 30 + np.random.default_rng(0).normal(size=(60, 12)), kind


def test_a_map_keeps_planted_clusters_apart_and_the_figures_say_so() -> None:
    z, kind = clusters()
    places = latent_map.embed(z, "tsne", seed=0, perplexity=8.0)
    assert np.array_equal(places, latent_map.embed(z, "tsne", seed=0, perplexity=8.0))
    attributes = latent_map.Attributes(10.0 ** (1 + kind), 1 + kind, 1 + 100 * kind, 0)
    kept = latent_map.agreement(z, places, attributes, seed=0)
    for where in ("latent", "map"):
        assert kept[where] == {"volume": 0.0, "atoms": 1.0, "group": 1.0, "system": 1.0}
    # Of the 59 others, 19 are in the same cluster; two clusters differ by a factor of 10 or 100.
    assert kept["any_two"]["atoms"] == pytest.approx(19 / 59)
    assert kept["any_two"]["volume"] == pytest.approx(np.log(10) * (2 / 3 + 2 / 3) * 40 / 59)
    assert kept["trustworthiness"] > 0.85
    shuffled = latent_map.agreement(np.random.default_rng(1).permutation(z), places, attributes, seed=0)
    assert shuffled["trustworthiness"] < 0.7
    assert shuffled["latent"]["group"] < 0.6


def test_groups_come_from_the_data_set_or_are_found() -> None:
    salt = rocksalt()
    named = [Crystal("x", salt.numbers, salt.cart, salt.cell, {"spacegroup": value}) for value in (1, 2.0, "Fm-3m", 0)]
    attributes = latent_map.Attributes.of((*named, salt))
    assert attributes.group.tolist() == [1, 2, 225, 225, 225]
    assert attributes.given == 2
    assert [latent_map.SYSTEMS[i] for i in attributes.system] == ["triclinic"] * 2 + ["cubic"] * 3
    assert attributes.volume[0] == pytest.approx(5.64**3)


def test_a_map_counts_what_is_refused(model: Codec, textbook: Dataset) -> None:
    outcome = latent_map.study(model, textbook, perplexity=1000.0)
    assert len(outcome.values["refused"]) == 3
    assert outcome.values["crystals"] == len(textbook.crystals) - 3 == len(outcome.tables["coordinates"].rows)
    assert outcome.values["perplexity"] < len(textbook.crystals) / 3
    assert textbook.crystals[0].id in outcome.pages["map"]
    with pytest.raises(NesfError, match="at least 4 crystals"):
        latent_map.study(model, Dataset("few", (rocksalt(),), (), ""))


@pytest.mark.parametrize("method", ["tsne", "umap"])
@pytest.mark.parametrize(
    "words", [("--perplexity", "-1"), ("--perplexity", "0"), ("--perplexity", "nan"), ("--seed", "-1")]
)
def test_no_map_is_drawn_with_settings_that_are_none(
    method: str, words: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "map", "lcs6a-paper", "textbook", "--method", method, *words, "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words[0].removeprefix("--") in line
    assert words[1] in line


def test_the_page_can_be_coloured_by_space_group() -> None:
    points = [Point(f"{i}", "NaCl", 0.0, 0.0, (1.0, 1.0, 1.0), 1.0, 8, group, 0) for i, group in enumerate((1, 225))]
    page = map_page(points, latent_map.SYSTEMS, "groups")
    for name in ("cell volume", "number of atoms", "crystal system", "space group"):
        assert f'"label":"{name}"' in page
    assert '"marker.color":[[1,225]]' in page
    assert '"marker.cmax":[230]' in page


def test_hostile_names_are_text_in_the_page() -> None:
    page = map_page([Point(HOSTILE, "NaCl", 0.0, 0.0, (1.0, 1.0, 1.0), 1.0, 8, 225, 0)], latent_map.SYSTEMS, HOSTILE)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 1
    # Nothing is fetched, so the page works without a network.
    assert '<script src="' not in page
    assert len(page) > 1_000_000


def test_a_linear_property_is_predicted_and_chance_is_not() -> None:
    draw = np.random.default_rng(0)
    z, weights = draw.normal(size=(400, 6)).astype(np.float32), draw.normal(size=6)
    noise = draw.normal(size=400)
    for y, low, high in ((z @ weights, 0.9, 1.0), (noise, -1.5, 0.3)):
        train, test = (z[:300], y[:300].astype(np.float64)), (z[300:], y[300:].astype(np.float64))
        assert low < predict("svr", train, test).r2[0] <= high
    linear = (z @ weights).astype(np.float64)
    runs = predict("mlp", (z[:300], linear[:300]), (z[300:], linear[300:]), seeds=2)
    assert runs.predicted.shape == (2, 100)
    assert min(runs.r2) > 0.95
    assert len(set(runs.r2)) == 2
    assert len(runs.epochs) == 2


def test_r2_and_mae_are_those_of_the_textbooks() -> None:
    train = np.zeros((4, 2), np.float32), np.array([0.0, 1.0, 2.0, 3.0])
    mean = predict("mean", train, (np.zeros((2, 2), np.float32), np.array([1.0, 2.0])))
    assert mean.r2 == [0.0]
    assert mean.mae == [0.5]
    assert np.isnan(predict("mean", train, (train[0][:2], np.ones(2))).r2).all()
    # Weighted by distance, a vector that is known has its own value, as in the paper's table.
    z, y = np.arange(20, dtype=np.float32)[:, None], np.arange(20.0) ** 2
    assert predict("knn", (z, y), (z, y)).r2 == [1.0]


def test_rows_without_a_value_are_counted_and_left_out(model: Codec, textbook: Dataset) -> None:
    outcome = properties.study(model, textbook, textbook, properties=["length"], seeds=1)
    told = sum("length" in crystal.properties for crystal in textbook.crystals)
    assert 0 < told < len(textbook.crystals) - 3
    (name,) = outcome.values["properties"]
    assert outcome.values["properties"][name]["known_train"] == told
    rows = {row[1]: row for row in outcome.tables["properties"].rows}
    assert rows["kNN"][2:4] == [told, told]
    assert rows["kNN"][4] == pytest.approx(1.0, abs=1e-6)
    assert abs(rows["mean of training"][4]) < 1e-9
    assert "refuses 3 crystals" in outcome.tables["properties"].note
    assert [one["id"] for one in outcome.values["train"]["refused"]] == [c.id for c in textbook.crystals[-3:]]
    with pytest.raises(NesfError, match="'hardness'"):
        properties.study(model, textbook, textbook, properties=["hardness"])


def test_a_property_known_of_too_few_is_a_row_without_figures(model: Codec, textbook: Dataset) -> None:
    few = Dataset("few", textbook.crystals[:8], (), "")
    outcome = properties.study(model, few, few, properties=["length"], seeds=1)
    assert outcome.tables["properties"].rows == [["length", "too few values", 6, 6, *[None] * 4]]
    assert outcome.pictures == {}


def test_crystals_that_are_known_already_are_counted_and_said(model: Codec, textbook: Dataset) -> None:
    half = Dataset("half", textbook.crystals[::2], (), "")
    rest = Dataset("rest", textbook.crystals[1::2], (), "")
    for test, shared in ((half, len(half.crystals)), (rest, 0)):
        found = properties.study(model, half, test, properties=["length"], seeds=1)
        assert len(found.values["shared_ids"]) == shared
        assert ("too good" in found.summary) == bool(shared)
        # Such words are for the tables of the paper.
        assert "joined" not in found.tables["properties"].note


def test_what_is_no_quantity_is_not_predicted() -> None:
    salt = rocksalt()
    columns = {"spacegroup": 225, "in_train_of": "mp20", "stable": True, "gap": None, "length": 5.6}
    data = Dataset("t", (Crystal("x", salt.numbers, salt.cart, salt.cell, columns),), (), "")
    check_quantities(["gap", "length"], data)
    for name in ("spacegroup", "in_train_of", "stable"):
        with pytest.raises(NesfError, match=f"'{name}' of t .* no quantity to predict; it has gap, length"):
            check_quantities([name], data)


def test_any_name_of_a_property_can_be_drawn(tmp_path: Path) -> None:
    values = np.arange(3.0)
    parities([[Parity(values, values, "SVR", HOSTILE, "R² = 1")]]).savefig(tmp_path / "parity.png")


def test_the_rows_of_the_paper_are_read_as_printed_and_exchanged() -> None:
    def r2(*given: object) -> float:
        return published_prediction(*given).r2  # type: ignore[arg-type, union-attr]

    assert r2("lcs6a_test.parquet", "mlp", "energy_above_hull") == 0.7143
    assert r2("icsg3d_test.parquet", "knn", "band_gap") == 0.6111
    assert r2("lcs6a_test.parquet", "svr", "total_magnetization", True) == -0.0273
    assert r2("lcs6a_test.parquet", "svr", "band_gap", True) == r2("lcs6a_test.parquet", "svr", "band_gap")
    assert published_prediction("mine.parquet", "svr", "band_gap") is None
    # By its own errors, the paper's hull energies of LCS6Å would scatter by 2.5 eV/atom.
    row = published_prediction("lcs6a_train.parquet", "svr", "energy_above_hull")
    assert row is not None
    assert row.variance**0.5 == pytest.approx(2.47, abs=0.01)


@pytest.mark.parametrize(("module", "cure"), [("sklearn", ".[studies]"), ("plotly", ".[studies]"), ("umap", ".[umap]")])
def test_a_missing_package_is_one_sentence(
    module: str, cure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NesfError, match="not installed"):
        require(module)
    write_cif(rocksalt(), tmp_path / "salt.cif")
    words = [
        "study",
        "map",
        "lcs6a-paper",
        str(tmp_path / "salt.cif"),
        "--method",
        "umap",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f'pip install -c constraints.txt "{cure}"' in line
    assert not (tmp_path / "out").exists()
