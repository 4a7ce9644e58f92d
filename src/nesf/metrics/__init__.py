"""Crystals judged against crystals, whatever method found them.

Distances are Euclidean in Å over the atoms listed in the cells, as in the NeSF paper;
the periodic variants stand beside them.
"""

from nesf.metrics.assignment import Assignment, assign
from nesf.metrics.atom_errors import AtomErrors
from nesf.metrics.columns import COLUMNS, Column
from nesf.metrics.images import closest_approach
from nesf.metrics.match_score import MatchScore, MatchTally, Verdict
from nesf.metrics.matching import Comparison, Pairing, compare
from nesf.metrics.published import PUBLISHED, PublishedRow, named, published
from nesf.metrics.score import Coverage, Farthest, Score, Tally, score
from nesf.metrics.table import errors_row, per_crystal_table

__all__ = [
    "COLUMNS",
    "PUBLISHED",
    "Assignment",
    "AtomErrors",
    "Column",
    "Comparison",
    "Coverage",
    "Farthest",
    "MatchScore",
    "MatchTally",
    "Pairing",
    "PublishedRow",
    "Score",
    "Tally",
    "Verdict",
    "assign",
    "closest_approach",
    "compare",
    "errors_row",
    "named",
    "per_crystal_table",
    "published",
    "score",
]
