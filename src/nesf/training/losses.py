"""The four losses of the paper (equation 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nesf.crystal import CrystalBatch
from nesf.fields import TrueField
from nesf.fields.grids import Box
from nesf.fields.sampling import Queries, global_queries, local_queries
from nesf.model import Autoencoder
from nesf.model.autoencoder import RIGHT_ANGLE, LatticeEstimate
from nesf.shapes import Float
from nesf.training.settings import LossSettings, SamplingSettings

# Angles closer to a right angle than this count as right: 0.01 degrees, the precision of most files.
RIGHT_TOLERANCE_RAD = 1.75e-4


@dataclass(frozen=True)
class Targets:
    """Queries of one batch and the true values there."""

    position: Queries
    species: Queries
    vectors: Float[Tensor, "n 3"]
    classes: Tensor


def targets(
    batch: CrystalBatch,
    model: Autoencoder,
    sampling: SamplingSettings,
    box: Box | None,
    generator: torch.Generator | None,
) -> Targets:
    """Sample queries (without noise if ``generator`` is None) and ask the true field."""
    truth = TrueField(batch, model.vocabulary)
    everywhere = global_queries(batch, sampling.position_global, box, generator)
    position = everywhere.joined(local_queries(batch, sampling.position_local, generator))
    species = local_queries(batch, sampling.species_local, generator)
    vectors, _ = truth.nearest(position.points, position.owner)
    _, classes = truth.nearest(species.points, species.owner)
    return Targets(position, species, vectors, classes)


def losses(model: Autoencoder, batch: CrystalBatch, wanted: Targets, settings: LossSettings) -> dict[str, Tensor]:
    """The unweighted losses ``position``, ``species``, ``length``, ``angle``, and their weighted ``total``."""
    field = model.decode_field(model.encode(batch))
    error = field.displacement_at(wanted.position).float() - wanted.vectors
    logits = field.species_logits_at(wanted.species).float()
    lengths, angles_rad = batch.parameters()
    parts = {
        "position": error.square().mean(),
        "species": functional.cross_entropy(logits, wanted.classes),
        "length": (field.lattice.lengths.float() - lengths).square().mean(),
        "angle": angle_loss(field.lattice, angles_rad),
    }
    weights = {name: getattr(settings, name) for name in parts}
    parts["total"] = torch.stack([weights[name] * value for name, value in parts.items()]).sum()
    return parts


def angle_loss(estimate: LatticeEstimate, angles_rad: Float[Tensor, "n_crystals 3"]) -> Float[Tensor, ""]:
    """Mean square error of the angles; with the hurdle head, only of the oblique ones, plus the decision's loss."""
    error = (estimate.oblique_angles_rad.float() - angles_rad).square()
    if estimate.oblique_logits is None:
        return error.mean()
    oblique = ((angles_rad - RIGHT_ANGLE).abs() > RIGHT_TOLERANCE_RAD).float()
    decision = functional.binary_cross_entropy_with_logits(estimate.oblique_logits.float(), oblique)
    return decision + (error * oblique).mean()
