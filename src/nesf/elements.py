"""The vocabulary of a model: atomic number <-> class index."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import gcd

import torch
from torch import Tensor

from nesf.errors import NesfError
from nesf.shapes import Int

SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb "
    "Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf "
    "Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()
MAX_NUMBER = len(SYMBOLS) - 1

# Order of elements in a formula, electropositive first (IUPAC Red Book 2005, Table VI).
_FORMULA_ORDER = (
    "Og Rn Xe Kr Ar Ne He Fr Cs Rb K Na Li Ra Ba Sr Ca Mg Be Lr No Md Fm Es Cf Bk Cm Am Pu Np U Pa Th Ac "
    "Lu Yb Tm Er Ho Dy Tb Gd Eu Sm Pm Nd Pr Ce La Y Sc Rf Hf Zr Ti Db Ta Nb V Sg W Mo Cr Bh Re Tc Mn "
    "Hs Os Ru Fe Mt Ir Rh Co Ds Pt Pd Ni Rg Au Ag Cu Cn Hg Cd Zn Nh Tl In Ga Al B Fl Pb Sn Ge Si C "
    "Mc Bi Sb As P N H Lv Po Te Se S O Ts At I Br Cl F"
).split()


def symbol(number: int) -> str:
    """The chemical symbol of an atomic number.

    >>> symbol(26)
    'Fe'
    """
    return SYMBOLS[number]


def formula(numbers: Iterable[int]) -> str:
    """The reduced formula of some atoms, electropositive elements first.

    >>> formula([8, 8, 8, 22, 38]), formula([17, 11, 17, 11])
    ('SrTiO3', 'NaCl')
    """
    counts = Counter(symbol(z) for z in numbers)
    unit = gcd(*counts.values())
    parts = [(name, counts[name] // unit) for name in sorted(counts, key=_FORMULA_ORDER.index)]
    return "".join(name + (str(count) if count > 1 else "") for name, count in parts)


@dataclass(frozen=True)
class Vocabulary:
    """The elements a model knows, in the order of its classes.

    Attributes:
        numbers: atomic numbers, strictly ascending; class i is element ``numbers[i]``.

    >>> v = Vocabulary((1, 8, 26))
    >>> v.class_of(torch.tensor([26, 1])), v.number_of(torch.tensor([1]))
    (tensor([2, 0]), tensor([8]))
    """

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.numbers or list(self.numbers) != sorted(set(self.numbers)):
            raise NesfError(f"A vocabulary needs ascending, distinct atomic numbers, not {self.numbers}.")
        if self.numbers[0] < 1 or self.numbers[-1] > MAX_NUMBER:
            raise NesfError(f"Atomic numbers go from 1 to {MAX_NUMBER}; the vocabulary has {self.numbers}.")

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "Vocabulary":
        """The vocabulary that holds exactly the elements that occur in ``numbers``."""
        return cls(tuple(sorted({int(z) for z in numbers})))

    def __len__(self) -> int:
        return len(self.numbers)

    def by_electronegativity(self) -> Int[Tensor, " classes"]:
        """The rank of each class among the elements in their order in formulas, electropositive first.

        >>> Vocabulary((3, 8, 9, 19)).by_electronegativity()
        tensor([1, 2, 3, 0])
        """
        return torch.tensor([_FORMULA_ORDER.index(symbol(z)) for z in self.numbers]).argsort().argsort()

    def unknown(self, numbers: Iterable[int]) -> list[str]:
        """Symbols of the elements in ``numbers`` that are not in the vocabulary, in order of number."""
        return [symbol(z) for z in sorted({int(z) for z in numbers} - set(self.numbers))]

    def class_of(self, numbers: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Class index of each atomic number; raises NesfError if one is unknown, -1 for such a one on a GPU."""
        classes = _tables(self.numbers, numbers.device)[0][numbers]
        # To ask a GPU would wait for all that it has to do; what is sent there has been checked.
        if classes.device.type == "cpu" and bool((classes < 0).any()):
            raise NesfError(f"Elements outside the vocabulary: {', '.join(self.unknown(numbers.flatten().tolist()))}.")
        return classes

    def number_of(self, classes: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Atomic number of each class index."""
        return _tables(self.numbers, classes.device)[1][classes]


@cache
def _tables(numbers: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Class of each atomic number (-1 for none) and atomic number of each class; sent to a device only once."""
    number_of = torch.tensor(numbers)
    class_of = torch.full((MAX_NUMBER + 1,), -1, dtype=torch.long)
    class_of[number_of] = torch.arange(len(numbers))
    return class_of.to(device), number_of.to(device)
