"""Whether a composition is chemically sensible, by the rule of CDVAE on top of SMACT."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from math import gcd

from nesf.elements import symbol
from nesf.extras import require
from nesf.io.structures import quiet

OXIDATION_STATES = "smact14"
"""SMACT's list of 2014: its default when CDVAE was written (SMACT 2.2), while SMACT 4 defaults to one of 2024."""


def valid_composition(numbers: Iterable[int]) -> bool:
    """Whether a composition passes: one element, metals alone, or ions that are neutral and pass Pauling's test.

    There must be oxidation states, one for each element, with which the reduced composition is neutral and every
    anion is more electronegative than every cation. Promethium has no electronegativity in SMACT and passes only
    among metals; neither do elements beyond SMACT's table.

    Args:
        numbers: atomic numbers of the atoms of a cell. Answers are kept by reduced composition.

    Raises:
        NesfError: where SMACT is not installed.

    >>> valid_composition([11, 17]), valid_composition([11, 17, 17]), valid_composition([29, 30])
    (True, False, True)
    """
    counts = Counter(int(number) for number in numbers)
    divisor = gcd(*counts.values())
    return _valid(tuple(sorted((number, count // divisor) for number, count in counts.items())))


def smact_version() -> str:
    """The version of SMACT that answers; raises ``NesfError`` where it is not installed."""
    require("smact")
    return metadata.version("smact")


@lru_cache(maxsize=1 << 16)
def _valid(reduced: tuple[tuple[int, int], ...]) -> bool:
    require("smact")
    with quiet():
        from pymatgen.core import Composition
        from smact.screening import smact_validity

        composition = Composition({symbol(number): count for number, count in reduced})
        try:
            return bool(smact_validity(composition, oxidation_states_set=OXIDATION_STATES))
        except (KeyError, NameError):  # how SMACT says that it does not know an element
            return False
