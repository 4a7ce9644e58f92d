"""Frozen fields are the fields of the network, however many points are asked for at once."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nesf import codec
from nesf.config import FAST, PAPER
from nesf.data.textbook import textbook
from nesf.fields import StructureField
from nesf.model import Autoencoder, frozen
from test_model import SMALL, lively

BFLOAT16_ANGSTROM = 0.03
"""How far bfloat16 may move a displacement of a few angstrom: one of 4 is itself rounded by up to 0.008."""
every_variant = pytest.mark.parametrize(
    "network",
    [
        replace(network, query_encoding=encoding, query_at_last=at_last)
        for network in (SMALL, PAPER.network)
        for encoding in ("raw", "fourier")
        for at_last in (True, False)
    ],
    ids=lambda n: f"{n.latent}-{n.query_encoding}-{'' if n.query_at_last else 'not '}at last",
)


def asked(n: int, latent: int) -> tuple[Tensor, Tensor, Tensor]:
    """Four latent vectors, points near a cell, and whose each point is, in no order."""
    random = torch.Generator().manual_seed(0)
    z = torch.randn(4, latent, generator=random)
    return z, torch.rand(n, 3, generator=random) * 7 - 0.5, torch.randint(4, (n,), generator=random)


@every_variant
@torch.no_grad()
def test_a_frozen_field_is_that_of_the_network(network):
    model = lively(network)
    # A unit that is always off, as trained networks have them: its variance is nothing, its scale large.
    model.position_field.hidden[0][1].running_var[0] = 0
    z, points, owner = asked(700, network.latent)
    field = model.decode_field(z)
    same = field.frozen()
    assert isinstance(same, StructureField)
    assert same.vocabulary is field.vocabulary
    assert same.cells.equal(field.cells)
    torch.testing.assert_close(
        same.displacement(points, owner), field.displacement(points, owner), rtol=1e-4, atol=1e-4
    )
    logits = field.species_logits(points, owner)
    torch.testing.assert_close(same.species_logits(points, owner), logits, rtol=1e-4, atol=1e-4)


@every_variant
@torch.no_grad()
def test_in_bfloat16_it_is_so_nearly(network):
    model = lively(network)
    z, points, owner = asked(700, network.latent)
    field = model.decode_field(z)
    nearly = field.frozen(torch.bfloat16)
    steps, logits = nearly.displacement(points, owner), nearly.species_logits(points, owner)
    assert steps.dtype == logits.dtype == torch.float32
    off = (steps - field.displacement(points, owner)).abs()
    assert 0 < off.max() < BFLOAT16_ANGSTROM
    assert (logits - field.species_logits(points, owner)).abs().max() < BFLOAT16_ANGSTROM


@torch.no_grad()
def test_the_shipped_network_is_as_exact():
    shipped = codec.load("lcs6a-paper")
    crystals = [c for c in textbook() if shipped.refusal(c) is None]
    field = shipped.model.decode_field(torch.from_numpy(shipped.encode(crystals)))
    random = torch.Generator().manual_seed(0)
    points = torch.rand(2000, 3, generator=random) * 6
    owner = torch.randint(len(crystals), (2000,), generator=random)
    exact = field.displacement(points, owner)
    assert (field.frozen().displacement(points, owner) - exact).abs().max() < 1e-4
    off = (field.frozen(torch.bfloat16).displacement(points, owner) - exact).norm(dim=1)
    # Near a jump, where two atoms are as far away, a rounding error may decide between them.
    assert off.median() < 0.01
    assert (off > 0.1).float().mean() < 0.01
    named = field.species_logits(points, owner)
    torch.testing.assert_close(field.frozen().species_logits(points, owner), named, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 32, 33])
@torch.no_grad()
def test_how_many_points_are_computed_at_once_does_not_matter(n, dtype, monkeypatch):
    z, points, owner = asked(n, SMALL.latent)
    field = lively(SMALL).decode_field(z).frozen(dtype)
    steps, logits = field.displacement(points, owner), field.species_logits(points, owner)
    assert (steps.shape, logits.shape) == ((n, 3), (n, 94))
    monkeypatch.setitem(frozen._AT_ONCE, "cpu", 16)
    # The sums of a product may be taken in another order.
    within = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else BFLOAT16_ANGSTROM}
    torch.testing.assert_close(field.displacement(points, owner), steps, **within)
    torch.testing.assert_close(field.species_logits(points, owner), logits, **within)


@pytest.mark.parametrize("least", [1, 300, 301, 1 << 30])
@torch.no_grad()
def test_both_ways_to_multiply_are_the_same_product(least, monkeypatch):
    monkeypatch.setattr(frozen, "_LEAST_FOR_CONVOLUTION", least)
    z, points, owner = asked(300, FAST.network.latent)
    field = lively(FAST.network).decode_field(z)
    steps = field.displacement(points, owner)
    torch.testing.assert_close(field.frozen().displacement(points, owner), steps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 255, 256, 257])
def test_a_product_is_written_into_part_of_an_array(rows):
    random = torch.Generator().manual_seed(rows)
    left, right = torch.randn(rows, 35, generator=random), torch.randn(35, 24, generator=random)
    output = torch.full((rows, 28), 7.0)
    frozen._multiply(left, right, output[:, :24])
    torch.testing.assert_close(output[:, :24], left @ right, rtol=1e-5, atol=1e-5)
    assert (output[:, 24:] == 7).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_the_rectifier_works_in_place_and_keeps_what_is_positive(dtype):
    values = torch.tensor([-torch.inf, -3.0, -1e-30, -0.0, 0.0, 1e-30, 2.5, torch.inf], dtype=dtype)
    expected = values.relu()
    features = torch.stack((values, values), 1)
    frozen._rectify(features[:, :1])
    assert features[:, 0].equal(expected)
    assert features[:, 1].equal(values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_point_that_is_nowhere_has_no_value(dtype):
    z, points, owner = asked(300, SMALL.latent)
    field = lively(SMALL).decode_field(z).frozen(dtype)
    expected = field.displacement(points, owner)
    points[7], points[8, 1] = torch.nan, -torch.nan
    found = field.displacement(points, owner)
    assert found[7:9].isnan().all()
    others = torch.arange(300) // 7 != 1
    torch.testing.assert_close(found[others], expected[others], rtol=1e-5, atol=1e-5)


def test_what_is_frozen_does_not_learn():
    z, points, owner = asked(300, SMALL.latent)
    model: Autoencoder = lively(SMALL)
    field = model.decode_field(z.requires_grad_()).frozen()
    before = field.displacement(points, owner), field.species_logits(points, owner), field.cells.clone()
    assert not any(values.requires_grad for values in before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.add_(1.0)
    after = field.displacement(points, owner), field.species_logits(points, owner), field.cells
    assert all(one.equal(other) for one, other in zip(before, after, strict=True))
    with pytest.raises(AssertionError, match="in evaluation"):
        model.train().decode_field(z).frozen()
