"""A trained model as its users meet it: crystals in, latent vectors out, and back."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nesf import weights
from nesf.crystal import Crystal, CrystalBatch, Failure
from nesf.decoding import estimate
from nesf.errors import NesfError
from nesf.fields import StructureField
from nesf.io import symmetry
from nesf.io.limits import too_near
from nesf.io.structures import Kind, from_any, kind_of, name_of, to_kind
from nesf.memory import in_halves
from nesf.model import Architecture
from nesf.precision import computes_bfloat16

T = TypeVar("T")
Progress = Callable[[int], None]

# A predicted cell may be this many times as long as the longest that the model was trained on.
FARTHEST = 2.0
# Crystals encoded, and handed to the estimation, together.
AT_ONCE = {"cpu": 512, "cuda": 8192}
# Space groups in what is decoded are searched within this, Å. The paper's network is off by a few hundredths of an
# angstrom, and spglib compares pairs: at 0.1 Å it misses the group of nearly half of the textbook's crystals, at 0.2 Å
# of a sixth, and at 0.3 Å it begins to find too high a group. What copies needs no more than its rare errors.
TOLERANCES = {"perceptrons": 0.2, "anchors": 0.01}
_SHIPPED = "shipped"
_NO_MEMORY = "There is not enough memory for it, even by itself; free some, or take a machine with more."


def shipped_models() -> list[str]:
    """Names of the models inside the package."""
    folder = resources.files("nesf").joinpath(_SHIPPED)
    return sorted(f.name.removesuffix(".safetensors") for f in folder.iterdir() if f.name.endswith(".safetensors"))


def load(model: str | Path = "universal", device: torch.device | str = "cpu") -> "Codec":
    """A model by the name of a shipped one, from a run folder or from a weights file.

    Args:
        model: name or path.
        device: where it computes.

    Raises:
        NesfError: if there is no such model or it cannot be read.
    """
    path = Path(model)
    if path.is_dir():
        path = path / "model.safetensors"
        if not path.is_file():
            raise NesfError(f"{model} is a folder without model.safetensors; give the folder of a training run.")
    elif not path.is_file():
        if str(model) not in shipped_models():
            names = ", ".join(shipped_models())
            raise NesfError(f"{model} is neither a run folder, a weights file nor a shipped model ({names}).")
        with resources.as_file(resources.files("nesf").joinpath(_SHIPPED)) as inside:
            path = inside / f"{model}.safetensors"
            weights.check_sum(path)
            return Codec(*weights.load(path)).to(device)
    return Codec(*weights.load(path)).to(device)


class Codec:
    """A trained autoencoder with its card.

    Structures are given as ``Crystal``, pymatgen ``Structure`` or ASE ``Atoms``, in the cell the model was
    trained on (see ``card.domain``; ``nesf.from_any(structure, cell="conventional")`` converts).

    Attributes:
        model: the network, in evaluation mode.
        card: where it comes from, what it may be asked and how well it does.
    """

    def __init__(self, model: Architecture, card: weights.Card) -> None:
        self.model = model.eval().requires_grad_(False)
        self.card = card

    def __repr__(self) -> str:
        known, domain = len(self.card.domain.vocabulary), self.card.domain
        return f"Codec({self.card.name!r}: {self.latent} numbers, {known} elements, at most {domain.max_atoms} atoms)"

    @property
    def latent(self) -> int:
        """How many numbers a crystal becomes."""
        return self.card.config.network.latent

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights: latent vectors belong to one fingerprint."""
        digest = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.model.parameters()).device

    @property
    def at_once(self) -> int:
        """Crystals that are encoded or decoded together."""
        return AT_ONCE.get(self.device.type, AT_ONCE["cpu"])

    @property
    def tolerance(self) -> float:
        """Of the space group search in what is decoded: what fits the errors of the positions, Å."""
        return TOLERANCES[self.card.config.network.architecture]

    def to(self, device: torch.device | str) -> "Codec":
        """The same codec, moved to a device."""
        self.model.to(device)
        return self

    def refusal(self, crystal: Crystal) -> str | None:
        """Why the model cannot take a crystal, in one sentence, or None if it can."""
        if (reason := self.card.domain.refusal(crystal)) is not None:
            return reason
        # Particles find one atom where there are two; files with such a crystal are refused when they are read.
        near = too_near(crystal)
        return near and f"It has {near}."

    def encode(self, structures: Any) -> NDArray[np.float32]:
        """Latent vectors: (n, latent) of a sequence of structures, (latent,) of a single one.

        Raises:
            NesfError: if the model cannot take a structure, with the reason.
        """
        given, single = _several(structures)
        crystals = [from_any(one) for one in given]
        for crystal in crystals:
            if (reason := self.refusal(crystal)) is not None:
                raise NesfError(f"The model {self.card.name} cannot take {crystal.id!r}: {reason}")
        z = self.encode_taken(crystals)
        return z[0] if single else z

    def encode_taken(self, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
        """Latent vectors (n, latent) of crystals of which it is known that the model takes them (``refusal``)."""
        rows = [row for part in self._parts(crystals) for row in in_halves(self._encoded, part, _unencoded)]
        return np.stack(rows) if rows else np.zeros((0, self.latent), np.float32)

    def _encoded(self, crystals: Sequence[Crystal]) -> list[NDArray[np.float32]]:
        return list(self._encode(crystals).cpu().numpy())

    @torch.no_grad()
    def _encode(self, crystals: Sequence[Crystal]) -> Tensor:
        return self.model.encode_closely(CrystalBatch.from_crystals(crystals, self.device))

    @torch.no_grad()
    def field(self, z: ArrayLike) -> StructureField:
        """The fields of latent vectors, (n, latent) or (latent,), in which atoms are found; to be queried at any point.

        Its ``displacement(points, owner)`` leads from Cartesian points (n, 3), angstrom, in the cells of the vectors
        ``owner`` (n,), to the nearest atom listed there; ``species_logits`` likewise are scores of its element, a
        column for each of ``vocabulary.numbers``.
        """
        return self.model.decode_field(self._latents(z)[0]).searched()

    def decode(
        self,
        z: ArrayLike,
        ids: Sequence[str] | None = None,
        *,
        kind: Kind = "crystal",
        literal: bool = False,
        symmetrize: float = 0.0,
        progress: Progress | None = None,
    ) -> Any:
        """The structures that latent vectors stand for: a list for (n, latent), one for (latent,).

        Args:
            z: latent vectors.
            ids: names for the structures; by default ``z-0``, ``z-1``, ...
            kind: what to return: ``Crystal``, pymatgen ``Structure`` or ASE ``Atoms``. A structure that
                cannot be found is a ``Failure`` in its place.
            literal: estimate by the slow reference path.
            symmetrize: project each structure onto the space group found within so many angstrom, in its own cell
                (see ``nesf.io.symmetrize``); with 0 it stays as decoded.
            progress: called with the number of structures done since its last call.
        """
        symmetry.check_tolerance(symmetrize)
        latents, single = self._latents(z)
        names = list(ids) if ids is not None else [f"z-{i}" for i in range(len(latents))]
        if len(names) != len(latents):
            raise NesfError(f"{len(latents)} latent vectors were given with {len(names)} ids.")
        found: list[Crystal | Failure] = []

        def work(part: Sequence[int]) -> list[Crystal | Failure]:
            begin, end = part[0], part[-1] + 1
            return self._decode(latents[begin:end], names[begin:end], literal, symmetrize)

        for part in self._parts(range(len(names)), literal):
            found += in_halves(work, part, lambda i: Failure(names[i], _NO_MEMORY))
            if progress is not None:
                progress(len(part))
        structures = [one if isinstance(one, Failure) else to_kind(one, kind) for one in found]
        return structures[0] if single else structures

    def _decode(self, z: Tensor, ids: Sequence[str], literal: bool, tolerance: float) -> list[Crystal | Failure]:
        found = self._estimate(z, ids, literal)
        if not tolerance:
            return found
        return [symmetry.symmetrize(one, tolerance) if isinstance(one, Crystal) else one for one in found]

    @torch.no_grad()
    def _estimate(self, z: Tensor, ids: Sequence[str], literal: bool) -> list[Crystal | Failure]:
        domain, estimation = self.card.domain, self.card.config.estimation
        # A latent vector from elsewhere can ask for a cell that would take hours to search.
        farthest = min(estimation.max_extent, FARTHEST * domain.lengths_angstrom[1])
        estimation = replace(estimation, max_extent=farthest)
        box = (domain.atoms_lower, domain.atoms_upper)
        field = self.model.decode_field(z)
        if literal:
            return estimate(field.searched(), ids, estimation, box=box, literal=True)
        draft = field.frozen(torch.bfloat16) if computes_bfloat16(self.device) else None
        return estimate(field.frozen(), ids, estimation, box=box, draft=draft)

    def reconstruct(
        self, structures: Any, *, literal: bool = False, symmetrize: float = 0.0, progress: Progress | None = None
    ) -> Any:
        """Encode and decode: what the model remembers of each structure, of the kind that was given.

        A structure that the model cannot take, or does not find again, is a ``Failure`` in its place. The options
        are those of ``decode``.
        """
        symmetry.check_tolerance(symmetrize)
        given, single = _several(structures)
        kinds = [kind_of(one) or "crystal" for one in given]
        entries = [_entry(one) for one in given]
        crystals = [one for one in entries if isinstance(one, Crystal)]
        if progress is not None and len(crystals) < len(entries):
            progress(len(entries) - len(crystals))
        found: list[Any] = []

        def work(part: Sequence[Crystal]) -> list[Crystal | Failure]:
            return self._reconstruct(part, literal, symmetrize)

        for part in self._parts(crystals, literal):
            found += in_halves(work, part, lambda one: Failure(one.id, _NO_MEMORY))
            if progress is not None:
                progress(len(part))
        answers = iter(found)
        found = [next(answers) if isinstance(one, Crystal) else one for one in entries]
        result = [
            one if isinstance(one, Failure) else to_kind(one, kind) for one, kind in zip(found, kinds, strict=True)
        ]
        return result[0] if single else result

    def _reconstruct(self, crystals: Sequence[Crystal], literal: bool, tolerance: float) -> list[Crystal | Failure]:
        found: dict[int, Crystal | Failure] = {}
        for i, crystal in enumerate(crystals):
            if (reason := self.refusal(crystal)) is not None:
                found[i] = Failure(crystal.id, reason)
        taken = [i for i in range(len(crystals)) if i not in found]
        if taken:
            some = [crystals[i] for i in taken]
            decoded = self._decode(self._encode(some), [c.id for c in some], literal, tolerance)
            found |= dict(zip(taken, decoded, strict=True))
        return [found[i] for i in range(len(crystals))]

    def _parts(self, items: Sequence[T], literal: bool = False) -> Iterator[Sequence[T]]:
        # Literally each crystal takes its time, so progress is told after each.
        size = 1 if literal else self.at_once
        for i in range(0, len(items), size):
            yield items[i : i + size]

    def _latents(self, z: ArrayLike) -> tuple[Tensor, bool]:
        values = torch.tensor(np.asarray(z, dtype=np.float32), device=self.device)
        if values.ndim not in (1, 2) or values.shape[-1] != self.latent:
            shape = tuple(values.shape)
            raise NesfError(f"Latent vectors of this model have {self.latent} numbers; the array has shape {shape}.")
        if not bool(values.isfinite().all()):
            raise NesfError("A latent vector holds a value that is not a finite number.")
        return values.reshape(-1, self.latent), values.ndim == 1


def _entry(structure: Any) -> Crystal | Failure:
    """A structure as a crystal; of one that is none, such as a disordered one, the reason."""
    try:
        return from_any(structure)
    except NesfError as error:
        if kind_of(structure) is None:
            raise
        return Failure(name_of(structure), str(error))


def _several(structures: Any) -> tuple[list[Any], bool]:
    """Structures as a list, and whether they were a single one."""
    of_others = type(structures).__module__.split(".")[0] in ("pymatgen", "ase")
    if kind_of(structures) is not None or of_others or not isinstance(structures, Iterable):
        return [structures], True
    return list(structures), False


def _unencoded(crystal: Crystal) -> NDArray[np.float32]:
    raise NesfError(f"Crystal {crystal.id!r} cannot be encoded. {_NO_MEMORY}")
