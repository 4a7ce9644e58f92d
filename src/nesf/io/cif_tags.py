"""The data blocks of a CIF as gemmi parses them: tags with their values and the lines they stand on."""

import math
import re
from typing import TYPE_CHECKING, Any

from nesf.errors import NesfError

if TYPE_CHECKING:
    import gemmi

UNKNOWN = ("", "?", ".")


class Block:
    """One data block.

    Attributes:
        name: what follows ``data_``.
        lines: by tag, in lower case: the line of the file that it (or its loop) stands on.
    """

    def __init__(self, document: "gemmi.cif.Document", index: int) -> None:
        block = document[index]
        self._document = document  # a block is only a view of it
        self.name = block.name.strip()
        self.lines: dict[str, int] = {}
        self._block = block
        self._problems: dict[str, str] = {}
        items: Any = block
        for item in items:
            tag, value = item.pair or ("", "")
            for name in [tag] if tag else item.loop.tags if item.loop else []:
                self._enter(name.lower(), item.line_number)
            if tag and not value:
                self._problems[tag.lower()] = f"It gives no value for {tag} on line {item.line_number}; write it."

    def _enter(self, tag: str, line: int) -> None:
        if tag in self.lines:
            first = self.lines[tag]
            self._problems[tag] = (
                f"It gives {tag} twice, on lines {first} and {line}; CIF allows it once, so delete one."
            )
        self.lines[tag] = line

    def __contains__(self, tag: str) -> bool:
        return tag in self.lines

    def column(self, tag: str) -> list[str] | None:
        """All values of a tag, of which one outside of a loop has one; None where the block has none.

        Raises:
            NesfError: where it has no value, or is there twice, so that it is not known what is meant.
        """
        from gemmi import cif

        if tag not in self.lines:
            return None
        if tag in self._problems:
            raise NesfError(self._problems[tag])
        # The library's text of an unknown value is empty.
        return [raw if cif.is_null(raw) else cif.as_string(raw) for raw in self._block.find_values(tag)]

    def one(self, *tags: str) -> str | None:
        """The first value of the first of these tags that says something; None where all are missing or unknown."""
        for tag in tags:
            found = self.column(tag)
            if found and found[0].strip() not in UNKNOWN:
                return found[0].strip()
        return None

    def given(self, tag: str) -> bool:
        """Whether a tag has any value that says something."""
        return any(text.strip() not in UNKNOWN for text in self.column(tag) or [])


def blocks_of(text: str) -> list[Block]:
    """All data blocks of a text.

    Raises:
        NesfError: where the text is no CIF, in one sentence that names the line.
    """
    from gemmi import cif

    # CIF is ASCII. What is not may stand in comments and titles; elsewhere it must not become what means something.
    try:
        document = cif.read_string(re.sub(r"[^\t\n\r -~]", "~", text), 0)
    except (ValueError, RuntimeError) as error:
        match = re.fullmatch(r"string:(\d+)(?::\d+\(\d+\))?:? ?(.*)", str(error), re.DOTALL)
        line, reason = match.groups() if match else ("1", str(error))
        reason = " ".join(reason.split())[:100].rstrip(".").replace("parse error", "it is damaged, or ends too early")
        raise NesfError(f"It is no CIF, because of line {line}: {reason}; correct the line.") from None
    return [Block(document, index) for index in range(len(document))]


def number(text: str) -> float | None:
    """A number of CIF, whose standard uncertainty in brackets is left away; None where the text is none.

    >>> number("5.6402(3)"), number("-.5"), number("?"), number("nan")
    (5.6402, -0.5, None, None)
    """
    from gemmi import cif

    value = math.nan if text.startswith("+-") else float(cif.as_number(text))
    return value if math.isfinite(value) else None
