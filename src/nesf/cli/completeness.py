"""Whether a command has read all that it was given: its exit status tells."""

INCOMPLETE = 3
"""The exit status of a command that did its work, but without entries that could not be read."""

_unread = 0


def begin() -> None:
    """A command begins: nothing has been found unreadable yet."""
    global _unread
    _unread = 0


def note_unread(count: int) -> None:
    """Some entries of the input could not be read."""
    global _unread
    _unread += count


def status() -> int:
    """The exit status of a command that has ended well: 0, or ``INCOMPLETE``."""
    return INCOMPLETE if _unread else 0
