"""The grammar of CIF 1.1: a text becomes data blocks of tags with their values, each with the line it stands on."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nesf.errors import NesfError

# A text field, a quoted value, a comment, or a bare word; a quote that never closes is part of a bare word.
_TOKEN = re.compile(
    r"""^;(?P<field>.*?)\n;|(?P<comment>\#[^\n]*)|'(?P<single>(?:[^'\n]|'(?=\S)){0,65536})'(?=\s|$)"""
    r"""|"(?P<double>(?:[^"\n]|"(?=\S)){0,65536})"(?=\s|$)|(?P<bare>\S+)""",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(\(\d*\))?", re.ASCII)
_KEYWORD = re.compile(r"(data_|save_|loop_$|stop_$|global_$)", re.IGNORECASE)
_Token = tuple[str, bool, int]
"""Its text, whether it is bare (and may be a keyword or tag), and where it begins."""
UNKNOWN = ("?", ".")
MOST_UNCLOSED = 1000
"""Quotes that never close; each is looked for to the end of its line, so very many would take very long."""


@dataclass
class Block:
    """One data block.

    Attributes:
        name: what follows ``data_``.
        values: by tag, in lower case: its values, of which a tag outside of a loop has one.
        lines: by tag: the line of the file that it stands on.
        problems: by tag: what is wrong with it, raised when it is asked for.
    """

    name: str
    values: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def __contains__(self, tag: str) -> bool:
        return tag in self.values

    def get(self, *tags: str) -> list[str] | None:
        """The values of the first of these tags that the block has; raises ``NesfError`` where they are damaged."""
        tag = next((tag for tag in tags if tag in self.values), None)
        if tag is None:
            return None
        if tag in self.problems:
            raise NesfError(self.problems[tag])
        return self.values[tag]

    def one(self, *tags: str) -> str | None:
        """The value of the first of these tags that says something; None where all are missing, ``?`` or ``.``."""
        for tag in tags:
            found = self.get(tag)
            if found and found[0].strip() not in ("", *UNKNOWN):
                return found[0].strip()
        return None

    def add(self, tag: str, values: list[str], line: int) -> None:
        """Enter a tag; one that has been there already with other values is a problem."""
        if tag in self.values and self.values[tag] != values:
            first = self.lines[tag]
            self.problems[tag] = (
                f"It gives {tag} twice, on lines {first} and {line}; CIF allows it once, so delete one."
            )
            return
        self.values[tag], self.lines[tag] = values, line


def blocks_of(text: str) -> list[Block]:
    """All data blocks of a text, those without atoms, too; what stands before the first one is passed over."""
    found: list[Block] = []
    lines = _Lines(text)
    tokens = _Peeking(_tokens(text))
    while (token := tokens.take()) is not None:
        word, bare, begin = token
        lower = word.lower() if bare else ""
        if lower.startswith("data_"):
            found.append(Block(word[len("data_") :]))
        elif found and lower == "loop_":
            _take_loop(found[-1], tokens, lines)
        elif found and lower.startswith("_"):
            following = tokens.peek()
            missing = following is None or _is_structure(following)
            values = ["?"] if missing else [tokens.take()[0]]  # type: ignore[index]
            found[-1].add(lower, values, lines.of(begin))
    return found


def number(text: str) -> float | None:
    """A number of CIF, whose standard uncertainty in brackets is left away; None where the text is none.

    >>> number("5.6402(3)"), number("-.5"), number("?"), number("nan")
    (5.6402, -0.5, None, None)
    """
    # No number that means something is longer, and int and float take quadratic time for very long ones.
    if len(text) > 100 or not _NUMBER.fullmatch(text):
        return None
    value = float(text.split("(")[0])
    return value if math.isfinite(value) else None


def _take_loop(block: Block, tokens: "_Peeking", lines: "_Lines") -> None:
    tags: list[tuple[str, int]] = []
    while (token := tokens.peek()) is not None and token[1] and token[0].startswith("_"):
        tags.append((token[0].lower(), lines.of(token[2])))
        tokens.take()
    values: list[str] = []
    while (token := tokens.peek()) is not None and not _is_structure(token):
        values.append(token[0])
        tokens.take()
    for index, (tag, line) in enumerate(tags):
        block.add(tag, values[index :: len(tags)], line)
        if len(values) % len(tags):
            block.problems[tag] = (
                f"Its loop on line {tags[0][1]} has {len(tags)} columns but {len(values)} values, which is no whole "
                "number of rows; complete or correct the rows."
            )


def _is_structure(token: _Token) -> bool:
    word, bare, _ = token
    return bare and (word.startswith("_") or _KEYWORD.match(word) is not None)


def _tokens(text: str) -> Iterator[_Token]:
    unclosed = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        unclosed += kind == "bare" and match[0][0] in "'\""
        if unclosed > MOST_UNCLOSED:
            raise NesfError(f"It has more than {MOST_UNCLOSED} quotes that are never closed; repair it.")
        if kind != "comment":
            yield match[kind or 0], kind == "bare", match.start()


class _Peeking:
    """Tokens, of which the next one may be looked at."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._tokens = tokens
        self._next = next(tokens, None)

    def peek(self) -> _Token | None:
        return self._next

    def take(self) -> _Token | None:
        token, self._next = self._next, next(self._tokens, None)
        return token


class _Lines:
    """The line of each position of a text, for positions that are asked for in ascending order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position, self._line = 0, 1

    def of(self, position: int) -> int:
        self._line += self._text.count("\n", self._position, position)
        self._position = position
        return self._line
