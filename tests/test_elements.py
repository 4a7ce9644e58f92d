"""Atomic numbers, symbols and classes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Element

from nesf.elements import MAX_NUMBER, Vocabulary, symbol
from nesf.errors import NesfError

numbers = st.lists(st.integers(1, MAX_NUMBER), min_size=1, max_size=20)


def test_all_symbols_are_those_of_the_periodic_table():
    assert [symbol(z) for z in range(1, 119)] == [Element.from_Z(z).symbol for z in range(1, 119)]
    assert MAX_NUMBER == 118


@given(numbers)
def test_class_and_number_are_inverse(values):
    vocabulary = Vocabulary.of(values)
    given_numbers = torch.tensor(values)
    assert vocabulary.number_of(vocabulary.class_of(given_numbers)).equal(given_numbers)
    assert len(vocabulary) == len(set(values))
    assert vocabulary.unknown(values) == []


@given(numbers)
def test_classes_ascend_with_the_number(values):
    vocabulary = Vocabulary.of(values)
    assert vocabulary.class_of(torch.tensor(vocabulary.numbers)).tolist() == list(range(len(vocabulary)))
    assert list(vocabulary.numbers) == sorted(set(values))


def test_unknown_elements_are_named_in_order_and_once():
    vocabulary = Vocabulary((1, 8))
    assert vocabulary.unknown([26, 8, 11, 26]) == ["Na", "Fe"]
    with pytest.raises(NesfError, match="outside the vocabulary: Na, Fe"):
        vocabulary.class_of(torch.tensor([26, 8, 11, 26]))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ((), "ascending, distinct"),
        ((8, 1), "ascending, distinct"),
        ((8, 8), "ascending, distinct"),
        ((0, 8), "go from 1 to 118"),
        ((8, 119), "go from 1 to 118"),
    ],
)
def test_what_is_no_vocabulary_is_refused(wrong, words):
    with pytest.raises(NesfError, match=words):
        Vocabulary(wrong)
