"""Where the fast decoding and the literal one find different crystals."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.metrics import score
from nesf.metrics.matching import compare

TOLERANCE_ANGSTROM = 0.01
"""Atoms may be this far apart."""


@dataclass(frozen=True)
class Difference:
    """A crystal that the two paths decode differently.

    Attributes:
        id: of the crystal.
        what: the first thing that differs.
    """

    id: str
    what: str


@dataclass(frozen=True)
class Agreement:
    """The fast path against the literal one.

    Attributes:
        crystals: how many were given to both.
        compared: how many both have found.
        neither: how many both have not found.
        different: those found by one only, or with other atoms.
    """

    crystals: int
    compared: int
    neither: int
    different: tuple[Difference, ...]

    @property
    def percent(self) -> float:
        """Crystals that are the same, %."""
        return 100.0 * (1 - len(self.different) / self.crystals) if self.crystals else 100.0

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON."""
        return {**asdict(self), "percent": self.percent}


def agreement_of(fast: Sequence[Any], literal: Sequence[Any]) -> Agreement:
    """Compare what the two paths have decoded from the same latent vectors, crystal by crystal."""
    pairs = list(zip(fast, literal, strict=True))
    failed = [(isinstance(one, Failure), isinstance(other, Failure)) for one, other in pairs]
    differences = [(one.id, difference(one, other)) for one, other in pairs]
    return Agreement(
        len(pairs),
        sum(not any(pair) for pair in failed),
        sum(all(pair) for pair in failed),
        tuple(Difference(name, what) for name, what in differences if what is not None),
    )


def difference(fast: Crystal | Failure, literal: Crystal | Failure) -> str | None:
    """What differs first: number of atoms, an element, a position by more than 0.01 Å; None if nothing does."""
    if isinstance(fast, Failure) or isinstance(literal, Failure):
        if isinstance(fast, Failure) and isinstance(literal, Failure):
            return None
        return f"found by the {'literal' if isinstance(fast, Failure) else 'fast'} path only"
    if len(fast) != len(literal):
        return f"{len(fast)} atoms, literally {len(literal)}"
    both = compare(literal, fast)
    if both.actual.wrong_species.any() or both.detected.wrong_species.any():
        return f"{fast.formula}, literally {literal.formula}, or elements in other places"
    apart = max(both.actual.distances.max(), both.detected.distances.max())
    return f"an atom is {apart:.3f} Å away" if apart > TOLERANCE_ANGSTROM else None


def full_agreement(
    codec: Codec, crystals: Sequence[Crystal], progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Decode all crystals of a data set by both paths, which takes minutes.

    Args:
        codec: the model.
        crystals: true crystals; those that the model refuses are failures of both paths.
        progress: called with the number of crystals decoded literally since its last call.

    Returns:
        The agreement as plain values, with the ``scores`` of each path.
    """
    fast = codec.reconstruct(crystals)
    literal = codec.reconstruct(crystals, literal=True, progress=progress)
    scores = {
        "fast": score(zip(crystals, fast, strict=True)).to_dict(),
        "literal": score(zip(crystals, literal, strict=True)).to_dict(),
    }
    return agreement_of(fast, literal).to_dict() | {"scores": scores}
