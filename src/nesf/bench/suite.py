"""All measurements in one run on one machine."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

import nesf
from nesf.bench.decoding_speed import DecodingSpeed, decoding_speed, is_of_paper
from nesf.bench.effort import Effort
from nesf.bench.growth import Series, growth
from nesf.bench.memory import MemoryGauge
from nesf.bench.peak import Peak, measure_peak
from nesf.bench.training_speed import TrainingSpeed, training_speed
from nesf.bench.workload import mean_atoms
from nesf.codec import Codec
from nesf.crystal import Crystal
from nesf.data import Dataset
from nesf.errors import NesfError
from nesf.memory import keep_freed_memory
from nesf.runs import hardware

SEED = 0
"""Of the choice and order of crystals, of weights and of noise in the trainings that are timed."""
STAGES = ("peak of matrix products", "decoding", "growth of time", "training")


@dataclass(frozen=True)
class Report:
    """What one run has measured.

    Attributes:
        effort: sizes of the measurements.
        device: the machine in words.
        threads: of the processor that PyTorch computes with.
        model: name of the model that decodes.
        data: what is decoded: name, hash, number of crystals taken, mean atoms per cell.
        train_data: likewise, what is trained on, if anything is.
        refused: crystals that the model does not take, and that are left out.
        peak: what matrix products reach.
        decoding: encoding and decoding.
        training: training of the paper's network; None where the model is of another architecture.
        growth: times against sizes.
    """

    effort: Effort
    device: str
    threads: int
    model: str
    data: dict[str, Any]
    train_data: dict[str, Any] | None
    refused: int
    peak: Peak
    decoding: DecodingSpeed
    training: TrainingSpeed | None
    growth: tuple[Series, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON: the headline numbers first, then everything; None for what has none."""
        decoding, training, reference = self.decoding, self.training, self.decoding.reference
        memory = decoding.peak_bytes | (training.peak_bytes if training else {})
        own = [value for name, value in memory.items() if "reference" not in name and "literal" not in name]
        return {
            "device": self.device,
            "decode_per_second": decoding.decode.per_second,
            "decode_reference_per_second": reference and reference.per_second,
            "decode_literal_per_second": decoding.literal.per_second,
            "encode_per_second": decoding.encode.per_second,
            **(self._of_training(training) if training else {}),
            "ratios": self.ratios(),
            "peak_share": decoding.flops_per_second / self.peak.best,
            "peak_memory_bytes": max(own),
            "memory_bytes": memory,
            "threads": self.threads,
            "software": software(),
            "seed": SEED,
            "model": self.model,
            "data": self.data,
            "train_data": self.train_data,
            "refused": self.refused,
            "agreement": decoding.agreement.to_dict(),
            "peak": asdict(self.peak),
            "decoding": asdict(decoding),
            "training": training and asdict(training),
            "growth": [asdict(series) for series in self.growth],
            "effort": asdict(self.effort),
        }

    def _of_training(self, training: TrainingSpeed) -> dict[str, Any]:
        headline = training.headline
        return {
            "train_per_second": headline.auto.per_second,
            "train_float32_per_second": headline.float32.per_second,
            "train_reference_per_second": headline.reference.per_second,
            "train_fast_preset_per_second": training.fast.per_second,
            "train_queries_per_second": headline.auto.queries_per_second,
            "train_reference_queries_per_second": headline.reference.queries_per_second,
            "train_fast_preset_queries_per_second": training.fast.queries_per_second,
            "train_peak_share": training.paper_flops_per_second / self.peak.best,
            "train_fast_preset_peak_share": training.fast_flops_per_second / self.peak.best,
        }

    def ratios(self) -> dict[str, float]:
        """How many times as fast as its reference each path is that has one."""
        decoding = self.decoding
        ratios = {"decode_against_literal": decoding.decode.per_second / decoding.literal.per_second}
        if decoding.reference is not None:
            ratios["decode"] = decoding.decode.per_second / decoding.reference.per_second
        if self.training is not None:
            headline = self.training.headline
            ratios["train"] = headline.auto.per_second / headline.reference.per_second
            ratios["train_float32"] = headline.float32.per_second / headline.reference.per_second
        return ratios


def measure(codec: Codec, data: Dataset, train: Dataset, effort: Effort, note: Callable[[str], None]) -> Report:
    """Measure everything; ``note`` hears the name of each of ``STAGES`` when it begins.

    Args:
        codec: the model, on the device that is measured.
        data: crystals to encode and decode; those that the model refuses are left out and counted.
        train: crystals to train the paper's network on, which is measured where the model is such a one.
        effort: how much to measure.
        note: for progress.

    Raises:
        NesfError: if the model takes none of the crystals.
    """
    taken = [crystal for crystal in data.crystals if codec.refusal(crystal) is None]
    if not taken:
        reason = codec.refusal(data.crystals[0])
        raise NesfError(f"The model {codec.card.name} takes no crystal of {data.name}; the first: {reason}")
    # As the commands do it; the references gain by it as well.
    keep_freed_memory()
    gauge = MemoryGauge(codec.device)
    note(STAGES[0])
    peak = measure_peak(codec.device, quick=effort.name == "quick")
    note(STAGES[1])
    decoded = decoding_speed(codec, taken, effort, gauge)
    note(STAGES[2])
    series = growth(codec, taken, effort)
    note(STAGES[3])
    trained = training_speed(train.crystals, codec.device, effort, gauge) if is_of_paper(codec) else None
    return Report(
        effort,
        hardware(codec.device),
        torch.get_num_threads(),
        codec.card.name,
        _described(data, taken),
        _described(train, train.crystals) if trained else None,
        len(data.crystals) - len(taken),
        peak,
        decoded,
        trained,
        series,
    )


def software() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "nesf": nesf.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _described(data: Dataset, crystals: Sequence[Crystal]) -> dict[str, Any]:
    return {
        "name": data.name,
        "sha256": data.sha256,
        "crystals": len(crystals),
        "atoms_per_cell": round(mean_atoms(crystals), 2),
    }
