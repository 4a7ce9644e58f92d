"""How a model is trained."""

from dataclasses import dataclass, field
from typing import Literal

from nesf.errors import NesfError
from nesf.fields.sampling import GlobalSampling, LocalSampling


@dataclass(frozen=True)
class SamplingSettings:
    """Where the fields are queried in training (paper, Supplementary Note 6).

    Attributes:
        position_global: queries of the position field all over the cell.
        position_local: queries of the position field around the atoms.
        species_local: queries of the species field around the atoms.
    """

    position_global: GlobalSampling = field(default_factory=GlobalSampling)
    position_local: LocalSampling = field(default_factory=lambda: LocalSampling(0.3, 1.2, 0.5))
    species_local: LocalSampling = field(default_factory=lambda: LocalSampling(0.1, 0.5, 0.5))


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses (paper, equation 2), and how errors are measured.

    Attributes:
        position: weight of the position field's loss (mean square of the components, square angstrom).
        species: weight of the species field's loss (mean cross-entropy, nats).
        length: weight of the lengths' loss (square angstrom).
        angle: weight of the angles' loss (square radians).
        anchors: weight of telling each anchor its atom (architecture "anchors"): distance in angstrom, element with
            the weight ``species``, and whether it stands for an atom.
        measure: "squares" of errors (paper), or "distances": the length of position errors, absolute errors of the
            logarithms of lengths, which must be positive (as those of architecture "anchors" are), and of angles in
            radians.
    """

    position: float = 10.0
    species: float = 0.1
    length: float = 1.0
    angle: float = 1.0
    anchors: float = 0.0
    measure: Literal["squares", "distances"] = "squares"


@dataclass(frozen=True)
class TrainingSettings:
    """The optimisation.

    Attributes:
        epochs: passes over the training data.
        batch: crystals per step.
        learning_rate: the initial rate of the step schedule, the peak rate of one-cycle.
        schedule: "step" multiplies the rate by ``step_factor`` every ``step_epochs`` (paper);
            "one-cycle" rises over the first ``warmup`` of the steps and falls to zero along a cosine.
        step_epochs: epochs between two steps.
        step_factor: factor of each step.
        warmup: share of the steps that the rise takes.
        permute_elements: share of the crystals whose elements are exchanged by a random permutation of
            the vocabulary, in input and target alike.
        mix_elements: share of the crystals whose atoms get elements at random, of as many kinds as there may be: up to
            the room of the model, or its vocabulary.
        strain: greatest relative change of a, b and c, drawn anew each time a crystal is seen.
        rattle: standard deviation of random displacements of the atoms in each direction, angstrom.
        deform: share of the crystals that are strained, and of those that are rattled.
        double: share of the batches whose cells are doubled along their shortest edge, as far as no crystal gets
            more atoms than the model's domain has.
        shift: share of the crystals whose origin is moved to a random place.
        latent_noise: standard deviation of what is added to each number of z, so that nearby vectors mean nearby
            crystals.
        group: so many batches at a time are cut out of crystals sorted by size, which saves filling up small ones.
        clip: greatest norm of the gradient; longer ones are shortened to it.
        precision: of the layers in training; "auto" takes bfloat16 where the processor computes with it.
        validate_every: epochs between two validations.
        keep: which weights are kept: those with the best validation loss, or the last.
        seed: of everything random.
    """

    epochs: int = 3200
    batch: int = 128
    learning_rate: float = 1e-3
    schedule: Literal["step", "one-cycle"] = "step"
    step_epochs: int = 640
    step_factor: float = 0.5
    warmup: float = 0.1
    permute_elements: float = 0.0
    mix_elements: float = 0.0
    strain: float = 0.0
    rattle: float = 0.0
    deform: float = 1.0
    double: float = 0.0
    shift: float = 0.0
    latent_noise: float = 0.0
    group: int = 1
    clip: float = float("inf")
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    validate_every: int = 10
    keep: Literal["best", "last"] = "best"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2), ("validate_every", 1), ("step_epochs", 1), ("group", 1)):
            if getattr(self, name) < least:
                raise NesfError(f"training.{name} is {getattr(self, name)}; it must be at least {least}.")
        if not 0 < self.learning_rate < float("inf"):
            raise NesfError(f"training.learning_rate is {self.learning_rate}; it must be a positive number.")
        if not 0 <= self.rattle <= 1:
            raise NesfError(f"training.rattle is {self.rattle}; it is a length in angstrom, from 0 to 1.")
        if not 0 <= self.strain < 1:
            raise NesfError(f"training.strain is {self.strain}; it is a share, from 0 to less than 1.")
        for name in ("latent_noise", "clip"):
            if not getattr(self, name) >= 0:
                raise NesfError(f"training.{name} is {getattr(self, name)}; it must not be negative.")
        for name in ("warmup", "permute_elements", "mix_elements", "deform", "double", "shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise NesfError(f"training.{name} is {getattr(self, name)}; it is a share, from 0 to 1.")
