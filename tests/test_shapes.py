"""The checker of shapes and types is on: what would pass in silence without it is refused here."""

import beartype.roar
import jaxtyping
import pytest
import torch

from nesf import elements, lattice
from nesf.crystal import CrystalBatch
from nesf.testing import rocksalt

CUBE = 4.0 * torch.eye(3)


def test_a_right_shape_passes():
    assert lattice.frac_to_cart(torch.full((2, 3), 0.5), CUBE).tolist() == [[2.0, 2.0, 2.0]] * 2


def test_a_wrong_shape_is_refused():
    # The product itself would be possible.
    with pytest.raises(jaxtyping.TypeCheckError):
        lattice.frac_to_cart(torch.zeros(2, 3), torch.zeros(3, 4))


def test_sizes_of_one_name_must_agree():
    numbers, cart, cells = torch.tensor([11, 17]), torch.zeros(3, 3), CUBE.unsqueeze(0)
    with pytest.raises(jaxtyping.TypeCheckError):
        CrystalBatch(numbers, cart, torch.tensor([2]), cells)
    assert len(CrystalBatch(numbers, cart[:2], torch.tensor([2]), cells)) == 1


def test_a_wrong_dtype_is_refused():
    batch = CrystalBatch.from_crystals([rocksalt()])
    with pytest.raises(jaxtyping.TypeCheckError):
        batch.select(torch.tensor([0.0]))
    assert len(batch.select(torch.tensor([0]))) == 1


def test_plain_annotations_are_checked_too():
    with pytest.raises((jaxtyping.TypeCheckError, beartype.roar.BeartypeCallHintViolation)):
        elements.symbol("26")
    assert elements.symbol(26) == "Fe"
