"""How much is measured: within a minute, in a few minutes, or on a GPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Sizes of all measurements.

    Attributes:
        name: for the report.
        seconds: each comparison is repeated until this time is spent.
        rounds: and at least this many times, after the warm-up.
        batches: crystals per step when training at the paper's sampling, fast and literal alike.
        steps: of these in a repeat.
        preset_steps: steps of preset ``fast`` in a repeat.
        decode: crystals that are decoded and encoded in a repeat.
        literal: crystals that are decoded literally, with the model's own parameters.
        released: crystals that are decoded literally, with the parameters of preset ``released``.
        growth: crystals decoded together, for the growth of time with their number.
        queries: points asked together, likewise.
        chunk: crystals decoded together, for the growth of time with atoms per cell.
    """

    name: str
    seconds: float
    rounds: int
    batches: tuple[int, ...]
    steps: int
    preset_steps: int
    decode: int
    literal: int
    released: int
    growth: tuple[int, ...]
    queries: tuple[int, ...]
    chunk: int


QUICK = Effort(
    name="quick",
    seconds=1.0,
    rounds=2,
    batches=(32,),
    steps=1,
    preset_steps=2,
    decode=64,
    literal=2,
    released=1,
    growth=(1, 4, 16, 64),
    queries=(1 << 10, 1 << 12, 1 << 14),
    chunk=8,
)
FULL = Effort(
    name="full",
    seconds=10.0,
    rounds=3,
    batches=(64, 128),
    steps=1,
    preset_steps=8,
    decode=512,
    literal=8,
    released=3,
    growth=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    queries=tuple(1 << i for i in range(8, 18)),
    chunk=64,
)
GPU = Effort(
    name="gpu",
    seconds=2.0,
    rounds=3,
    batches=(64, 128),
    steps=4,
    preset_steps=100,
    decode=4096,
    literal=8,
    released=4,
    growth=tuple(1 << i for i in range(15)),
    queries=tuple(1 << i for i in range(8, 22)),
    chunk=512,
)
