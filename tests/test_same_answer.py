"""The same crystals have the same answer: between runs to the last bit, otherwise within a stated tolerance."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

import nesf
from nesf import codec as codecs
from nesf.cli import main
from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.data import load_dataset
from nesf.decoding.estimate import PARTICLES_AT_ONCE
from nesf.evaluation import evaluate
from nesf.io import write_table

Z_TOLERANCE = 1e-5
"""Of latent vectors, whose numbers are of the order of one."""
TOLERANCE_ANGSTROM = 1e-4
"""Of positions and lattice vectors: ten times the largest difference that was met with real crystals, 8e-6 Å."""


@pytest.fixture(scope="module", params=["lcs6a", "universal"])
def model(request) -> Codec:
    return nesf.load(request.param)


@pytest.fixture(params=["float32", "bfloat16"])
def precision(request, monkeypatch) -> str:
    """Whether drafts of fields may be taken in bfloat16, whatever the machine would choose."""
    monkeypatch.setattr(codecs, "computes_bfloat16", lambda _: request.param == "bfloat16")
    return request.param


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def taken(model: Codec, crystals: Sequence[Crystal], most: int) -> list[Crystal]:
    """Some crystals, spread over those that the model takes."""
    some = [one for one in crystals if model.refusal(one) is None]
    return some[:: max(1, len(some) // most)][:most]


@pytest.fixture(scope="module")
def crystals(model) -> list[Crystal]:
    return taken(model, load_dataset("textbook").crystals, 8)


def same(found: Sequence[Crystal | Failure], again: Sequence[Crystal | Failure], tolerance: float) -> None:
    """Elements and failures must be the same, atom by atom, and places nearly so."""
    assert [one.id for one in found] == [one.id for one in again]
    for one, two in zip(found, again, strict=True):
        assert isinstance(one, Failure) == isinstance(two, Failure), one.id
        if isinstance(one, Crystal) and isinstance(two, Crystal):
            assert one.numbers.tolist() == two.numbers.tolist(), one.id
            np.testing.assert_allclose(one.cart, two.cart, rtol=0, atol=tolerance, err_msg=one.id)
            np.testing.assert_allclose(one.cell, two.cell, rtol=0, atol=tolerance, err_msg=one.id)


@pytest.mark.usefixtures("precision")
def test_the_second_time_is_as_the_first_to_the_last_bit(model, crystals):
    z = model.encode(crystals)
    found = model.decode(z)
    np.testing.assert_array_equal(model.encode(crystals), z)
    same(found, model.decode(z, [one.id for one in found]), 0)
    assert evaluate(model, crystals).to_dict() == evaluate(model, crystals).to_dict()


@pytest.mark.usefixtures("precision")
def test_a_crystal_does_not_see_those_beside_it(model, crystals, monkeypatch):
    z, found = model.encode(crystals), model.reconstruct(crystals)
    monkeypatch.setitem(codecs.AT_ONCE, "cpu", 1)
    np.testing.assert_allclose(model.encode(crystals), z, rtol=0, atol=Z_TOLERANCE)
    same(found, model.reconstruct(crystals), TOLERANCE_ANGSTROM)


def test_a_crystal_does_not_see_which_particles_move_beside_its_own(model, crystals, monkeypatch):
    found = model.reconstruct(crystals)
    monkeypatch.setitem(PARTICLES_AT_ONCE, "cpu", 3000)
    same(found, model.reconstruct(crystals), TOLERANCE_ANGSTROM)


@pytest.mark.parametrize("threads", [2, 4])
def test_any_number_of_threads_finds_the_same(model, crystals, threads):
    z, found = model.encode(crystals), model.reconstruct(crystals)
    torch.set_num_threads(threads)
    np.testing.assert_allclose(model.encode(crystals), z, rtol=0, atol=Z_TOLERANCE)
    same(found, model.reconstruct(crystals), TOLERANCE_ANGSTROM)


def test_the_order_of_crystals_does_not_matter(model, crystals):
    order = np.random.default_rng(0).permutation(len(crystals))
    found, again = model.reconstruct(crystals), model.reconstruct([crystals[i] for i in order])
    same([found[i] for i in order], again, TOLERANCE_ANGSTROM)


def shuffled(crystal: Crystal, generator: np.random.Generator) -> Crystal:
    order = generator.permutation(len(crystal))
    return Crystal(crystal.id, crystal.numbers[order], crystal.cart[order], crystal.cell)


def test_the_order_of_atoms_does_not_matter_and_what_is_found_has_its_own(model, crystals):
    generator = np.random.default_rng(0)
    other = [shuffled(one, generator) for one in crystals]
    np.testing.assert_allclose(model.encode(other), model.encode(crystals), rtol=0, atol=Z_TOLERANCE)
    same(model.reconstruct(crystals), model.reconstruct(other), TOLERANCE_ANGSTROM)


def test_atoms_that_are_found_are_listed_by_element(model, crystals):
    for one in model.reconstruct(crystals):
        assert one.numbers.tolist() == sorted(one.numbers.tolist())


@pytest.mark.parametrize("table", ["lcs6a_val.parquet", "mp20_val.parquet"])
def test_real_crystals_are_found_alike_alone_and_together(model, table, shared_data, monkeypatch):
    crystals = taken(model, load_dataset(shared_data / table).crystals, 10)
    found = model.reconstruct(crystals)
    monkeypatch.setitem(codecs.AT_ONCE, "cpu", 1)
    generator = np.random.default_rng(1)
    same(found, model.reconstruct([shuffled(one, generator) for one in crystals]), TOLERANCE_ANGSTROM)


def test_evaluate_writes_the_same_file_twice(crystals, tmp_path):
    write_table(tmp_path / "in.parquet", crystals)
    texts = []
    for name in ("one.json", "two.json"):
        assert main(["evaluate", "lcs6a", str(tmp_path / "in.parquet"), "--json", str(tmp_path / name)]) == 0
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["n"] == len(crystals)
