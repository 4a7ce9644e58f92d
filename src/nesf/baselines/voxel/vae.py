"""The autoencoder of the baseline: a grid in, a Gaussian over latent vectors, a grid out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf.baselines.voxel.layers import BATCH_NORM, Conv3d, DoubledConv3d, start_like_keras, start_standardised
from nesf.baselines.voxel.unet import CHANNELS
from nesf.shapes import Float

SLOPE = 0.3
"""Of the leaky ReLU; the value of Keras."""
LEVELS = (16, 32, 64, 128)
"""Channels of the published network."""


@dataclass(frozen=True)
class Posterior:
    """What the encoder says about a batch: a Gaussian with independent components for each grid.

    Attributes:
        mean: of each component.
        log_variance: of each component.
    """

    mean: Float[Tensor, "n latent"]
    log_variance: Float[Tensor, "n latent"]

    def sample(self, generator: torch.Generator | None) -> Float[Tensor, "n latent"]:
        """One latent vector for each grid, drawn at random."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device).to(self.mean.device)
        return self.mean + (0.5 * self.log_variance.float()).exp() * noise


class VAE(nn.Module):
    """A variational autoencoder of convolutions.

    Args:
        side: voxels along each axis; divisible by 16.
        latent: numbers of a latent vector.
        width: share of the published numbers of channels.
        condition: classes of an optional condition, given one-hot; 0 for none.
        narrow: as published, everything passes through 4 channels of (side / 16)³ voxels, 32 numbers for a side of 32,
            however large the latent vector is, and the decoder starts from 4 channels; otherwise neither.
        rectified: as published, the output is normed and never negative; otherwise the last convolution's.
    """

    def __init__(
        self,
        side: int = 32,
        latent: int = 256,
        width: float = 1.0,
        condition: int = 0,
        narrow: bool = True,
        rectified: bool = True,
    ) -> None:
        super().__init__()
        a, b, c, d = (max(1, round(width * channels)) for channels in LEVELS)
        self.start = (4 if narrow else c, side // 8)
        self.condition = condition
        inside = (CHANNELS + condition, a, b, c)
        self.encoder = nn.Sequential(
            *(layer for i, o in zip(inside, (a, b, c, d), strict=True) for layer in _block(Conv3d(i, o)))
        )
        self.squeeze = Conv3d(d, 4) if narrow else None
        self.to_latent = nn.Linear((4 if narrow else d) * (side // 16) ** 3, latent)
        self.to_mean = nn.Linear(latent, latent)
        self.to_log_variance = nn.Linear(latent, latent)
        self.from_latent = nn.Linear(latent + condition, self.start[0] * self.start[1] ** 3)
        self.decoder = nn.Sequential(
            *_leaky(Conv3d(self.start[0], d)),
            *_leaky(DoubledConv3d(d, c)),
            *_leaky(DoubledConv3d(c, b)),
            *_leaky(DoubledConv3d(b, a)),
            Conv3d(a, CHANNELS),
            *((nn.BatchNorm3d(CHANNELS, **BATCH_NORM), nn.ReLU()) if rectified else ()),
        )
        start_like_keras(self)

    def encode(
        self, grids: Float[Tensor, "n 4 d d d"], condition: Float[Tensor, "n classes"] | None = None
    ) -> Posterior:
        """What the grids may be, as Gaussians over latent vectors."""
        if condition is not None:
            everywhere = condition[:, :, None, None, None].expand(-1, -1, *grids.shape[2:])
            grids = torch.cat((grids, everywhere), 1)
        x = self.encoder(grids)
        if self.squeeze is not None:
            x = functional.leaky_relu(self.squeeze(x), SLOPE)
        x = torch.relu(self.to_latent(x.flatten(1)))
        return Posterior(self.to_mean(x), self.to_log_variance(x))

    def decode(
        self, z: Float[Tensor, "n latent"], condition: Float[Tensor, "n classes"] | None = None
    ) -> Float[Tensor, "n 4 d d d"]:
        """The grids of latent vectors."""
        x = self.from_latent(z if condition is None else torch.cat((z, condition), 1))
        channels, side = self.start
        return self.decoder(x.reshape(-1, channels, side, side, side))

    @torch.no_grad()
    def start_from(self, grids: Float[Tensor, "n 4 d d d"]) -> None:
        """Start from the mean and spread of each channel of some grids, to which the output would crawl otherwise."""
        if not self.condition:
            start_standardised(self.encoder, grids)
        spread, mean = torch.std_mean(grids, (0, 2, 3, 4))
        last = [module for module in self.decoder if isinstance(module, (Conv3d, nn.BatchNorm3d))][-1]
        assert last.bias is not None
        last.bias.copy_(mean)
        if isinstance(last, nn.BatchNorm3d):
            last.weight.copy_(spread)


def _leaky(convolution: Conv3d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm3d(convolution.out_channels, **BATCH_NORM), nn.LeakyReLU(SLOPE)


def _block(convolution: Conv3d) -> tuple[nn.Module, ...]:
    return *_leaky(convolution), nn.MaxPool3d(2)
