"""How well a copying model does where no table reaches: many elements, other cells, small changes, ways between.

    python benchmarks/beyond_tables.py mp20_val.parquet [--model universal] [--more lcs6a_val.parquet] [--shuffle T ...]

Prints for crystals of the table that the model takes: how many come back wrong, and the farthest atom, when their atoms
are given six, seven and eight elements at random, when their cells are replaced by skewed ones of the same lattice, and
of as many random crystals; how often z jumps when all atoms are moved a little; how near atoms come in crystals halfway
between two; and, of the tables after --shuffle, how often spglib finds another group in a true crystal whose atoms are
listed in another order. What is random has seed 0.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import nesf
from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.data import load_dataset
from nesf.io import space_group
from nesf.lattice import cell_from_parameters
from nesf.metrics import closest_approach, score

KICKS_ANGSTROM = (0.001, 0.01, 0.03)
JUMP = 0.5
"""A number of z that changes by more has jumped; most of them are between -3 and 3."""
KICKED, PAIRS, RANDOM = 250, 100, 1000
SHARES = (0.25, 0.5, 0.75)
"""Of the way between two crystals."""
GROUP_ANGSTROM = 0.01


def main() -> None:
    """All measurements, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", default="universal")
    parser.add_argument(
        "--more", type=Path, nargs="*", default=[], help="tables whose crystals are given elements, too"
    )
    parser.add_argument("--shuffle", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    codec = nesf.load(options.model)
    crystals = load_dataset(options.table).crystals
    everything = [*crystals, *(one for table in options.more for one in load_dataset(table).crystals)]
    for kinds in (6, 7, 8):
        reconstructed(f"{kinds} elements", codec, changed(everything, lambda c, r, k=kinds: relabelled(c, r, k)))
    reconstructed("skewed cells", codec, changed(crystals, skewed))
    random = np.random.default_rng(0)
    reconstructed("random crystals", codec, (random_crystal(f"random-{i}", random) for i in range(RANDOM)))
    taken = [crystal for crystal in crystals if codec.refusal(crystal) is None]
    order = np.random.default_rng(0).permutation(len(taken))
    some = [taken[i] for i in order[:KICKED]]
    for size in KICKS_ANGSTROM:
        jumps(codec, some, size)
    between(codec, some)
    for table in options.shuffle:
        shuffled_groups(table)


def changed(
    crystals: Sequence[Crystal], change: Callable[[Crystal, np.random.Generator], Crystal | None]
) -> Iterator[Crystal]:
    """The crystals that can be changed so, changed."""
    random = np.random.default_rng(0)
    return (new for crystal in crystals if (new := change(crystal, random)) is not None)


def relabelled(crystal: Crystal, random: np.random.Generator, kinds: int) -> Crystal | None:
    """The crystal with so many elements up to plutonium at random; None where it has fewer atoms."""
    if len(crystal) < kinds:
        return None
    elements = random.permutation(np.arange(1, 95))[:kinds]
    numbers = random.permutation([*elements, *random.choice(elements, len(crystal) - kinds)])
    return Crystal(crystal.id, numbers, crystal.cart, crystal.cell)


def skewed(crystal: Crystal, random: np.random.Generator) -> Crystal | None:
    """The crystal in another cell of its lattice: axes exchanged and added; None where that is no cell of it."""
    other = np.eye(3)[random.permutation(3)] + np.outer([1, 0, 0], [0, random.choice([-1, 1]), 0])
    if round(abs(np.linalg.det(other))) != 1:
        return None
    return Crystal.from_frac(crystal.id, crystal.numbers, crystal.frac @ np.linalg.inv(other), other @ crystal.cell)


def random_crystal(name: str, random: np.random.Generator) -> Crystal:
    """One to forty atoms of up to eight elements at random places of a random cell."""
    shape = torch.from_numpy(np.stack([random.uniform(6, 25, 3), np.radians(random.uniform(60, 120, 3))]))
    frac = random.random((random.integers(1, 41), 3))
    return Crystal.from_frac(name, random.integers(1, 9, len(frac)), frac, cell_from_parameters(*shape).numpy())


def reconstructed(what: str, codec: Codec, crystals: Iterator[Crystal]) -> None:
    """Print how the crystals that the model takes come back."""
    taken = [crystal for crystal in crystals if codec.refusal(crystal) is None]
    if not taken:
        print(f"{what}: none that the model takes", flush=True)
        return
    result = score(list(zip(taken, codec.reconstruct(taken), strict=True)))
    wrong = (
        f"{result.atoms_error_percent:.2f} % wrong counts, {result.periodic.species_actual_percent:.3f} % wrong species"
    )
    far = result.farthest
    farthest = f"farthest atom {far.distance:.1e} Å, in {far.id}" if far else "nothing found"
    print(f"{what}: {len(taken)} crystals, {wrong}, {farthest}", flush=True)


def jumps(codec: Codec, crystals: Sequence[Crystal], size: float) -> None:
    """Print how often z jumps when every atom is moved so far (angstrom), each in a direction at random."""
    random, moved, where = np.random.default_rng(0), [], []
    for i, crystal in enumerate(crystals):
        kicks = random.normal(size=crystal.cart.shape)
        kicks *= size / np.linalg.norm(kicks, axis=1, keepdims=True)
        frac = (crystal.cart + kicks) @ np.linalg.inv(crystal.cell)
        new = Crystal.from_frac(crystal.id, crystal.numbers, frac, crystal.cell)
        if codec.refusal(new) is None:
            moved.append(new)
            where.append(i)
    steps = np.abs(codec.encode(moved) - codec.encode(crystals)[where]).max(1)
    print(f"moved by {size:g} Å: z of {100 * (steps > JUMP).mean():.1f} % of {len(moved)} crystals jumps", flush=True)


def between(codec: Codec, crystals: Sequence[Crystal]) -> None:
    """Print how near atoms come in what is decoded from vectors between those of two crystals."""
    z = codec.encode(crystals)
    pairs = np.random.default_rng(0).permutation(len(z))[: 2 * PAIRS].reshape(-1, 2)
    halfway = np.concatenate([(1 - share) * z[pairs[:, 0]] + share * z[pairs[:, 1]] for share in SHARES])
    found = [one for one in codec.decode(halfway) if not isinstance(one, Failure)]
    nearest = np.array([closest_approach(one) for one in found])
    apart = ", ".join(
        f"{100 * (nearest >= least).sum() / len(halfway):.0f} % apart by {least:g} Å" for least in (0.5, 1.0)
    )
    print(f"between two crystals: {len(found)} of {len(halfway)} vectors give a crystal; atoms of {apart}", flush=True)


def shuffled_groups(table: Path) -> None:
    """Print how often the true crystals of a table have another space group when their atoms are shuffled."""
    random, others = np.random.default_rng(0), []
    for crystal in load_dataset(table).crystals:
        order = random.permutation(len(crystal))
        shuffled = Crystal(crystal.id, crystal.numbers[order], crystal.cart[order], crystal.cell)
        one, other = (space_group(each, GROUP_ANGSTROM).number for each in (crystal, shuffled))
        others.append(one != other)
    print(f"{table.name}: shuffled, {100 * np.mean(others):.1f} % of the true crystals have another group", flush=True)


if __name__ == "__main__":
    main()
