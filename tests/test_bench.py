"""Benchmarks: the references compute what the package computes, and every number of the report is there."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from nesf import codec
from nesf.bench import page
from nesf.bench.agreement import agreement_of, difference, full_agreement
from nesf.bench.effort import QUICK
from nesf.bench.learning_curve import learning_curve
from nesf.bench.literal_network import LiteralNetwork
from nesf.bench.literal_training import Example, LiteralTraining, literal_loss
from nesf.bench.memory import MemoryGauge
from nesf.bench.peak import QueryCost, counted_flops
from nesf.bench.suite import measure
from nesf.bench.timing import interleaved
from nesf.bench.training_speed import asked
from nesf.bench.workload import box_of, mean_atoms, spread, synthetic, vocabulary_of
from nesf.cli import main
from nesf.config import FAST, PAPER
from nesf.crystal import Crystal, CrystalBatch, Failure
from nesf.errors import NesfError
from nesf.fields.sampling import Queries
from nesf.io import write_table
from nesf.model import Autoencoder
from nesf.plots import growth
from nesf.testing import caesium_chloride, known_crystals, perovskite, rocksalt
from nesf.training.losses import Targets, losses
from test_architecture import CORE_PACKAGES, dependencies

CPU = torch.device("cpu")
TINY = replace(
    QUICK,
    seconds=0.0,
    rounds=1,
    batches=(2,),
    preset_steps=1,
    decode=3,
    literal=1,
    released=1,
    growth=(1, 2),
    queries=(8, 16),
    chunk=2,
)
# Without dropout, whose noise no two programs share.
NETWORK = replace(PAPER.network, dropout=0.0)
COARSE = replace(codec.load("lcs6a-paper").card.config.estimation, interval=2.0, min_particles=1, iterations=3)


@pytest.fixture(scope="module")
def model() -> codec.Codec:
    """The shipped model, with an estimation that takes no time."""
    shipped = codec.load("lcs6a-paper")
    return codec.Codec(shipped.model, replace(shipped.card, config=replace(shipped.card.config, estimation=COARSE)))


@pytest.fixture(scope="module")
def values(model) -> dict:
    """The report of a tiny run."""
    crystals = synthetic(model.card.domain.vocabulary, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nesf.bench.peak.QUICK_SHAPES", ((64, 64, 64),))
        patch.setattr("nesf.bench.decoding_speed.RELEASED", replace(PAPER, estimation=COARSE))
        patch.setattr("nesf.bench.training_speed.PAPER", replace(PAPER, sampling=FAST.sampling))
        patch.setattr("nesf.bench.training_speed.LiteralTraining", FewerQueries)
        return measure(model, crystals, crystals, TINY, print).to_dict()


class FewerQueries(LiteralTraining):
    """The literal training, on a global grid of one point."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.global_grid = self.global_grid[:1]


def literal(crystals, **options) -> LiteralTraining:
    return LiteralTraining(
        crystals, vocabulary_of(crystals), NETWORK, PAPER.sampling, PAPER.loss, box=box_of(crystals), batch=5, **options
    )


def as_targets(example: Example) -> Targets:
    """The same queries and values as the package's training takes them."""

    def queries(points, counts) -> Queries:
        owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        return Queries(points, owner, None)

    position = queries(example.position_points, example.position_counts)
    species = queries(example.species_points, example.species_counts)
    return Targets(position, species, example.vectors, example.species)


def double(values):
    """A batch in double precision, in which no rounding tips a ReLU to its other side."""
    floats = {k: v.double() for k, v in vars(values).items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
    return replace(values, **floats)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_literal_training_has_the_losses_and_gradients_of_the_package(training):
    crystals = list(known_crystals())
    reference = literal(crystals)
    torch.manual_seed(0)
    package = Autoencoder(NETWORK, vocabulary_of(crystals)).double()
    for name, value in package.named_buffers():
        if "running" in name:  # statistics that evaluation can be seen to use
            value.uniform_(0.5, 1.5)
    network = LiteralNetwork.like(package.train(training)).double()
    batch = double(Example.collate([reference.example(i) for i in range(len(crystals))]))
    theirs = losses(package, double(CrystalBatch.from_crystals(crystals)), as_targets(batch), PAPER.loss)
    ours = literal_loss(network, batch, PAPER.loss)
    assert {name: value.item() for name, value in ours.items()} == pytest.approx(
        {name: value.item() for name, value in theirs.items()}, rel=1e-5
    )
    ours["total"].backward()
    theirs["total"].backward()
    wanted = {name.replace("layers.", ""): value.grad for name, value in package.named_parameters()}
    found = {name: value.grad for name, value in network.named_parameters()}
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        scale = 1e-4 * float(wanted[name].abs().max())
        torch.testing.assert_close(gradient, wanted[name], rtol=0, atol=scale, msg=name)


def test_literal_network_has_the_outputs_of_the_package(model):
    crystals = list(known_crystals())
    package = Autoencoder(NETWORK, vocabulary_of(crystals)).eval()
    network = LiteralNetwork.like(package)
    z = torch.randn(3, NETWORK.latent)
    points, owner = torch.rand(50, 3) * 6, torch.arange(50) % 3
    field = package.decode_field(z)
    torch.testing.assert_close(
        network.position_field(z[owner], points), field.displacement(points, owner), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        network.species_field(z[owner], points), field.species_logits(points, owner), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(NesfError, match="preset paper"):
        LiteralNetwork.like(model.model)


def test_literal_training_learns_and_asks_as_often_as_the_package():
    crystals = list(known_crystals())
    training = literal(crystals)
    example = Example.collate([training.example(i) for i in range(len(crystals))])
    wanted = asked(PAPER.sampling, crystals, box_of(crystals))
    assert (len(example.position_points), len(example.species_points)) == wanted
    first = training.step(example)
    for _ in range(5):
        last = training.step(example)
    assert last < 0.8 * first
    assert training.epoch()[0] == len(crystals)


def test_flops_by_widths_are_those_that_pytorch_counts():
    package = Autoencoder(PAPER.network, vocabulary_of(known_crystals())).eval()
    field = package.decode_field(torch.randn(1, PAPER.network.latent))
    points, owner = torch.rand(100, 3), torch.zeros(100, dtype=torch.long)
    cost = QueryCost.of(PAPER.network, len(package.vocabulary))
    assert counted_flops(lambda: field.displacement(points, owner)) == pytest.approx(100 * cost.position, rel=0.02)
    assert counted_flops(lambda: field.species_logits(points, owner)) == pytest.approx(100 * cost.species, rel=0.02)


def test_timing_counts_rounds_and_takes_the_median():
    ran = []
    timings = interleaved({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, CPU, least=3)
    assert ran == ["a", "b"] * 4  # a warm-up and three rounds, in turns
    assert timings["a"].repeats == 3
    assert 0 < timings["a"].fastest <= timings["a"].seconds <= timings["a"].slowest


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system keeps earlier peaks")
def test_memory_of_a_job_is_seen():
    size = 200 << 20
    gauge = MemoryGauge(CPU)
    assert gauge.peak_of(lambda: torch.ones(size, dtype=torch.uint8)) == pytest.approx(size, rel=0.1)


def test_synthetic_crystals_are_as_large_as_those_of_lcs6a_and_repeatable():
    data = synthetic(vocabulary_of(known_crystals()), 50)
    assert mean_atoms(data.crystals) == pytest.approx(6.4)
    assert data.sha256 == synthetic(vocabulary_of(known_crystals()), 50).sha256
    assert data.sha256 != synthetic(vocabulary_of(known_crystals()), 50, seed=1).sha256


def test_few_crystals_stand_for_all_by_volume():
    small, middle, large = perovskite(), caesium_chloride(), rocksalt()  # 60, 70 and 179 Å³
    assert spread([large, small, middle], 3) == [small, middle, large]
    assert spread([large, small, middle], 1) == [middle]


def moved(crystal: Crystal, by: float) -> Crystal:
    return Crystal(crystal.id, crystal.numbers, crystal.cart + np.array([by, 0, 0]), crystal.cell)


def test_agreement_lists_what_differs():
    salt, lost = rocksalt(), Failure("NaCl", "No atom was found in the field.")
    other = Crystal(salt.id, salt.numbers[::-1], salt.cart, salt.cell)
    fewer = Crystal(salt.id, salt.numbers[1:], salt.cart[1:], salt.cell)
    assert difference(salt, moved(salt, 0.009)) is None
    assert difference(lost, lost) is None
    assert "0.011 Å" in difference(salt, moved(salt, 0.011))
    assert "elements" in difference(salt, other)
    assert "7 atoms, literally 8" in difference(fewer, salt)
    assert "literal path only" in difference(lost, salt)
    found = agreement_of([salt, salt, lost, lost], [salt, fewer, salt, lost])
    assert (found.crystals, found.compared, found.neither, len(found.different)) == (4, 2, 1, 2)
    assert found.percent == 50.0


def test_full_agreement_scores_both_paths(model, values):
    crystals = [perovskite(), caesium_chloride()]
    found = full_agreement(model, crystals)
    assert found["crystals"] == 2
    assert {path: scores["n"] for path, scores in found["scores"].items()} == {"fast": 2, "literal": 2}
    shown = {**values, "full_agreement": found}
    assert page.tables(shown)[-1].heads == ("metric", "fast", "literal")
    assert "Of 2 crystals" in page.agreement_text(shown)


def test_the_report_has_all_headline_numbers(values):
    numbers = [
        "decode_per_second",
        "decode_reference_per_second",
        "decode_literal_per_second",
        "encode_per_second",
        "train_per_second",
        "train_reference_per_second",
        "train_fast_preset_per_second",
        "peak_share",
        "train_peak_share",
        "peak_memory_bytes",
        "threads",
    ]
    assert [name for name in numbers if not values[name] > 0] == []
    assert all(ratio > 0 and math.isfinite(ratio) for ratio in values["ratios"].values())
    assert values["ratios"]["decode"] == pytest.approx(
        values["decode_per_second"] / values["decode_reference_per_second"]
    )
    assert values["device"]
    assert len(values["data"]["sha256"]) == 64
    assert [series["size"] for series in values["growth"]] == ["atoms per cell", "crystals", "queries"]
    assert json.loads(json.dumps(values)) == json.loads(json.dumps(values, allow_nan=False))


def test_the_page_holds_the_numbers_and_the_plot_a_panel_for_each_series(values):
    text = page.markdown(values, "benchmarks.svg")
    assert values["device"] in text
    assert "](benchmarks.svg)" in text
    for table in page.tables(values):
        assert all(len(row) == len(table.heads) for row in table.rows)
        assert f"## {table.title}" in text
    figure = growth(values["growth"])
    assert [axes.get_xscale() for axes in figure.axes] == ["log"] * 3
    assert [axes.get_xlabel() for axes in figure.axes] == [series["size"] for series in values["growth"]]


def test_crystals_outside_the_model_are_refused(model):
    strange = Crystal.from_frac("far", [1], [[0, 0, 0]], torch.eye(3).numpy() * 50)
    data = replace(synthetic(model.card.domain.vocabulary, 1), crystals=(strange,))
    with pytest.raises(NesfError, match="takes no crystal"):
        measure(model, data, data, TINY, print)


def test_learning_curve_ends_in_time_and_counts_training_only():
    crystals = list(known_crystals())
    config = replace(FAST, estimation=COARSE, training=replace(FAST.training, epochs=3, batch=5))
    points = list(learning_curve(config, crystals, crystals, CPU, minutes=10.0, every=0.0))
    assert [point.epoch for point in points] == [1, 2, 3]
    assert all(0 < point.seconds < point.wall_seconds for point in points)
    assert points[0].score["n"] == len(crystals)
    assert not points[0].reaches_paper()
    assert [point.epoch for point in learning_curve(config, crystals, crystals, CPU, minutes=0.0, every=100.0)] == [1]


def test_the_command_writes_what_it_is_asked_for(tmp_path, monkeypatch, values):
    class Measured:
        def to_dict(self) -> dict:
            return values

    monkeypatch.setattr("nesf.bench.suite.measure", lambda *_: Measured())
    files = [tmp_path / name for name in ("bench.json", "docs/benchmarks.md", "docs/benchmarks.svg")]
    options = [word for pair in zip(("--json", "--markdown", "--plot"), map(str, files), strict=True) for word in pair]
    write_table(tmp_path / "crystals.parquet", known_crystals())
    assert main(["bench", "--quick", "--data", str(tmp_path / "crystals.parquet"), *options]) == 0
    assert json.loads(files[0].read_text(encoding="utf-8"))["device"] == values["device"]
    assert "](benchmarks.svg)" in files[1].read_text(encoding="utf-8")
    assert "</svg>" in files[2].read_text(encoding="utf-8")


def test_the_gpu_script_runs_where_only_the_four_packages_are_installed(root, tmp_path):
    blocked = sorted(dependencies() - CORE_PACKAGES)
    script = root / "benchmarks" / "gpu.py"
    table = tmp_path / "val.parquet"
    write_table(table, synthetic(codec.load("lcs6a-paper").card.domain.vocabulary, 3).crystals)
    arguments = ["--device", "cpu", "--quick", "--minutes", "0", "--val", str(table), "--set", "batch=8"]
    arguments += ["--out", str(tmp_path)]
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({blocked}))
sys.argv = {[str(script), *arguments]}
runpy.run_path({str(script)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert values["decode_per_second"] > 0
    assert values["data"]["name"] == table.name
    assert values["training_curve"]["points"][-1]["score"]["n"] == 3
    assert values["training_curve"]["config"]["training"]["batch"] == 8
    assert {profile["bound"] != "" for profile in values["profiles"].values()} == {True}
    assert [row["crystals"] for row in values["large_chunks"]] == sorted(
        {row["crystals"] for row in values["large_chunks"]}
    )
    assert values["device"] in (tmp_path / "gpu.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(capsys):
    assert main(["bench", "--quick", "--device", "cuda"]) == 1
    assert capsys.readouterr().err == "nesf: There is no GPU here that PyTorch can use; leave --device out.\n"


def test_a_model_without_a_published_algorithm_is_measured_against_its_own_literal_form(tmp_path, capsys):
    table, out = tmp_path / "t.parquet", tmp_path / "b.json"
    write_table(table, known_crystals())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nesf.bench.peak.QUICK_SHAPES", ((64, 64, 64),))
        patch.setattr("nesf.bench.effort.QUICK", TINY)
        page_file = tmp_path / "b.md"
        words = ["bench", "--quick", "--model", "universal", "--data", str(table), "--json", str(out)]
        assert main([*words, "--markdown", str(page_file)]) == 0
    values = json.loads(out.read_text(encoding="utf-8"))
    assert (values["decode_reference_per_second"], values["training"], values["train_data"]) == (None, None, None)
    assert set(values["ratios"]) == {"decode_against_literal"}
    assert values["agreement"]["percent"] == 100.0
    assert min(values["encode_per_second"], values["decode_per_second"], values["peak_share"]) > 0
    for text in (" ".join(capsys.readouterr().out.split()), page_file.read_text(encoding="utf-8")):
        assert "so none is beside this model" in text
        assert "published estimation" not in text
        assert "trained on" not in text
