"""Errors of atoms, pooled over the atoms of one crystal or of many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nesf.metrics.matching import Comparison
from nesf.shapes import Bool, Float


@dataclass(frozen=True)
class AtomErrors:
    """Means over all atoms of a split (not over crystals); None where there is no atom to average.

    Attributes:
        position_actual: mean distance from a true atom to the nearest found one, Å, over the true
            atoms of the crystals that were found.
        position_detected: mean distance from a found atom to the nearest true one, Å.
        species_actual_percent: true atoms whose nearest found atom is another element, %, over all
            true atoms; those of a crystal that was not found all count as wrong.
        species_detected_percent: found atoms whose nearest true atom is another element, %.
    """

    position_actual: float | None
    position_detected: float | None
    species_actual_percent: float | None
    species_detected_percent: float | None


def atom_errors(comparisons: Sequence[Comparison]) -> AtomErrors:
    """Pool the atoms of some comparisons."""
    found = [c for c in comparisons if c.found]
    return AtomErrors(
        position_actual=mean([c.actual.distances for c in found]),
        position_detected=mean([c.detected.distances for c in found]),
        species_actual_percent=percent([c.actual.wrong_species for c in comparisons]),
        species_detected_percent=percent([c.detected.wrong_species for c in found]),
    )


def mean(parts: Sequence[Float[np.ndarray, " _"]]) -> float | None:
    """Mean over all values of all parts; None where there are none."""
    values = np.concatenate([*parts, np.empty(0)])
    return float(values.mean()) if len(values) else None


def percent(parts: Sequence[Bool[np.ndarray, " _"]]) -> float | None:
    """Share of True over all values of all parts, %; None where there are none."""
    share = mean([part.astype(np.float64) for part in parts])
    return None if share is None else 100 * share
