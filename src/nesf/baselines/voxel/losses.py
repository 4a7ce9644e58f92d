"""The losses of both networks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nesf.baselines.voxel.unet import Segmentation
from nesf.baselines.voxel.vae import Posterior
from nesf.shapes import Float


def segmentation_losses(found: Segmentation, labels: Tensor) -> dict[str, Float[Tensor, ""]]:
    """Cross-entropies of species and mask, means over all voxels, nats.

    Args:
        found: what the U-Net says.
        labels: (n, d, d, d) atomic number of each voxel, 0 for none.
    """
    return {
        "species": functional.cross_entropy(found.species.float(), labels.long()),
        "mask": functional.binary_cross_entropy_with_logits(found.mask.float(), (labels > 0).float()),
    }


def divergence(posterior: Posterior) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence from the standard Gaussian: summed over the latent numbers, mean over grids, nats."""
    mean, log_variance = posterior.mean.float(), posterior.log_variance.float()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()


def perceptual(true: Sequence[Tensor], found: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Mean squared difference of features, summed over the resolutions."""
    parts = [functional.mse_loss(b.float(), a.float()) for a, b in zip(true, found, strict=True)]
    return torch.stack(parts).sum()
