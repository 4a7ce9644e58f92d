"""Eight crystals of eight structure types, hexagonal and monoclinic among them, learned by heart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nesf import testing
from nesf.codec import Codec
from nesf.config import FAST
from nesf.crystal import Crystal, CrystalBatch
from nesf.data.textbook import textbook
from nesf.domain import Domain
from nesf.fields.sampling import GlobalSampling, LocalSampling
from nesf.model import Autoencoder
from nesf.training import SamplingSettings, Trainer
from nesf.weights import Card

EIGHT = (
    "CsCl-CsCl",
    "Mg-hcp",
    "ZnO-wurtzite",
    "CuO-tenorite",
    "Cu2O-cuprite",
    "FeS2-marcasite",
    "TiO2-rutile",
    "SrTiO3-perovskite",
)
# Preset fast, with all crystals in every batch and more queries near the atoms, where precision is made.
CONFIG = replace(
    FAST,
    sampling=SamplingSettings(
        GlobalSampling(per_crystal=8),
        LocalSampling(0.3, 0.3, 0.05, per_crystal=248),
        LocalSampling(0.1, 0.6, 0.05, per_crystal=4),
    ),
    training=replace(
        FAST.training, epochs=1000, batch=8, learning_rate=1.5e-2, permute_elements=0.0, precision="float32"
    ),
)


@pytest.fixture(scope="module")
def crystals() -> list[Crystal]:
    chosen = [crystal for crystal in textbook() if crystal.id in EIGHT]
    assert sorted(crystal.id for crystal in chosen) == sorted(EIGHT)
    return chosen


@pytest.fixture(scope="module")
def learned(crystals) -> Codec:
    domain = Domain.of(crystals)
    torch.manual_seed(0)
    model = Autoencoder(CONFIG.network, domain.vocabulary)
    batch = CrystalBatch.from_crystals(crystals)
    for _ in Trainer(model, batch, None, CONFIG.sampling, CONFIG.loss, CONFIG.training).run():
        pass
    return Codec(model, Card("eight", "fast", CONFIG, domain))


@pytest.mark.parametrize("literal", [False, True], ids=["batched", "literal"])
def test_eight_crystals_come_back_exactly(crystals, learned, literal):
    for true, found in zip(crystals, learned.reconstruct(crystals, literal=literal), strict=True):
        assert isinstance(found, Crystal), found
        assert (found.id, len(found)) == (true.id, len(true))
        distance = np.linalg.norm(true.cart[:, None] - found.cart[None], axis=-1)
        match = distance.argmin(1)
        assert sorted(match.tolist()) == list(range(len(true)))
        assert distance.min(1).max() < testing.POSITION_EXACT_ANGSTROM
        assert (found.numbers[match] == true.numbers).all()
        assert np.abs(found.lengths - true.lengths).max() < testing.LENGTH_EXACT_ANGSTROM
        assert np.degrees(np.abs(found.angles_rad - true.angles_rad)).max() < testing.ANGLE_EXACT_DEGREES
