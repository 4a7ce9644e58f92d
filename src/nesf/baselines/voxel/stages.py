"""The three things that are learned one after the other, each as a loss of a batch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nesf.baselines.voxel.grid import Voxels
from nesf.baselines.voxel.layers import BATCH_NORM
from nesf.baselines.voxel.losses import divergence, perceptual, segmentation_losses
from nesf.baselines.voxel.rotation import rotate
from nesf.baselines.voxel.scaling import scaled
from nesf.baselines.voxel.settings import BaselineSettings, StageSettings
from nesf.baselines.voxel.unet import UNet
from nesf.baselines.voxel.vae import VAE
from nesf.precision import autocast
from nesf.shapes import Float

Name = Literal["unet", "vae", "tune"]
Losses = dict[str, Tensor]


class Networks(nn.Module):
    """The U-Net and the autoencoder of a baseline, with random weights that only the seed decides."""

    def __init__(self, settings: BaselineSettings) -> None:
        super().__init__()
        network = settings.network
        with torch.random.fork_rng([]):
            torch.manual_seed(settings.seed)
            self.unet = UNet(network.width)
            self.vae = VAE(
                settings.grid.size,
                network.latent,
                network.vae_width,
                narrow=network.narrow,
                rectified=network.rectified,
            )


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes:
        grids: as the networks see them.
        labels: (n, d, d, d) atomic number of each voxel, 0 for none, uint8.
    """

    grids: Float[Tensor, "n 4 d d d"]
    labels: Tensor

    def crop(self, side: int, generator: torch.Generator) -> "Batch":
        """A cube cut out of each grid at a random place."""
        most = self.grids.shape[-1] - side + 1
        starts = torch.randint(most, (len(self.grids), 3), generator=generator).tolist()
        places = [tuple(slice(start, start + side) for start in three) for three in starts]
        return Batch(
            torch.stack([grid[:, x, y, z] for grid, (x, y, z) in zip(self.grids, places, strict=True)]),
            torch.stack([label[x, y, z] for label, (x, y, z) in zip(self.labels, places, strict=True)]),
        )


class Stage:
    """One of the stages: which network learns, and its loss.

    Args:
        name: of the stage.
        networks: both networks; those that do not learn are frozen.
        settings: of the whole baseline.
    """

    def __init__(self, name: Name, networks: Networks, settings: BaselineSettings) -> None:
        self.name = name
        self.networks = networks
        self.settings = settings
        self.optimisation: StageSettings = getattr(settings, name)
        self.network: nn.Module = networks.vae if name == "vae" else networks.unet

    def begin(self) -> None:
        """Freeze everything but the network that learns."""
        self.networks.eval().requires_grad_(False)
        self.network.requires_grad_(True)

    def batch(self, voxels: Voxels, generator: torch.Generator | None) -> Batch:
        """A batch of crystals as this stage learns from it, or without a generator as it is validated: whole, as is."""
        batch = Batch(scaled(voxels.grids(), self.settings.network.scaling), voxels.labels)
        if generator is not None:
            batch = Batch(*rotate(batch.grids, batch.labels, self.optimisation.rotate, generator))
        if self.name == "tune":
            batch = self._half_reconstructed(batch)
        if generator is not None and self.optimisation.crop:
            batch = batch.crop(self.optimisation.crop, generator)
        return batch

    @torch.no_grad()
    def _half_reconstructed(self, batch: Batch) -> Batch:
        # Batches are shuffled, so that every other crystal is a random one.
        grids = batch.grids.clone()
        with self._autocast(grids):
            vae = self.networks.vae
            grids[::2] = vae.decode(vae.encode(grids[::2]).mean).to(grids)
        return Batch(grids, batch.labels)

    def losses(self, batch: Batch, generator: torch.Generator | None, epoch: int | None) -> Losses:
        """The unweighted losses of a batch and their weighted total.

        Args:
            batch: what to learn from.
            generator: of the latent noise; without it, the mean is decoded.
            epoch: epochs done; None when validating, where all losses count.
        """
        with self._autocast(batch.grids):
            return self._vae_losses(batch, generator, epoch) if self.name == "vae" else self._unet_losses(batch)

    def _unet_losses(self, batch: Batch) -> Losses:
        parts = segmentation_losses(self.networks.unet(batch.grids), batch.labels)
        return parts | {"total": parts["species"] + self.settings.loss.mask * parts["mask"]}

    def _vae_losses(self, batch: Batch, generator: torch.Generator | None, epoch: int | None) -> Losses:
        weights, networks = self.settings.loss, self.networks
        posterior = networks.vae.encode(batch.grids)
        found = networks.vae.decode(posterior.mean if generator is None else posterior.sample(generator))
        parts = {"grid": (found.float() - batch.grids).square().mean(), "divergence": divergence(posterior)}
        total = parts["grid"] + weights.divergence * parts["divergence"]
        if weights.perceptual and (epoch is None or epoch >= weights.perceptual_after):
            with torch.no_grad():
                true = networks.unet.features(batch.grids)
            parts["perceptual"] = perceptual(true, networks.unet.features(found))
            total = total + weights.perceptual * parts["perceptual"]
        return parts | {"total": total}

    @torch.no_grad()
    def settle(self, voxels: Iterable[Voxels]) -> None:
        """Measure the statistics of the batch norms anew, on whole grids and with the weights as they are now.

        The running ones lag behind weights that move fast, and those of crops are not those of grids.
        """
        self.network.train()
        norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm3d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        for some in voxels:
            self.losses(self.batch(some, None), None, 0)
        for norm in norms:
            norm.momentum = BATCH_NORM["momentum"]

    def _autocast(self, grids: Tensor) -> torch.autocast:
        context = autocast(self.settings.precision, grids.device)
        assert isinstance(context, torch.autocast)
        return context
