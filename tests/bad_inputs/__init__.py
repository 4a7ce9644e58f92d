"""Broken and odd inputs with what is to come of each: read, or left out with a reason."""

from bad_inputs import cif, tables, texts
from bad_inputs.case import Case

FILES: tuple[Case, ...] = (*cif.CASES, *texts.CASES, *tables.CASES)
"""Every case that is one file."""
