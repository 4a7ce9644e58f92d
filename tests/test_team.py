"""Several processes train as one would."""

import json
import subprocess
import sys

import numpy as np
import pytest

from nesf import testing
from nesf.io.table import write_table

SMALL = [
    *["--training.epochs", "4", "--training.batch", "6", "--training.validate-every", "2"],
    *["--network.latent", "16", "--network.atom-position", "16", "16", "--network.atom-species", "16", "16"],
    *["--network.atom-mix", "32", "--network.bottleneck", "32", "--network.lattice-head", "16"],
    *["--network.position-field", "32", "16", "--network.species-field", "16"],
]
# Options given later count. Groups and cut gradients are the whole team's, and so are the atoms that anchors are told.
ANCHORS = [
    *[
        "--network.latent",
        "50",
        "--network.anchors.tokens",
        "8",
        "--network.anchors.elements",
        "4",
        "--network.anchors.width",
        "16",
    ],
    *["--network.anchors.heads", "2", "--training.group", "2", "--training.latent-noise", "0.05"],
    *["--training.learning-rate", "0.03", "--training.permute-elements", "0"],
]
# By address: not every machine can look its own name up.
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node"]


@pytest.fixture
def data(tmp_path):
    crystals = [c for i in range(3) for c in (x.renamed(f"{x.id}-{i}") for x in testing.known_crystals())][:15]
    write_table(tmp_path / "data.parquet", crystals)
    return tmp_path / "data.parquet"


def trained(data, out, processes: int, *options: str) -> list[dict]:
    """The log of a training by one process, or by several that torchrun starts."""
    module = ["-m", "nesf", "train", str(data), "--val", str(data), "--out", str(out), *SMALL, *options]
    start = [sys.executable]
    if processes > 1:
        start += [*TORCHRUN, str(processes)]
    done = subprocess.run([*start, *module], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("fast", ()),
        ("paper", ("--network.dropout", "0")),  # as many queries as a crystal has atoms: unequal parts
        ("universal", ANCHORS),
    ],
)
def test_two_processes_give_the_loss_curve_of_one(data, tmp_path, preset, options):
    options = ("--preset", preset, "--training.precision", "float32", *options)
    one = trained(data, tmp_path / "one", 1, *options)
    two = trained(data, tmp_path / "two", 2, *options)
    assert len(one) == len(two) == 4
    for alone, together in zip(one, two, strict=True):
        for losses in ("train", "validation"):
            assert (alone[losses] is None) == (together[losses] is None)
            if alone[losses] is not None:
                values, others = ([epoch[losses][name] for name in alone[losses]] for epoch in (alone, together))
                # The sums run in another order; Adam's first steps divide by the square root of tiny numbers.
                np.testing.assert_allclose(others, values, rtol=2e-3)
        assert (alone["crystals"], alone["queries"]) == (together["crystals"], together["queries"])
    # A curve that hardly moves would agree by chance.
    assert one[-1]["train"]["total"] < 0.9 * one[0]["train"]["total"]


def test_a_team_goes_on_after_an_interruption(data, tmp_path):
    # In preset paper the learning rate does not depend on the number of epochs.
    options = ("--preset", "paper", "--training.precision", "float32")
    whole = trained(data, tmp_path / "whole", 2, *options)
    trained(data, tmp_path / "run", 2, *options, "--training.epochs", "2")
    setup = json.loads((tmp_path / "run" / "run.json").read_text())
    setup["config"]["training"]["epochs"] = 4
    (tmp_path / "run" / "run.json").write_text(json.dumps(setup))
    start = [sys.executable, *TORCHRUN, "2", "-m", "nesf"]
    resume = ["train", str(data), "--val", str(data), "--resume", str(tmp_path / "run")]
    done = subprocess.run([*start, *resume], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    resumed = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [epoch["train"] for epoch in resumed] == [epoch["train"] for epoch in whole]


def test_a_batch_must_be_large_enough_for_the_team(data, tmp_path):
    with pytest.raises(AssertionError, match=r"training.batch is 3 and .* processes need at least two"):
        trained(data, tmp_path / "run", 2, "--training.batch", "3")
