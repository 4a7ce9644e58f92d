"""How many crystals a second."""

from dataclasses import dataclass

from nesf.bench.timing import Timing


@dataclass(frozen=True)
class Rate:
    """The throughput of one path.

    Attributes:
        per_second: crystals a second, by the median time.
        crystals: in a repeat.
        timing: of a repeat.
        queries_per_second: points at which the fields are asked in training; None where they are not counted.
    """

    per_second: float
    crystals: int
    timing: Timing
    queries_per_second: float | None = None

    @classmethod
    def of(cls, crystals: int, timing: Timing, queries: int | None = None) -> "Rate":
        """From the number of crystals and queries in a repeat."""
        asked = None if queries is None else queries / timing.seconds
        return cls(crystals / timing.seconds, crystals, timing, asked)
