"""Decoding proven on real data: the true field of every crystal gives that crystal back."""

from dataclasses import replace

import numpy as np
import pytest

from nesf.config import FAST, PAPER
from nesf.crystal import Crystal, Failure
from nesf.decoding import EstimationSettings, estimate
from nesf.domain import Domain
from nesf.fields import TrueField
from nesf.io.table import read_table

WITHIN_ANGSTROM = 1e-3
AT_ONCE = 64
every_table = pytest.mark.parametrize("table", ["lcs6a_val", "icsg3d_val", "ybco_like"])


def read(path) -> list[Crystal]:
    rows = read_table(path)
    crystals = [row for row in rows if isinstance(row, Crystal)]
    assert len(crystals) == len(rows) > 0
    return crystals


def difference(true: Crystal, found: Crystal | Failure) -> str | None:
    """What is not as it was; None if the crystal came back."""
    if isinstance(found, Failure):
        return found.reason
    if len(found) != len(true):
        return f"{len(found)} atoms instead of {len(true)}"
    distance = np.linalg.norm(true.cart[:, None] - found.cart[None], axis=-1)
    match = distance.argmin(1)
    if len(set(match.tolist())) != len(true) or distance.min(1).max() >= WITHIN_ANGSTROM:
        return f"an atom is {distance.min(1).max():.4f} Å off"
    return None if (found.numbers[match] == true.numbers).all() else "an element is another"


def not_returned(crystals: list[Crystal], how: EstimationSettings, *, literal: bool = False) -> dict[str, str]:
    domain = Domain.of(crystals)
    box = (domain.atoms_lower, domain.atoms_upper)
    wrong = {}
    for i in range(0, len(crystals), AT_ONCE):
        some = crystals[i : i + AT_ONCE]
        found = estimate(TrueField.of(some), [c.id for c in some], how, box=box, literal=literal)
        wrong |= {c.id: reason for c, f in zip(some, found, strict=True) if (reason := difference(c, f)) is not None}
    return wrong


@every_table
def test_every_crystal_comes_back_with_the_fast_settings(shared_data, table):
    assert not_returned(read(shared_data / f"{table}.parquet"), FAST.estimation) == {}


@every_table
def test_a_sample_comes_back_with_the_settings_of_the_paper(shared_data, table):
    # On a true field particles arrive in one step: the paper's other 63 iterations only take time.
    how = replace(PAPER.estimation, iterations=4)
    assert not_returned(read(shared_data / f"{table}.parquet")[::8], how) == {}


def test_a_few_come_back_with_all_iterations_of_the_paper_on_the_literal_path(shared_data):
    some = read(shared_data / "lcs6a_val.parquet")[::48]
    assert not_returned(some, PAPER.estimation, literal=True) == {}


def test_a_coarser_grid_loses_atoms(shared_data):
    # The oracle can fail: on a grid of 2 Å too few particles reach each atom.
    some = read(shared_data / "lcs6a_val.parquet")[::8]
    assert len(not_returned(some, replace(FAST.estimation, interval=2.0))) > len(some) / 2
