"""A mean that is gathered value by value and does not depend on their order."""

from collections.abc import Iterable, Mapping
from math import fsum, isfinite
from typing import Any


class Mean:
    """The mean of any number of values, gathered in bounded memory.

    The sum is kept exactly, as a few floating-point numbers of falling size: it is the same in whatever order the
    values come and however they are cut into parts, so that a score is the same after an interruption.

    >>> mean = Mean([0.1, 1e20, 0.3])
    >>> mean.add([-1e20])
    >>> mean.value, mean.count
    (0.1, 4)
    """

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.count = 0
        self._sum: list[float] = []
        self.add(values)

    def add(self, values: Iterable[float]) -> None:
        """Add values, which must be finite.

        Raises:
            ValueError: where one is not, or they are so large that a sum of some is not.
        """
        values = list(values)
        self._gather(values)
        self.count += len(values)

    def merge(self, other: "Mean") -> None:
        """Add all values of another mean."""
        self._gather(other._sum)
        self.count += other.count

    @property
    def value(self) -> float | None:
        """The mean; None where there is no value."""
        return fsum(self._sum) / self.count if self.count else None

    @property
    def percent(self) -> float | None:
        """The mean in per cent."""
        return None if self.value is None else 100 * self.value

    def to_dict(self) -> dict[str, Any]:
        """Everything about it as plain values, ready for JSON."""
        return {"count": self.count, "sum": list(self._sum)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Mean":
        """The inverse of ``to_dict``."""
        mean = cls(values["sum"])
        mean.count = values["count"]
        return mean

    def _gather(self, values: list[float]) -> None:
        terms = [*self._sum, *values]
        if not isfinite(sum(terms)):
            # No rest would ever be nothing.
            raise ValueError(f"A mean is asked for of values that are not finite, or too large to add: {values[:3]}.")
        # fsum rounds the exact sum once; what it rounded off is summed again, until nothing is left.
        parts: list[float] = []
        while rest := fsum([*terms, *(-part for part in parts)]):
            parts.append(rest)
        self._sum = parts
