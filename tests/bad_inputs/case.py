"""A broken or odd input and what is to come of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        file: its name, which no other case has.
        content: its bytes.
        atoms: atoms of each crystal that is to be read from it, in order.
        says: for each entry that is to be left out, a piece of the reason.
    """

    file: str
    content: bytes
    atoms: tuple[int, ...] = ()
    says: tuple[str, ...] = ()


def works(file: str, content: str | bytes, *atoms: int) -> Case:
    """The file is read, as crystals of so many atoms."""
    return Case(file, _bytes(content), atoms=atoms)


def refused(file: str, content: str | bytes, *says: str) -> Case:
    """Nothing is read from the file, for these reasons."""
    return Case(file, _bytes(content), says=says)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
