"""The four losses of the paper (equation 2), and one for anchors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf.crystal import CrystalBatch
from nesf.fields import TrueField
from nesf.fields.grids import Box
from nesf.fields.sampling import Queries, global_queries, local_queries
from nesf.model import Architecture
from nesf.model.anchors import AnchorField
from nesf.model.attention import exactly
from nesf.model.estimates import RIGHT_ANGLE, LatticeEstimate
from nesf.model.set_encoder import OrderedAtoms
from nesf.shapes import Float, Int
from nesf.training.settings import LossSettings, SamplingSettings
from nesf.training.team import ALONE, Team

LOSSES = ("position", "species", "length", "angle", "anchors")
# What losses are means over, beside queries and crystals: the atoms that anchors are told.
_TOLD = "atoms"

# Errors much smaller than this count by their squares, so that they can vanish smoothly.
SMOOTH_ANGSTROM = 0.05
# A pull of so many means that an anchor stands for an atom e times as likely as for none.
PULL_SCALE = 4.0
# Weight of that decision beside a distance in angstrom.
_DECISION = 0.3
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
        shares: how much of the batch this is, by the name of a loss: its part of the queries, or of the crystals;
            and by "atoms": of the atoms that anchors are told.
    """

    position: Queries
    species: Queries
    vectors: Float[Tensor, "n 3"]
    classes: Int[Tensor, " m"]
    shares: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys((*LOSSES, _TOLD), 1.0))

    @property
    def count(self) -> int:
        """Points at which the fields are asked."""
        return len(self.position.points) + len(self.species.points)


def targets(
    batch: CrystalBatch,
    model: Architecture,
    sampling: SamplingSettings,
    box: Box | None,
    generator: torch.Generator | None,
    team: Team = ALONE,
) -> Targets:
    """Sample queries (without noise if ``generator`` is None) and ask the true field.

    All processes of a team draw the queries of the whole batch, so that they train as one would, and each keeps those
    of its own part of the crystals.
    """
    batch = model.listed(batch)
    everywhere = global_queries(batch, sampling.position_global, box, generator)
    position = everywhere.joined(local_queries(batch, sampling.position_local, generator))
    species = local_queries(batch, sampling.species_local, generator)
    shares = dict.fromkeys((*LOSSES, _TOLD), 1.0)
    if team.size > 1:
        start, stop = team.part(len(batch))
        told = batch.counts.clamp_max(model.settings.anchors.tokens)
        of_told = float(told[start:stop].sum() / told.sum())
        sizes = (len(position.points), len(species.points), len(batch))
        batch = batch.select(torch.arange(start, stop))
        position, species = position.of(start, stop), species.of(start, stop)
        parts = (len(position.points), len(species.points), len(batch))
        of_position, of_species, of_crystals = (part / size for part, size in zip(parts, sizes, strict=True))
        shares = dict.fromkeys(LOSSES, of_crystals) | {"position": of_position, "species": of_species, _TOLD: of_told}
    truth = TrueField(batch, model.vocabulary)
    vectors, _ = truth.nearest_at(position)
    _, classes = truth.nearest_at(species)
    return Targets(position, species, vectors, classes, shares)


def losses(
    model: Architecture,
    batch: CrystalBatch,
    wanted: Targets,
    settings: LossSettings,
    z_noise: Float[Tensor, "n_crystals latent"] | None = None,
) -> dict[str, Tensor]:
    """Each loss without its weight, and their weighted sum as "total".

    Args:
        model: the autoencoder.
        batch: the crystals that ``wanted`` was made for.
        wanted: queries and true values.
        settings: weights and measure of the losses.
        z_noise: added to the latent vectors.

    Returns:
        Position in square angstrom or angstrom, species in nats, length in square angstrom or relative, angle in
        square radians or radians; all times their share of the batch.
    """
    z = model.encode(batch)
    fields = model.decode_field(z if z_noise is None else z + z_noise)
    if isinstance(fields, AnchorField):
        fields = fields.within(batch.cells)
    error = fields.displacement_at(wanted.position).float() - wanted.vectors
    logits = fields.species_logits_at(wanted.species).float()
    lengths, angles_rad = batch.parameters()
    found = fields.lattice.lengths.float()
    distances = settings.measure == "distances"
    parts = {
        "position": distance(error).mean() if distances else error.square().mean(),
        "species": functional.cross_entropy(logits, wanted.classes),
        "length": (found / lengths).log().abs().mean() if distances else (found - lengths).square().mean(),
        "angle": angle_loss(fields.lattice, angles_rad, distances),
    }
    if settings.anchors > 0 and isinstance(fields, AnchorField):
        atoms = OrderedAtoms.of(batch, model.vocabulary.class_of(batch.numbers))
        parts["anchors"] = anchor_loss(fields, atoms, settings.species, wanted.shares[_TOLD] / wanted.shares["anchors"])
    parts = {name: wanted.shares[name] * value for name, value in parts.items()}
    parts["total"] = torch.stack([getattr(settings, name) * value for name, value in parts.items()]).sum()
    return parts


def distance(error: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """The length of each error, angstrom, smooth where it is much below ``SMOOTH_ANGSTROM``."""
    return (error.square().sum(-1) + SMOOTH_ANGSTROM**2).sqrt() - SMOOTH_ANGSTROM


def anchor_loss(field: AnchorField, atoms: OrderedAtoms, species: float, density: float = 1.0) -> Float[Tensor, ""]:
    """How far each anchor is from being the atom of the same place in the order: position, element, and whether it is.

    Args:
        field: the field whose cells are the true ones.
        atoms: the true atoms; those beyond the number of anchors are left to the losses of the fields.
        species: weight of the elements.
        density: of a part of a batch, its share of the atoms over its share of the crystals.
    """
    tokens = field.anchors.pull.shape[1]
    exists = atoms.exists[:, :tokens]
    count = exists.shape[1]
    with exactly(field.cells.device):
        error = (field.anchors.frac[:, :count] - atoms.frac[:, :tokens]) @ field.cells
    near = distance(error)[exists].mean()
    named = functional.cross_entropy(field.anchors.logits[:, :count][exists].float(), atoms.classes[:, :tokens][exists])
    # Where atoms are more than anchors, no anchor is told to stand for none.
    occupied = functional.pad(exists, (0, tokens - count)).float()
    decided = functional.binary_cross_entropy_with_logits(field.anchors.pull / PULL_SCALE, occupied)
    return density * (near + species * named) + _DECISION * decided


class Objective(nn.Module):
    """``losses`` as a module, for ``DistributedDataParallel`` to wrap.

    Args:
        model: the autoencoder.
        settings: weights of the losses.
    """

    def __init__(self, model: Architecture, settings: LossSettings) -> None:
        super().__init__()
        self.model = model
        self.settings = settings

    def forward(
        self, batch: CrystalBatch, wanted: Targets, z_noise: Float[Tensor, "n_crystals latent"] | None = None
    ) -> dict[str, Tensor]:
        """The losses of a batch."""
        return losses(self.model, batch, wanted, self.settings, z_noise)


def angle_loss(
    estimate: LatticeEstimate, angles_rad: Float[Tensor, "n_crystals 3"], distances: bool = False
) -> Float[Tensor, ""]:
    """Mean square (or absolute) error of angles; with the hurdle head, of oblique ones, plus the decision's loss."""
    difference = estimate.oblique_angles_rad.float() - angles_rad
    error = difference.abs() if distances else difference.square()
    if estimate.oblique_logits is None:
        return error.mean()
    oblique = ((angles_rad - RIGHT_ANGLE).abs() > RIGHT_TOLERANCE_RAD).float()
    decision = functional.binary_cross_entropy_with_logits(estimate.oblique_logits.float(), oblique)
    return decision + (error * oblique).mean()
