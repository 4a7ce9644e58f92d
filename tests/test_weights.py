"""A model is one file that describes itself, and every other file is refused in one sentence."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nesf import testing, weights
from nesf.config import FAST
from nesf.crystal import CrystalBatch
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.model import Autoencoder

NETWORK = replace(FAST.network, latent=8, atom_mix=16, bottleneck=(8,), position_field=(8, 8), species_field=(8,))


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(NETWORK, Domain.of(testing.known_crystals()).vocabulary)
    # Some training, so that the statistics of the norms are not those of a new model.
    model.train().encode(CrystalBatch.from_crystals(testing.known_crystals()))
    return model.eval()


@pytest.fixture
def card() -> weights.Card:
    config = replace(FAST, network=NETWORK)
    domain = Domain.of(testing.known_crystals())
    return weights.Card("tiny", "fast", config, domain, {"train": {"name": "known"}}, {"epoch": 1}, {"known": {"n": 5}})


@pytest.fixture
def path(tmp_path, model, card):
    weights.save(tmp_path / "tiny.safetensors", model, card)
    return tmp_path / "tiny.safetensors"


def rewritten(path, change) -> None:
    """The same tensors under a changed card."""
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["nesf"])
    save_file(load_file(path), path, {"nesf": json.dumps(change(card))})


@torch.no_grad()
def test_what_is_loaded_computes_the_same_bit_for_bit(path, model, card):
    loaded, its_card = weights.load(path)
    assert its_card == card
    assert not loaded.training
    batch = CrystalBatch.from_crystals(testing.known_crystals())
    z = model.encode(batch)
    assert loaded.encode(batch).equal(z)
    one, other = model.decode_field(z), loaded.decode_field(z)
    assert other.displacement(batch.cart, batch.owner).equal(one.displacement(batch.cart, batch.owner))
    assert other.species_logits(batch.cart, batch.owner).equal(one.species_logits(batch.cart, batch.owner))
    assert other.cells.equal(one.cells)


def test_the_card_beside_is_the_card_inside(path, card):
    with safe_open(path, framework="pt") as file:
        inside = json.loads(file.metadata()["nesf"])
    beside = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert inside == beside
    assert weights.Card.from_dict(beside) == card
    assert beside["format"] == weights.FORMAT


def test_nothing_unfinished_is_left(path):
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def refused(path, words: str) -> None:
    with pytest.raises(NesfError, match=words) as caught:
        weights.load(path)
    text = str(caught.value)
    assert str(path) in text
    assert text.endswith(".")
    assert "\n" not in text


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "nothing.safetensors", "cannot be read as a safetensors file")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "picture.safetensors").write_bytes(b"\x89PNG" * 100)
    refused(tmp_path / "picture.safetensors", "cannot be read as a safetensors file")


def test_a_truncated_file(path):
    path.write_bytes(path.read_bytes()[:-1000])
    refused(path, "cannot be read as a safetensors file")


def test_a_safetensors_file_of_someone_else(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "has no model card in its header; it was not written by nesf")


def test_a_voxel_baseline_is_called_so(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "voxels.safetensors", {"nesf-voxel": "{}"})
    refused(tmp_path / "voxels.safetensors", "holds a voxel baseline; use nesf baseline evaluate")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: {**card, "format": 99}, "format 99; this version reads format 1"),
        (lambda card: {k: v for k, v in card.items() if k != "format"}, "format None"),
        (lambda card: {k: v for k, v in card.items() if k != "domain"}, "lacks domain"),
        (lambda card: {**card, "config": {"colour": 1}}, "Unknown config key 'colour'"),
        (lambda card: {**card, "domain": {}}, "domain lacks the key"),
        (lambda card: {**card, "config": {}}, "size mismatch"),
        (lambda card: [card], "card"),
        (lambda card: {**card, "domain": None}, "domain"),
    ],
    ids=[
        "newer format",
        "no format",
        "no domain",
        "config key",
        "domain key",
        "other network",
        "a list",
        "null domain",
    ],
)
def test_a_card_that_does_not_describe_the_tensors(path, change, words):
    rewritten(path, change)
    refused(path, words)


def test_tensors_that_are_missing(path, card):
    tensors = load_file(path)
    tensors.pop("length_head.layers.0.weight")
    save_file(tensors, path, {"nesf": json.dumps(card.to_dict())})
    refused(path, "length_head.layers.0.weight")
