"""Training: the package against the literal reference, with the same network, crystals and kinds of queries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from nesf.bench.effort import Effort
from nesf.bench.literal_training import LiteralTraining
from nesf.bench.memory import MemoryGauge
from nesf.bench.peak import QueryCost
from nesf.bench.rate import Rate
from nesf.bench.timing import interleaved
from nesf.bench.workload import box_of, drawn, vocabulary_of
from nesf.config import FAST, PAPER, Config
from nesf.crystal import Crystal, CrystalBatch
from nesf.data.augmentation import ElementPermutation
from nesf.fields.grids import Box, box_grid, local_grid
from nesf.fields.sampling import LocalSampling
from nesf.model import Autoencoder
from nesf.training import SamplingSettings, Trainer

# Backward, each product of the forward pass has two: the gradients of its input and of its weights.
FORWARD_AND_BACKWARD = 3
ENDLESS = 100_000


@dataclass(frozen=True)
class Comparison:
    """Preset ``paper`` at one batch size.

    Attributes:
        batch: crystals per step.
        reference: the literal training, float32.
        float32: the package, float32.
        auto: the package, in the precision that it chooses on this machine.
    """

    batch: int
    reference: Rate
    float32: Rate
    auto: Rate


@dataclass(frozen=True)
class TrainingSpeed:
    """Throughput of training.

    Attributes:
        comparisons: preset ``paper``, by batch size.
        fast: preset ``fast`` as it is.
        paper_flops_per_second: of the package at the paper's sampling in its own precision, by what the layers need.
        fast_flops_per_second: of preset ``fast``.
        peak_bytes: memory of each path.
    """

    comparisons: tuple[Comparison, ...]
    fast: Rate
    paper_flops_per_second: float
    fast_flops_per_second: float
    peak_bytes: dict[str, int]

    @property
    def headline(self) -> Comparison:
        """The batch size at which the reference is fastest."""
        return max(self.comparisons, key=lambda comparison: comparison.reference.per_second)


def training_speed(
    crystals: Sequence[Crystal], device: torch.device, effort: Effort, gauge: MemoryGauge
) -> TrainingSpeed:
    """Measure on crystals of a training set; the box of the global grid is that of the whole set."""
    everything, peak_bytes = list(crystals), {}
    # Without the box of the whole set a few crystals would be asked at fewer points than the paper does.
    box, vocabulary = box_of(everything), vocabulary_of(everything)
    preset = drawn(everything, FAST.training.batch * effort.preset_steps)
    job = package_training(FAST, preset, everything, device)
    peak_bytes["train_fast"] = gauge.peak_of(job)
    timing = interleaved({"fast": job}, device, least=effort.rounds, seconds=effort.seconds / 4)["fast"]
    position, species = asked(FAST.sampling, preset, box)
    fast = Rate.of(len(preset), timing, position + species)
    comparisons = tuple(_compare(batch, everything, device, effort, gauge, peak_bytes) for batch in effort.batches)
    best = max(comparisons, key=lambda comparison: comparison.reference.per_second)
    paper_asked = asked(PAPER.sampling, drawn(everything, best.auto.crystals), box)
    return TrainingSpeed(
        comparisons,
        fast,
        _flops(PAPER, len(vocabulary), *paper_asked) / best.auto.timing.seconds,
        _flops(FAST, len(vocabulary), position, species) / timing.seconds,
        peak_bytes,
    )


def _compare(
    batch: int,
    everything: Sequence[Crystal],
    device: torch.device,
    effort: Effort,
    gauge: MemoryGauge,
    peak_bytes: dict[str, int],
) -> Comparison:
    some = drawn(everything, batch * effort.steps)
    box, vocabulary = box_of(everything), vocabulary_of(everything)
    literal = LiteralTraining(
        some, vocabulary, PAPER.network, PAPER.sampling, PAPER.loss, box=box, batch=batch, device=device
    )
    jobs: dict[str, Callable[[], object]] = {"reference": literal.epoch}
    for precision in ("float32", "auto"):
        training = replace(PAPER.training, batch=batch, precision=precision)
        jobs[precision] = package_training(replace(PAPER, training=training), some, everything, device)
    # Measuring memory is the warm-up; what needs most comes last.
    for name in ("auto", "float32", "reference"):
        peak_bytes[f"train_paper_{name}_{batch}"] = gauge.peak_of(jobs[name])
    timings = interleaved(jobs, device, least=effort.rounds, seconds=effort.seconds, warm_up=False)
    queries = sum(asked(PAPER.sampling, some, box))
    rates = {name: Rate.of(len(some), timing, queries) for name, timing in timings.items()}
    return Comparison(batch, rates["reference"], rates["float32"], rates["auto"])


def package_training(
    config: Config, crystals: Sequence[Crystal], everything: Sequence[Crystal], device: torch.device
) -> Callable[[], object]:
    """A job that trains one further epoch on some crystals of a training set, as ``nesf train`` does."""
    endless = replace(config, training=replace(config.training, epochs=ENDLESS))
    epochs = trainer_of(endless, crystals, everything, device).run()
    return lambda: next(epochs)


def trainer_of(
    config: Config, crystals: Sequence[Crystal], everything: Sequence[Crystal], device: torch.device
) -> Trainer:
    """A new network with its trainer; elements and box are those of the whole training set."""
    torch.manual_seed(config.training.seed)
    vocabulary, share = vocabulary_of(everything), config.training.permute_elements
    return Trainer(
        Autoencoder(config.network, vocabulary).to(device),
        CrystalBatch.from_crystals(crystals, device),
        None,
        config.sampling,
        config.loss,
        config.training,
        box=box_of(everything),
        augmentation=ElementPermutation(vocabulary, share) if share else None,
    )


def asked(sampling: SamplingSettings, crystals: Sequence[Crystal], box: Box) -> tuple[int, int]:
    """Queries of the position field and of the species field in one pass over crystals."""
    everywhere = sampling.position_global.per_crystal
    if everywhere is None:
        lower, upper = torch.tensor(box[0]), torch.tensor(box[1])
        interval = sampling.position_global.interval
        everywhere = len(box_grid(lower - interval, upper + interval, interval))
    around = _around(sampling.position_local, crystals)
    return everywhere * len(crystals) + around, _around(sampling.species_local, crystals)


def _around(sampling: LocalSampling, crystals: Sequence[Crystal]) -> int:
    if sampling.per_crystal is not None:
        return sampling.per_crystal * len(crystals)
    return len(local_grid(sampling.interval, sampling.width)) * sum(map(len, crystals))


def _flops(config: Config, n_elements: int, position: int, species: int) -> int:
    cost = QueryCost.of(config.network, n_elements)
    return FORWARD_AND_BACKWARD * (position * cost.position + species * cost.species)
