"""The networks of the voxel baseline: their sizes and shapes, the fast convolution, the losses."""

import pytest
import torch
from torch.nn import functional

from nesf.baselines.voxel.layers import conv3d, doubled_conv3d
from nesf.baselines.voxel.losses import divergence, perceptual, segmentation_losses
from nesf.baselines.voxel.settings import FAITHFUL, PRESETS, STRONG, BaselineSettings, NetworkSettings, StageSettings
from nesf.baselines.voxel.unet import Segmentation, UNet
from nesf.baselines.voxel.vae import VAE, Posterior
from nesf.errors import NesfError


def trainable(network):
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(
    ("network", "published"),
    [
        (UNet, 31_156_800),
        (lambda: VAE(latent=256, condition=10), 825_872),
        (lambda: VAE(latent=256), 818_992),
        (lambda: VAE(latent=1024), 3_008_560),
    ],
)
def test_the_networks_have_the_published_numbers_of_parameters(network, published):
    with torch.device("meta"):
        assert trainable(network()) == published


def test_the_full_networks_give_the_published_shapes():
    with torch.device("meta"):
        unet, vae, grids = UNet(), VAE(), torch.zeros(2, 4, 32, 32, 32)
        found = unet(grids)
        assert found.species.shape == (2, 95, 32, 32, 32)
        assert found.mask.shape == (2, 32, 32, 32)
        shapes = [tuple(features.shape[1:]) for features in unet.features(grids)]
        assert shapes == [(64, 32, 32, 32), (128, 16, 16, 16), (256, 8, 8, 8), (512, 4, 4, 4)]
        posterior = vae.encode(grids)
        assert posterior.mean.shape == posterior.log_variance.shape == (2, 256)
        assert vae.to_latent.in_features == 32
        assert vae.decode(posterior.mean).shape == (2, 4, 32, 32, 32)


def test_the_strong_autoencoder_has_no_layer_narrower_than_its_latent_vector():
    with torch.device("meta"):
        vae = VAE(latent=192, narrow=False, rectified=False)
        assert vae.to_latent.in_features == 1024
        assert vae.from_latent.out_features == 64 * 4**3
        assert vae.decode(vae.encode(torch.zeros(1, 4, 32, 32, 32)).mean).shape == (1, 4, 32, 32, 32)


def test_a_condition_changes_what_is_decoded():
    vae = VAE(side=16, latent=8, width=0.25, condition=3).eval()
    grids, first, second = torch.rand(1, 4, 16, 16, 16), torch.eye(3)[:1], torch.eye(3)[1:2]
    assert not torch.allclose(vae.encode(grids, first).mean, vae.encode(grids, second).mean)
    z = torch.zeros(1, 8)
    assert not torch.allclose(vae.decode(z, first), vae.decode(z, second))


def test_features_are_taken_before_the_norm():
    torch.manual_seed(0)
    unet, grids = UNet(0.125).eval(), torch.rand(1, 4, 16, 16, 16)
    finest, coarser = unet.features(grids)[:2]
    assert (finest >= 0).all()
    with torch.no_grad():
        unet.down[0].second_norm.weight.mul_(7)
    assert torch.equal(unet.features(grids)[0], finest)
    assert not torch.allclose(unet.features(grids)[1], coarser)


@pytest.mark.parametrize("side", [1, 2, 5])
def test_the_convolution_of_a_doubled_grid_is_the_convolution_of_the_doubled_grid(side):
    x, weight, bias = torch.randn(2, 3, side, side, side), torch.randn(4, 3, 3, 3, 3), torch.randn(4)
    doubled = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    expected = functional.conv3d(doubled, weight, bias, padding=1)
    assert torch.allclose(doubled_conv3d(x, weight, bias), expected, atol=1e-4)


def test_the_gradient_on_the_smallest_grids_is_right_in_bfloat16():
    # Computed in bfloat16 it holds whatever lay in memory before.
    x, weight = torch.randn(8, 16, 2, 2, 2), torch.randn(8, 16, 3, 3, 3)
    gradients = []
    for bfloat16 in (False, True):
        kernel = weight.clone().requires_grad_()
        for _ in range(3):
            waste = [torch.full((size,), torch.nan) for size in (1 << 8, 1 << 12, 1 << 16)]
            del waste
            kernel.grad = None
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                conv3d(x, kernel).float().square().mean().backward()
        gradients.append(kernel.grad)
    assert torch.allclose(*gradients, rtol=0.05, atol=1e-3)


def test_the_divergence_of_a_standard_gaussian_is_zero_and_of_others_the_known_value():
    standard = Posterior(torch.zeros(3, 5), torch.zeros(3, 5))
    assert divergence(standard) == 0
    # Half of mean² + variance - 1 - log variance, for each of the five numbers.
    other = Posterior(torch.full((3, 5), 2.0), torch.full((3, 5), 1.0))
    assert divergence(other).item() == pytest.approx(5 * 0.5 * (4 + torch.e - 1 - 1), rel=1e-5)


def test_samples_have_the_mean_and_spread_of_the_posterior():
    posterior = Posterior(
        torch.full((1, 20_000), 3.0), torch.full((1, 20_000), 2 * torch.log(torch.tensor(0.5)).item())
    )
    drawn = posterior.sample(torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(3.0, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.02)


def test_the_perceptual_loss_is_zero_for_equal_grids_and_moves_the_grid_alone():
    unet = UNet(0.125).eval().requires_grad_(False)
    true = torch.rand(2, 4, 16, 16, 16)
    assert perceptual(unet.features(true), unet.features(true)) == 0
    found = torch.rand_like(true, requires_grad=True)
    perceptual(unet.features(true), unet.features(found)).backward()
    assert found.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in unet.parameters())


def test_the_segmentation_loss_of_a_sure_and_right_answer_is_nothing_of_an_undecided_one_the_logarithm():
    labels = torch.tensor([0, 8]).to(torch.uint8).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    sure = 100 * functional.one_hot(labels.long(), 95).movedim(-1, 1).float()
    right = segmentation_losses(Segmentation(sure, 200.0 * (labels > 0) - 100), labels)
    assert right["species"] < 1e-6
    assert right["mask"] < 1e-6
    undecided = segmentation_losses(Segmentation(torch.zeros_like(sure), torch.zeros(1, 2, 2, 2)), labels)
    assert undecided["species"].item() == pytest.approx(4.5539, abs=1e-3)  # log 95
    assert undecided["mask"].item() == pytest.approx(0.6931, abs=1e-3)  # log 2


def test_the_presets_are_the_columns_of_the_published_and_the_better_method():
    assert (FAITHFUL.network.narrow, FAITHFUL.network.rectified, FAITHFUL.network.scaling) == (True, True, "raw")
    assert FAITHFUL.tune.epochs == 0
    assert (FAITHFUL.grid.label_fraction, FAITHFUL.grid.label_voxels) == (1.0, 0.0)
    assert FAITHFUL.loss.mask == pytest.approx(1 / 95)
    assert (STRONG.network.narrow, STRONG.network.rectified, STRONG.network.scaling) == (False, False, "root")
    assert STRONG.tune.epochs > 0
    assert (STRONG.grid.label_fraction, STRONG.grid.label_voxels) == (0.5, 1.5)
    assert STRONG.network.latent == 192


@pytest.mark.parametrize("settings", PRESETS.values(), ids=list(PRESETS))
def test_settings_survive_json(settings):
    assert BaselineSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(
    "values",
    [{"widht": 1}, {"network": {"width": "wide"}}, {"network": 3}, {"seed": 1.5}, {"lengths": "guess"}],
)
def test_settings_refuse_what_they_do_not_know(values):
    with pytest.raises(NesfError):
        BaselineSettings.from_dict(values)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: NetworkSettings(width=0.0),
        lambda: NetworkSettings(latent=0),
        lambda: StageSettings(epochs=-1, batch=8, learning_rate=1e-3),
        lambda: StageSettings(epochs=1, batch=1, learning_rate=1e-3),
        lambda: StageSettings(epochs=1, batch=8, learning_rate=0.0),
        lambda: StageSettings(epochs=1, batch=8, learning_rate=1e-3, rotate=2.0),
        lambda: StageSettings(epochs=1, batch=8, learning_rate=1e-3, crop=12),
        lambda: BaselineSettings(vae=StageSettings(epochs=1, batch=8, learning_rate=1e-3, crop=16)),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(NesfError):
        wrong()


def test_the_start_knows_the_scale_of_the_channels_and_the_frequency_of_the_classes():
    torch.manual_seed(0)
    centred = torch.randn(4, 4, 16, 16, 16)
    scale, shift = torch.tensor([0.1, 10.0, 3.0, 1.0]), torch.tensor([5.0, -20.0, 0.0, 1.0])
    grids = centred * scale[:, None, None, None] + shift[:, None, None, None]
    labels = torch.zeros(4, 16, 16, 16, dtype=torch.uint8)
    labels[:, :4] = 8
    plain, unet = UNet(0.125), UNet(0.125)
    unet.load_state_dict(plain.state_dict())
    unet.start_from(grids, labels)
    inner = (..., *[slice(1, -1)] * 3)  # beyond the edge lie zeros, which mean something else now
    measured = (centred - centred.mean((0, 2, 3, 4), keepdim=True)) / centred.std((0, 2, 3, 4), keepdim=True)
    assert torch.allclose(unet.down[0].first(grids)[inner], plain.down[0].first(measured)[inner], atol=1e-3)
    shares = unet.heads.bias[:95].softmax(0)
    assert shares[[0, 8]].tolist() == pytest.approx([0.75, 0.25], abs=0.01)
    assert unet.heads.bias[95].sigmoid().item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("rectified", [True, False])
def test_the_autoencoder_starts_with_the_mean_of_the_channels(rectified):
    torch.manual_seed(0)
    vae = VAE(side=16, latent=8, width=0.25, rectified=rectified)
    grids = torch.rand(8, 4, 16, 16, 16) + torch.tensor([8.0, 6.0, 5.0, 9.0])[:, None, None, None]
    before = vae.decode(vae.encode(grids).mean)
    vae.start_from(grids)
    after = vae.decode(vae.encode(grids).mean)
    assert (before - grids).square().mean() > 20
    assert (after - grids).square().mean() < 5
