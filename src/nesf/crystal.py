"""Crystal, the one data type of the project, and CrystalBatch, many of them packed for computing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nesf import lattice
from nesf.elements import MAX_NUMBER, formula
from nesf.errors import NesfError
from nesf.shapes import Float, Int

SMALLEST_VOLUME = 1e-3
"""Of a cell, cubic angstrom."""
_FLAT = "has a cell without volume; the three lattice vectors must not lie in a plane"


@dataclass(frozen=True)
class Failure:
    """A crystal that could not be had: a value that travels in its place, never dropped in silence.

    Attributes:
        id: the id of the crystal, or the name of the file it was to come from.
        reason: one sentence for the user.
    """

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Crystal:
    """The contents of one cell, validated once, here; its arrays are read-only.

    Attributes:
        id: the crystal's name, unique in its data set; it survives into every file written.
        numbers: (n,) atomic numbers.
        cart: (n, 3) Cartesian positions in angstrom.
        cell: (3, 3) lattice vectors as rows in angstrom, in the standard frame of ``nesf.lattice``.
        properties: further columns of its table (band gap, space group, source, ...), by name.

    Raises:
        NesfError: where a value is no crystal (no atoms, wrong shapes, not finite, a cell without volume).

    >>> cscl = Crystal.from_frac("CsCl", [55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], 4.123 * np.eye(3))
    >>> cscl.formula, len(cscl), cscl.lengths.round(3).tolist()
    ('CsCl', 2, [4.123, 4.123, 4.123])
    """

    # Its own checks see every value; those of array shapes in tests would cost 20 ms a crystal on top.
    __no_type_check__ = True

    id: str
    numbers: NDArray[np.int64]
    cart: NDArray[np.float64]
    cell: NDArray[np.float64]
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def problem(text: str) -> NesfError:
            return NesfError(f"Crystal {self.id!r} {text}.")

        try:
            numbers = np.array(self.numbers, dtype=np.int64)
            cart = np.array(self.cart, dtype=np.float64)
            cell = np.array(self.cell, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise problem(f"has numbers, positions or a cell that are not regular arrays ({error})") from None
        if numbers.ndim != 1 or len(numbers) == 0:
            raise problem("has no atoms; at least one atomic number is needed")
        if cart.shape != (len(numbers), 3):
            raise problem(f"has {len(numbers)} atoms but positions of shape {cart.shape}; expected (n, 3)")
        if cell.shape != (3, 3):
            raise problem(f"has a cell of shape {cell.shape}; expected (3, 3), lattice vectors as rows")
        if not (np.isfinite(cart).all() and np.isfinite(cell).all()):
            raise problem("has a position or lattice vector that is not a finite number")
        if numbers.min() < 1 or numbers.max() > MAX_NUMBER:
            bad = numbers[(numbers < 1) | (numbers > MAX_NUMBER)][0]
            raise problem(f"has atomic number {bad}; expected 1 to {MAX_NUMBER}")
        (a_x, a_y, a_z), (b_x, b_y, b_z), (c_x, c_y, c_z) = cell.tolist()
        # By hand it takes a fifth of the time of a call, which counts where millions of crystals are read.
        volume = a_x * (b_y * c_z - b_z * c_y) + a_y * (b_z * c_x - b_x * c_z) + a_z * (b_x * c_y - b_y * c_x)
        if abs(volume) < SMALLEST_VOLUME:
            raise problem(_FLAT)
        if not lattice.is_standard(torch.from_numpy(cell)):
            raise problem("has a cell that is not in the standard frame (use Crystal.from_frac, which turns it)")
        for name, value in (("numbers", numbers), ("cart", cart), ("cell", cell)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "properties", MappingProxyType(dict(self.properties)))

    @classmethod
    def from_frac(
        cls,
        id: str,
        numbers: ArrayLike,
        frac: ArrayLike,
        cell: ArrayLike,
        properties: Mapping[str, Any] | None = None,
    ) -> "Crystal":
        """From fractional coordinates and a cell in any frame: turned to the standard frame, atoms folded in.

        A left-handed cell is first inverted together with its coordinates, which moves no atom; turning it as
        it is would mirror the crystal.
        """
        try:
            cell_t = torch.from_numpy(np.array(cell, dtype=np.float64)).reshape(3, 3)
            frac_t = torch.from_numpy(np.array(frac, dtype=np.float64)).reshape(-1, 3)
            numbers = np.asarray(numbers, dtype=np.int64)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise NesfError(f"Crystal {id!r} has coordinates or a cell of the wrong shape ({error}).") from None
        signed_volume = float(torch.linalg.det(cell_t))
        if abs(signed_volume) < SMALLEST_VOLUME:
            raise NesfError(f"Crystal {id!r} {_FLAT}.")
        if signed_volume < 0:
            frac_t = -frac_t
        standard = lattice.standard_frame(cell_t)
        cart = lattice.frac_to_cart(lattice.fold(frac_t), standard)
        return cls(id, numbers, cart.numpy(), standard.numpy(), properties or {})

    def __len__(self) -> int:
        return len(self.numbers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Crystal):
            return NotImplemented
        return (
            self.id == other.id
            and np.array_equal(self.numbers, other.numbers)
            and np.array_equal(self.cart, other.cart)
            and np.array_equal(self.cell, other.cell)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def frac(self) -> NDArray[np.float64]:
        """(n, 3) fractional coordinates."""
        return lattice.cart_to_frac(torch.tensor(self.cart), torch.tensor(self.cell)).numpy()

    @property
    def lengths(self) -> NDArray[np.float64]:
        """a, b, c in angstrom."""
        return lattice.parameters_from_cell(torch.tensor(self.cell))[0].numpy()

    @property
    def angles_rad(self) -> NDArray[np.float64]:
        """alpha, beta, gamma in radians."""
        return lattice.parameters_from_cell(torch.tensor(self.cell))[1].numpy()

    @property
    def formula(self) -> str:
        """The reduced formula of the cell's contents, electropositive elements first.

        >>> Crystal.from_frac("x", [8, 8, 12, 12], np.eye(4, 3) / 2, np.eye(3) * 4).formula
        'MgO'
        """
        return formula(self.numbers.tolist())

    def renamed(self, id: str) -> "Crystal":
        """The same crystal under another id."""
        return replace(self, id=id)


@dataclass(frozen=True)
class CrystalBatch:
    """Crystals packed flat: no padding, so nothing computed over atoms can be spoiled by it.

    Attributes:
        numbers: (n_atoms,) atomic numbers of all crystals, one crystal after the other.
        cart: (n_atoms, 3) Cartesian positions in angstrom, float32.
        counts: (n_crystals,) atoms of each crystal; always on the CPU, because they shape arrays, and to read them
            from a GPU would wait for all that it has to do before.
        cells: (n_crystals, 3, 3) lattice vectors as rows in angstrom, float32.
    """

    numbers: Int[Tensor, " n_atoms"]
    cart: Float[Tensor, "n_atoms 3"]
    counts: Int[Tensor, " n_crystals"]
    cells: Float[Tensor, "n_crystals 3 3"]

    @classmethod
    def from_crystals(cls, crystals: Sequence[Crystal], device: torch.device | str = "cpu") -> "CrystalBatch":
        """Pack crystals; the order is kept."""
        if not crystals:
            raise NesfError("A batch needs at least one crystal.")
        return cls(
            torch.from_numpy(np.concatenate([c.numbers for c in crystals])).to(device),
            torch.from_numpy(np.concatenate([c.cart for c in crystals])).float().to(device),
            torch.tensor([len(c) for c in crystals]),
            torch.from_numpy(np.stack([c.cell for c in crystals])).float().to(device),
        )

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.cart.device

    @property
    def owner(self) -> Int[Tensor, " n_atoms"]:
        """Index of the crystal that each atom belongs to, ascending."""
        return self._on_device(torch.arange(len(self)).repeat_interleave(self.counts))

    def parameters(self) -> tuple[Float[Tensor, "n_crystals 3"], Float[Tensor, "n_crystals 3"]]:
        """Lengths (angstrom) and angles (radians) of all cells."""
        return lattice.parameters_from_cell(self.cells)

    def padded(self) -> tuple[Float[Tensor, "n_crystals most 3"], Int[Tensor, "n_crystals most"]]:
        """Positions (angstrom; infinity where there is no atom) and atomic numbers (0 there) as rectangles."""
        most = int(self.counts.max())
        starts = self.counts.cumsum(0) - self.counts
        rectangle = torch.arange(most) < self.counts.unsqueeze(1)
        place = self._on_device(torch.where(rectangle, starts.unsqueeze(1) + torch.arange(most), 0))
        exists = self._on_device(rectangle)
        cart = torch.where(exists.unsqueeze(2), self.cart[place], torch.inf)
        return cart, torch.where(exists, self.numbers[place], 0)

    def select(self, index: Int[Tensor, " chosen"]) -> "CrystalBatch":
        """The chosen crystals, in the order of ``index``, which is wanted on the CPU like ``counts``."""
        counts = self.counts[index]
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        starts = (self.counts.cumsum(0) - self.counts)[index].repeat_interleave(counts)
        atoms = self._on_device(torch.arange(len(starts)) - first + starts)
        return CrystalBatch(self.numbers[atoms], self.cart[atoms], counts, self.cells[self._on_device(index)])

    def _on_device(self, index: Tensor) -> Tensor:
        return index.to(self.device, non_blocking=True)

    def chunks(self, size: int) -> Iterator["CrystalBatch"]:
        """Successive batches of at most ``size`` crystals."""
        for index in torch.arange(len(self)).split(size):
            yield self.select(index)
