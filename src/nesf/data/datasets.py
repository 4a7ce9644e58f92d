"""Data sets by name or path."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import read

EMBEDDED = ("textbook",)


@dataclass(frozen=True)
class Dataset:
    """Crystals with a name and a fingerprint.

    Attributes:
        name: the embedded data set's name, or the file's name.
        crystals: what could be read, in order.
        failures: what could not, with the reason.
        sha256: of the file's bytes; for a folder, of its files' bytes in order of path.
    """

    name: str
    crystals: tuple[Crystal, ...]
    failures: tuple[Failure, ...]
    sha256: str


def load_dataset(source: str | Path) -> Dataset:
    """An embedded data set by name, or any readable file or folder.

    Raises:
        NesfError: if there is no such data set or file, or nothing in it can be used.
    """
    if str(source) in EMBEDDED and not Path(source).exists():
        return _embedded(str(source))
    path = Path(source)
    if not path.exists():
        names = ", ".join(EMBEDDED)
        raise NesfError(f"{path} is neither a file or folder nor an embedded data set ({names}).")
    entries = read([path])
    crystals = tuple(entry for entry in entries if isinstance(entry, Crystal))
    failures = tuple(entry for entry in entries if isinstance(entry, Failure))
    if not crystals:
        reason = f"; the first reason: {failures[0].reason}" if failures else ""
        raise NesfError(f"{path} holds no crystal that can be read{reason}")
    return Dataset(path.name, crystals, failures, _fingerprint(path))


def _embedded(name: str) -> Dataset:
    from nesf.data.textbook import textbook  # needs pymatgen to apply space groups

    table = resources.files("nesf.data").joinpath(f"{name}.toml").read_bytes()
    return Dataset(name, tuple(textbook()), (), hashlib.sha256(table).hexdigest())


def _fingerprint(path: Path) -> str:
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(file.read_bytes())
    return digest.hexdigest()
