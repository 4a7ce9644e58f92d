"""Numbers as a reader wants them: the cells of a csv table, rounded and told from words."""

import math
import re
from collections.abc import Sequence

DIGITS = 4
"""Significant digits of the largest number of a column; the others have as many decimals."""
FEWEST = 3
"""Significant digits that a small number keeps, too; and the decimals of one that is measured and next to nothing."""
TINY = 0.0005
"""What was measured and is less is shown as 0.000 beside larger numbers; what was set (1e-05) has fewer digits."""
SMALL = 0.001
"""Errors below, in angstrom or degrees, have two significant digits: three decimals would say nothing of them."""
NOTHING = "–"

_DECIMAL = re.compile(r"[-+]?\d*\.\d+(e[-+]?\d+)?|[-+]?\d+e[-+]?\d+", re.IGNORECASE)
# A number, perhaps with a unit, a deviation or a range: 5 %, 0.12 ± 0.01, -3 to 4.
_AMOUNT = re.compile(
    r"[-+−]?[\d.,]+(e[-+]?\d+)?(\s*(±|to|…|/)\s*[-+−]?[\d.,]+)*\s*\)?\s*(%|Å|°|Å³|eV|s|min|h)?", re.IGNORECASE
)


def angstrom(error: float, decimals: int = 3) -> str:
    """An error as it stands in a sentence.

    >>> angstrom(0.12345), angstrom(0.00042), angstrom(8.12e-07), angstrom(0.0)
    ('0.123 Å', '0.00042 Å', '8.1e-07 Å', '0.000 Å')
    """
    return f"{error:.2g} Å" if 0 < error < SMALL else f"{error:.{decimals}f} Å"


def is_amount(cell: str) -> bool:
    """Whether a cell is to be aligned as a number.

    >>> [is_amount(cell) for cell in ("5", "-0.12", "6.33 ± 0.63", "1e-5", "12 %", "mp-22862", "NaCl", "")]
    [True, True, True, True, True, False, False, False]
    """
    return _AMOUNT.fullmatch(cell.strip()) is not None


def numeric(column: Sequence[str]) -> bool:
    """Whether most of what a column holds is to be aligned as numbers."""
    filled = [cell for cell in column if cell.strip() not in ("", NOTHING)]
    return 2 * sum(map(is_amount, filled)) > len(filled)


def rounded(column: Sequence[str]) -> list[str]:
    """The cells of a column, decimal numbers rounded, empty ones as a dash; whole numbers and words stay.

    >>> rounded(["0.116123456", "6.35", "12", "0.00042", "", "NaCl", "12.345678"])
    ['0.116', '6.35', '12', '0.00042', '–', 'NaCl', '12.35']
    >>> rounded(["0.1", "0.25"])
    ['0.10', '0.25']
    >>> rounded(["2.50448e-06", "0.213456", "1e-05"])
    ['0.000', '0.2135', '1e-05']
    >>> rounded(["2.50448e-06", "7.13456e-07"])
    ['2.5e-06', '7.1e-07']
    """
    cells = [cell.strip() for cell in column]
    decimals = [cell for cell in cells if _DECIMAL.fullmatch(cell)]
    largest = max((abs(float(cell)) for cell in decimals if math.isfinite(float(cell))), default=0.0)
    places = _places(largest, DIGITS)
    # Where all are decimal numbers and none is to be shortened, all are of one length.
    longest = max(map(_given, decimals), default=0)
    same = longest <= places and all(cell in decimals for cell in cells if cell)
    return [_rounded(cell, places, longest if same else 0, all_tiny=largest < TINY) for cell in cells]


def _rounded(cell: str, most: int, least: int, *, all_tiny: bool) -> str:
    if not _DECIMAL.fullmatch(cell):
        return cell or NOTHING
    value = float(cell)
    if abs(value) < TINY and _significant(cell) > FEWEST:
        return f"{value:.2g}" if all_tiny and value else f"{0:.{FEWEST}f}"
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{FEWEST}g}"
    # No more decimals than were given: among longer numbers, a 6.33 from the paper is not 6.330.
    return f"{value:.{max(least, min(_given(cell), max(most, _places(value, FEWEST))))}f}"


def _significant(cell: str) -> int:
    """Significant digits that a number was written with."""
    return len(re.sub(r"\D", "", cell.lower().partition("e")[0]).lstrip("0"))


def _given(cell: str) -> int:
    """Decimals that a number was written with."""
    return len(cell.partition(".")[2]) if "e" not in cell.lower() else 12


def _places(value: float, digits: int) -> int:
    """Decimals that show a number with that many significant digits."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
