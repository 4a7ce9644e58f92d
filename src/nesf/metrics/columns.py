"""The seven metrics of the paper: key, label and unit kept together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One metric.

    Attributes:
        key: its name in JSON and Python.
        label: its name for people, as in the tables of the paper.
        unit: "%", "Å" or "°".
        digits: decimals that the paper prints.
    """

    key: str
    label: str
    unit: str
    digits: int

    @property
    def title(self) -> str:
        """Label and unit, for the head of a table.

        >>> COLUMNS[1].title
        'Position error (actual) [Å]'
        """
        return f"{self.label} [{self.unit}]"


COLUMNS = (
    Column("atoms_error_percent", "Error in number of atoms", "%", 2),
    Column("position_actual", "Position error (actual)", "Å", 4),
    Column("position_detected", "Position error (detected)", "Å", 4),
    Column("species_actual_percent", "Species error (actual)", "%", 2),
    Column("species_detected_percent", "Species error (detected)", "%", 2),
    Column("length_error", "Lattice length error", "Å", 2),
    Column("angle_error", "Lattice angle error", "°", 2),
)
"""In the order of the paper's tables; every value is an error, so lower is better."""
