"""The four losses of the paper (equation 2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf.crystal import CrystalBatch
from nesf.fields import TrueField
from nesf.fields.grids import Box
from nesf.fields.sampling import Queries, global_queries, local_queries
from nesf.model import Autoencoder
from nesf.model.autoencoder import RIGHT_ANGLE, LatticeEstimate
from nesf.shapes import Float, Int
from nesf.training.settings import LossSettings, SamplingSettings
from nesf.training.team import ALONE, Team

LOSSES = ("position", "species", "length", "angle")

# Angles closer to a right angle than this count as right: 0.01 degrees, the precision of most files.
RIGHT_TOLERANCE_RAD = 1.75e-4


@dataclass(frozen=True)
class Targets:
    """Queries of one batch, or of one process's part of it, and the true values there.

    Attributes:
        position: queries of the position field.
        species: queries of the species field.
        vectors: (n, 3) true displacements at the former, angstrom.
        classes: (m,) true classes at the latter.
        shares: how much of the batch this is, by the name of a loss: its part of the queries, or of the crystals.
    """

    position: Queries
    species: Queries
    vectors: Float[Tensor, "n 3"]
    classes: Int[Tensor, " m"]
    shares: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(LOSSES, 1.0))

    @property
    def count(self) -> int:
        """Points at which the fields are asked."""
        return len(self.position.points) + len(self.species.points)


def targets(
    batch: CrystalBatch,
    model: Autoencoder,
    sampling: SamplingSettings,
    box: Box | None,
    generator: torch.Generator | None,
    team: Team = ALONE,
) -> Targets:
    """Sample queries (without noise if ``generator`` is None) and ask the true field.

    All processes of a team draw the queries of the whole batch, so that they train as one would, and each keeps those
    of its own part of the crystals.
    """
    everywhere = global_queries(batch, sampling.position_global, box, generator)
    position = everywhere.joined(local_queries(batch, sampling.position_local, generator))
    species = local_queries(batch, sampling.species_local, generator)
    shares = dict.fromkeys(LOSSES, 1.0)
    if team.size > 1:
        start, stop = team.part(len(batch))
        sizes = (len(position.points), len(species.points), len(batch))
        batch = batch.select(torch.arange(start, stop))
        position, species = position.of(start, stop), species.of(start, stop)
        parts = (len(position.points), len(species.points), len(batch))
        of_position, of_species, of_crystals = (part / size for part, size in zip(parts, sizes, strict=True))
        shares = dict(zip(LOSSES, (of_position, of_species, of_crystals, of_crystals), strict=True))
    truth = TrueField(batch, model.vocabulary)
    vectors, _ = truth.nearest_at(position)
    _, classes = truth.nearest_at(species)
    return Targets(position, species, vectors, classes, shares)


def losses(model: Autoencoder, batch: CrystalBatch, wanted: Targets, settings: LossSettings) -> dict[str, Tensor]:
    """The unweighted losses ``position``, ``species``, ``length``, ``angle``, and their weighted ``total``.

    Each is a mean over the batch; of a part of it, this part's contribution to that.
    """
    fields = model.decode_field(model.encode(batch))
    error = fields.displacement_at(wanted.position).float() - wanted.vectors
    logits = fields.species_logits_at(wanted.species).float()
    lengths, angles_rad = batch.parameters()
    parts = {
        "position": error.square().mean(),
        "species": functional.cross_entropy(logits, wanted.classes),
        "length": (fields.lattice.lengths.float() - lengths).square().mean(),
        "angle": angle_loss(fields.lattice, angles_rad),
    }
    parts = {name: wanted.shares[name] * value for name, value in parts.items()}
    parts["total"] = torch.stack([getattr(settings, name) * value for name, value in parts.items()]).sum()
    return parts


class Objective(nn.Module):
    """``losses`` as a module, for ``DistributedDataParallel`` to wrap.

    Args:
        model: the autoencoder.
        settings: weights of the losses.
    """

    def __init__(self, model: Autoencoder, settings: LossSettings) -> None:
        super().__init__()
        self.model = model
        self.settings = settings

    def forward(self, batch: CrystalBatch, wanted: Targets) -> dict[str, Tensor]:
        """The losses of a batch."""
        return losses(self.model, batch, wanted, self.settings)


def angle_loss(estimate: LatticeEstimate, angles_rad: Float[Tensor, "n_crystals 3"]) -> Float[Tensor, ""]:
    """Mean square error of the angles; with the hurdle head, only of the oblique ones, plus the decision's loss."""
    error = (estimate.oblique_angles_rad.float() - angles_rad).square()
    if estimate.oblique_logits is None:
        return error.mean()
    oblique = ((angles_rad - RIGHT_ANGLE).abs() > RIGHT_TOLERANCE_RAD).float()
    decision = functional.binary_cross_entropy_with_logits(estimate.oblique_logits.float(), oblique)
    return decision + (error * oblique).mean()
