"""A trained baseline as its users meet it: crystals in, what it remembers of them out."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from nesf.baselines.voxel import weights
from nesf.baselines.voxel.atoms import crystal_from_grid
from nesf.baselines.voxel.grid import voxelise
from nesf.baselines.voxel.lengths import lattice_lengths
from nesf.baselines.voxel.radii import number_problem
from nesf.baselines.voxel.run import MODEL
from nesf.baselines.voxel.scaling import UNIT, scaled
from nesf.baselines.voxel.stages import Networks
from nesf.crystal import Crystal, CrystalBatch, Failure
from nesf.errors import NesfError

# Crystals whose grids are worked on together.
_AT_ONCE = {"cpu": 8, "cuda": 64}


class VoxelCodec:
    """A trained baseline with its card.

    Attributes:
        networks: the U-Net and the autoencoder, in evaluation mode.
        card: where they come from.
    """

    def __init__(self, networks: Networks, card: weights.Card) -> None:
        self.networks = networks.eval().requires_grad_(False)
        self.card = card

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> "VoxelCodec":
        """From a run's folder or a file of weights; raises ``NesfError`` where there is no baseline."""
        file = Path(path)
        if file.is_dir():
            file = file / MODEL
        if not file.is_file():
            raise NesfError(f"{path} holds no trained baseline; give the folder of a finished nesf baseline train.")
        networks, card = weights.load(file)
        return cls(networks.to(device), card)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.card.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256()
        for name, value in self.networks.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    @property
    def bottleneck(self) -> int:
        """The fewest numbers that a crystal passes through."""
        network = self.card.settings.network
        return min(network.latent, self.networks.vae.to_latent.in_features)

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return next(self.networks.parameters()).device

    def refusal(self, crystal: Crystal) -> str | None:
        """Why the baseline cannot take a crystal, in one sentence, or None if it can."""
        return number_problem(torch.tensor(crystal.numbers))

    def reconstruct(
        self,
        crystals: Sequence[Crystal],
        *,
        sampled: bool = False,
        generator: torch.Generator | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Crystal | Failure]:
        """What the baseline remembers of each crystal; a ``Failure`` where it takes or finds none.

        Args:
            crystals: true crystals.
            sampled: decode a latent vector drawn at random, as published, instead of the mean.
            generator: where it is drawn from.
            progress: called with the number of crystals done since its last call.
        """
        found: dict[int, Crystal | Failure] = {}
        for i, crystal in enumerate(crystals):
            if (reason := self.refusal(crystal)) is not None:
                found[i] = Failure(crystal.id, reason)
        if progress is not None:
            progress(len(found))
        taken = torch.tensor([i for i in range(len(crystals)) if i not in found], dtype=torch.long)
        for part in taken.split(_AT_ONCE.get(self.device.type, _AT_ONCE["cpu"])) if len(taken) else ():
            some = [crystals[i] for i in part.tolist()]
            found |= dict(zip(part.tolist(), self._reconstruct(some, sampled, generator), strict=True))
            if progress is not None:
                progress(len(some))
        return [found[i] for i in range(len(crystals))]

    @torch.no_grad()
    def _reconstruct(
        self, crystals: Sequence[Crystal], sampled: bool, generator: torch.Generator | None
    ) -> list[Crystal | Failure]:
        settings = self.card.settings
        scaling = settings.network.scaling
        grids = voxelise(CrystalBatch.from_crystals(crystals, self.device), settings.grid).grids()
        posterior = self.networks.vae.encode(scaled(grids, scaling))
        decoded = self.networks.vae.decode(posterior.sample(generator) if sampled else posterior.mean)
        lengths = lattice_lengths(decoded[:, 1:] * UNIT[scaling], settings.grid, settings.lengths).cpu().numpy()
        seen = self.networks.unet(decoded)
        species = seen.species.argmax(1).to(torch.uint8).cpu().numpy()
        mask = (seen.mask.sigmoid() >= settings.threshold).cpu().numpy()
        return [
            crystal_from_grid(crystal.id, species[i], mask[i], lengths[i], None, settings.grid)
            for i, crystal in enumerate(crystals)
        ]
