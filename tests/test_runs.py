"""A run's folder: what it holds, and how it goes on."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nesf import codec, testing
from nesf.config import FAST, UNIVERSAL, Config
from nesf.crystal import Crystal
from nesf.data.datasets import Dataset
from nesf.domain import Domain
from nesf.elements import Vocabulary
from nesf.errors import NesfError
from nesf.model import AnchorSettings
from nesf.runs import CHECKPOINT, LOG, Run, Setup, describe, in_reach
from nesf.testing import perovskite, rocksalt
from nesf.training import DivergenceError

DATA = Dataset("two", (rocksalt(), perovskite()), (), "a hash")
OTHER = Crystal("MgO", [12, 8], [[0, 0, 0], [2.1, 2.1, 2.1]], [[4.2, 0, 0], [0, 4.2, 0], [0, 0, 4.2]])


def setup(epochs: int = 3, domain: Domain | None = None) -> Setup:
    config = replace(FAST, training=replace(FAST.training, epochs=epochs, precision="float32", strain=0.1, rattle=0.01))
    return Setup("fast", config, describe(DATA, None), domain)


def trained(folder, made: Setup, resume: bool = False) -> list[dict]:
    Run(folder, made, DATA, None, resume=resume).train(lambda _: None)
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def losses(log: list[dict]) -> list[dict]:
    return [epoch["train"] for epoch in log]


def test_a_declared_domain_is_kept_and_decides_the_elements(tmp_path):
    domain = Domain.of([*DATA.crystals, OTHER])
    made = setup(domain=domain)
    trained(tmp_path, made)
    assert Setup.read(tmp_path) == made
    model = codec.load(tmp_path)
    assert model.card.domain == domain
    assert model.refusal(OTHER) is None
    assert 12 in model.model.vocabulary.numbers


def test_without_one_it_is_that_of_the_training_data(tmp_path):
    trained(tmp_path, setup(1))
    assert codec.load(tmp_path).card.domain == Domain.of(DATA.crystals)
    assert Setup.read(tmp_path).domain is None
    with pytest.raises(NesfError, match="Mg"):
        codec.load(tmp_path).encode(OTHER)


def copying(**anchors: int) -> Config:
    """A small network that copies."""
    small = AnchorSettings(**{"tokens": 8, "elements": 3, "width": 8, "heads": 2} | anchors)
    network = replace(UNIVERSAL.network, latent=60, anchors=small)
    training = replace(UNIVERSAL.training, epochs=1, batch=2, precision="float32", validate_every=1)
    return replace(UNIVERSAL, network=network, training=training)


def test_what_copies_takes_any_cell_and_what_it_has_room_for():
    domain = Domain.of([*DATA.crystals, OTHER])
    reached = in_reach(domain, copying(tokens=6))
    assert (reached.setting, reached.max_atoms, reached.max_elements) == ("any", 6, 3)
    # Elements that are exchanged are learned alike.
    assert reached.vocabulary.numbers == tuple(range(1, 95))
    never = replace(copying(), training=replace(copying().training, permute_elements=0.0))
    assert in_reach(domain, never).vocabulary == domain.vocabulary
    heavy = replace(domain, vocabulary=Vocabulary((8, 98)))
    assert in_reach(heavy, copying()).vocabulary.numbers == (*range(1, 95), 98)
    assert in_reach(domain, FAST) == domain


def test_crystals_that_there_is_no_room_for_are_left_out_with_the_reason(tmp_path):
    data = Dataset("three", (*DATA.crystals, OTHER), (), "a hash")
    made = Setup("universal", copying(elements=2), describe(data, DATA))
    run = Run(tmp_path / "run", made, data, DATA)
    few = "It is made of 3 elements, and the model's vectors have room for 2."
    # Once of the training and once of the validation data.
    assert [(one.id, one.reason) for one in run.left_out] == [("SrTiO3", few)] * 2
    assert [len(part) for part in (run.trainer.data, run.trainer.validation)] == [2, 1]
    run.train(lambda _: None)
    model = codec.load(tmp_path / "run")
    assert model.refusal(DATA.crystals[1]) == few
    assert model.refusal(OTHER) is None
    with pytest.raises(NesfError, match=r"of two the model can take 0; give others\. 'NaCl': Its cell holds 8 atoms"):
        Run(tmp_path / "none", replace(made, config=copying(tokens=1)), DATA, None)


def test_a_model_knows_the_limits_of_what_it_learned_and_not_of_what_was_left_out(tmp_path):
    sites = [[x, y, z] for x in (0, 0.3, 0.6) for y in (0, 0.3, 0.6) for z in (0, 0.3, 0.6)]
    large = Crystal.from_frac("large", [98] * 27, sites, 60 * np.eye(3))
    data = Dataset("three", (*DATA.crystals, large), (), "a hash")
    config = replace(copying(), training=replace(copying().training, permute_elements=0.0))
    run = Run(tmp_path, Setup("universal", config, describe(data, None)), data, None)
    assert [one.id for one in run.left_out] == ["large"]
    assert run.domain == in_reach(Domain.of(DATA.crystals), config)


def test_validation_is_of_all_that_the_network_can_take(tmp_path):
    larger = testing.hexagonal()
    cart = np.concatenate([larger.cart + 0.1 * i for i in range(6)])
    larger = Crystal("larger", [8] * 12, cart, larger.cell)
    val = Dataset("val", (larger,), (), "another hash")
    made = setup()
    run = Run(tmp_path / "run", replace(made, data=describe(DATA, val)), DATA, val)
    assert run.left_out == []
    assert len(run.trainer.validation) == 1
    foreign = Dataset("foreign", (OTHER,), (), "another hash")
    with pytest.raises(NesfError, match=r"no crystal of foreign; give others to --val, or none. 'MgO': It cont"):
        Run(tmp_path / "none", replace(made, data=describe(DATA, foreign)), DATA, foreign)


def test_a_run_killed_between_two_checkpoints_repeats_what_it_lost_and_logs_it_once(tmp_path):
    made = setup(6)
    whole = trained(tmp_path / "whole", made)

    class Killed(BaseException):
        pass

    def after(count):
        def report(epoch):
            if epoch.epoch == count:
                raise Killed

        return report

    folder = tmp_path / "run"
    # The checkpoint of the first epoch is the only one: the next would be due in some seconds.
    with pytest.raises(Killed):
        Run(folder, made, DATA, None).train(after(4))
    assert len((folder / LOG).read_text().splitlines()) == 4
    with (folder / LOG).open("a") as file:
        file.write('{"epoch": 5, "tr')
    run = Run(folder, made, DATA, None, resume=True)
    assert run.trainer.epoch == 1
    run.train(lambda _: None)
    log = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    assert [epoch["epoch"] for epoch in log] == [1, 2, 3, 4, 5, 6]
    assert losses(log) == losses(whole)
    assert (folder / CHECKPOINT).exists()


def test_a_second_process_is_kept_out_of_a_run_folder(tmp_path):
    folder = tmp_path / "run"
    first = Run(folder, setup(1), DATA, None)
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_runs import DATA, Run, setup
try:
    Run(Path({str(folder)!r}), setup(1), DATA, None, resume=True)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "Another process is writing to" in done.stdout
    first.train(lambda _: None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == ""


def test_a_training_that_diverges_says_so(tmp_path):
    made = setup(3)
    wild = replace(made.config, training=replace(made.config.training, learning_rate=1e30, schedule="step"))
    with pytest.raises(DivergenceError, match=r"no number any more; lower training\.learning-rate"):
        Run(tmp_path, replace(made, config=wild), DATA, None).train(lambda _: None)
