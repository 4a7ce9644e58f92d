"""How large the ball is that stands for an atom in a voxel grid: the element's mean ionic radius."""

from functools import cache

import torch
from torch import Tensor

from nesf.elements import SYMBOLS, symbol
from nesf.errors import NesfError
from nesf.shapes import Float, Int

MAX_NUMBER = 94
"""The heaviest element that has a class; class 0 is the background, class Z the element."""

WITHOUT_DATA = 1.20
"""Radius (angstrom) of an element that has no tabulated ionic radius."""

# Mean over all oxidation states of Shannon's effective ionic radii as pymatgen tabulates them, angstrom.
# Elements that are not listed have none.
_TABLE = """
    Li 0.9    Be 0.59   B 0.41    C 0.3     N 0.63    O 1.26    F 0.705
    Na 1.16   Mg 0.86   Al 0.675  Si 0.54   P 0.55    S 0.88    Cl 0.78
    K 1.52    Ca 1.14   Sc 0.885  Ti 0.8517 V 0.7775  Cr 0.94   Mn 0.8775 Fe 0.8525 Co 0.7683
    Ni 0.74   Cu 0.82   Zn 0.88   Ga 0.76   Ge 0.77   As 0.66   Se 1.0133 Br 0.8825
    Rb 1.66   Sr 1.32   Y 1.04    Zr 0.86   Nb 0.82   Mo 0.775  Tc 0.7417 Ru 0.661  Rh 0.745
    Pd 0.8462 Ag 1.0867 Cd 1.09   In 0.94   Sn 0.83   Sb 0.83   Te 1.2933 I 1.2733  Xe 0.62
    Cs 1.81   Ba 1.49   La 1.172  Ce 1.08   Pr 1.06   Nd 1.2765 Pm 1.11   Sm 1.229  Eu 1.1985
    Gd 1.075  Tb 0.9815 Dy 1.131  Ho 1.041  Er 1.03   Tm 1.095  Yb 1.084  Lu 1.001
    Hf 0.85   Ta 0.82   W 0.7667  Re 0.7125 Os 0.673  Ir 0.765  Pt 0.805  Au 1.07   Hg 1.245
    Tl 1.3325 Pb 1.1225 Bi 1.035  Po 0.945  At 0.76
    Fr 1.94   Ra 1.62   Ac 1.26   Th 1.08   Pa 1.04   U 0.9913  Np 1.0    Pu 0.9675
"""


def ionic_radii(numbers: Int[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Mean ionic radius (angstrom) of each atomic number; 0, where there is no atom, gets a radius without meaning.

    Raises:
        NesfError: where an element has no class.

    >>> ionic_radii(torch.tensor([8, 11, 18]))
    tensor([1.2600, 1.1600, 1.2000])
    """
    if (problem := number_problem(numbers)) is not None:
        raise NesfError(problem)
    return _radii().to(numbers.device)[numbers]


def number_problem(numbers: Int[Tensor, "*any"]) -> str | None:
    """Why some atoms cannot be put on a grid, as a sentence; None if all can."""
    heaviest = int(numbers.max()) if numbers.numel() else 0
    if heaviest <= MAX_NUMBER:
        return None
    return (
        f"Element {symbol(heaviest)} has no class in the voxel baseline; "
        f"leave out crystals with elements beyond {symbol(MAX_NUMBER)} ({MAX_NUMBER})."
    )


@cache
def _radii() -> Float[Tensor, " classes"]:
    words = _TABLE.split()
    known = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    return torch.tensor([known.get(name, WITHOUT_DATA) for name in SYMBOLS[: MAX_NUMBER + 1]])
