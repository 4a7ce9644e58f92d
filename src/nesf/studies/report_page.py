"""Studies as one HTML page that needs nothing beside it: no network, no script, pictures within."""

import re
import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from io import BytesIO
from string import Template
from typing import Any
from urllib.parse import quote

from nesf.crystal import Failure
from nesf.studies.rounding import numeric, rounded
from nesf.studies.sections import Section, WrittenPicture, WrittenTable

TITLE = "Neural structure fields: studies"
MOST_ROWS = 40
"""Rows shown of a table; the rest is in the csv file."""
SHORT_ROWS = 25
"""Tables of more rows stand below the pictures, folded."""
MOST_PIXELS = 1 << 24
"""A picture of more is taken as it is: to unpack it could fill the memory."""
SHORT_TEXT = 28
"""Cells of a column with no longer text are not broken into lines."""


def page(sections: Sequence[Section], broken: Sequence[Failure]) -> str:
    """The page.

    Args:
        sections: the studies in their order.
        broken: folders that could not be read, with the reason.
    """
    anchors = [f"{i}-{_slug(section.folder)}" for i, section in enumerate(sections, 1)]
    parts = [_section(section, anchor) for section, anchor in zip(sections, anchors, strict=True)]
    template = Template(resources.files("nesf.studies").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(TITLE),
        byline=escape(_byline(sections)),
        contents="\n".join(map(_entry, sections, anchors)),
        sections="\n".join([*map(_broken, broken), *parts]),
    )


def _byline(sections: Sequence[Section]) -> str:
    days = sorted(str(section.provenance.get("started", ""))[:10] for section in sections)
    software = [section.provenance.get("software") for section in sections]
    versions = sorted({str(one.get("nesf")) for one in software if isinstance(one, Mapping)})
    count = f"{len(sections)} {'study' if len(sections) == 1 else 'studies'}"
    period = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return ", ".join(part for part in (count, period, f"nesf {' and '.join(versions)}" if versions else "") if part)


def _entry(section: Section, anchor: str) -> str:
    return f'<li><a href="#{anchor}">{escape(section.title)}</a><small>{escape(section.folder)}</small></li>'


def _broken(failure: Failure) -> str:
    return f'<p class="broken">The folder {escape(failure.id)} is left out: {escape(failure.reason)}</p>'


def _section(section: Section, anchor: str) -> str:
    beside = quote(section.folder)
    tables = {name: _table(table, f"{beside}/{quote(name)}.csv") for name, table in section.tables.items()}
    # A long one would part the summary from the pictures.
    long = [name for name, table in section.tables.items() if len(table.rows) > SHORT_ROWS]
    blocks = [
        f'<section id="{anchor}">',
        f"<h2><small>{escape(section.folder)}</small>{escape(section.title)}</h2>",
        *[f"<p>{_prose(text)}</p>" for text in re.split(r"\n\s*\n", section.summary.strip())],
        *[tables[name] for name in tables if name not in long],
        *[_figure(picture, f"{beside}/{quote(name)}.png") for name, picture in section.pictures.items()],
        *[tables[name] for name in long],
        *[f'<p>Interactive: <a href="{beside}/{quote(n)}.html">{escape(n)}</a></p>' for n in section.pages],
        _provenance(section.provenance),
        "</section>",
    ]
    return "\n".join(blocks)


def _prose(text: str) -> str:
    """A text; what it has between grave accents is a command."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(table: WrittenTable, address: str) -> str:
    shown, title = table.rows[:MOST_ROWS], escape(table.title)
    columns = [list(column) for column in zip(*shown, strict=True)] or [[] for _ in table.heads]
    kinds = list(map(_kind, columns))
    heads = "".join(f"<th{kind}>{escape(head)}</th>" for kind, head in zip(kinds, table.heads, strict=True))
    rows = [
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in zip(*map(rounded, columns), strict=True)
    ]
    rest = len(table.rows) - len(shown)
    link = f'<a href="{address}">csv</a>'
    notes = [_prose(table.note)] if table.note else []
    notes.append(f"{rest} more rows: {link}" if rest else link)
    content = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>\n"
        f'<p class="note">{" · ".join(notes)}</p>'
    )
    if len(table.rows) > SHORT_ROWS:
        return f"<details><summary>{title} ({len(table.rows)} rows)</summary>\n{content}</details>"
    return f'<div class="block"><h3>{title}</h3>\n{content}</div>'


def _kind(column: Sequence[str]) -> str:
    """The class of a column's cells: numbers to the right, short words on one line."""
    if column and numeric(column):
        return ' class="n"'
    return ' class="s"' if max(map(len, column), default=0) <= SHORT_TEXT else ""


def _figure(picture: WrittenPicture, address: str) -> str:
    width, height = struct.unpack(">II", picture.png[16:24])
    kind, content = _compact(picture.png) if width * height <= MOST_PIXELS else ("png", picture.png)
    caption, data = escape(picture.caption), b64encode(content).decode("ascii")
    image = f'<img alt="{caption}" width="{width}" height="{height}" src="data:image/{kind};base64,{data}">'
    return f'<figure><a href="{address}">{image}</a><figcaption>{caption}</figcaption></figure>'


def _compact(png: bytes) -> tuple[str, bytes]:
    """The same pixels as lossless WebP, in less than half the bytes; where that is not to be had, the PNG."""
    from PIL import Image

    buffer = BytesIO()
    try:
        with Image.open(BytesIO(png)) as image:
            image.save(buffer, "WEBP", lossless=True, exact=True)
    except (OSError, KeyError, SyntaxError, ValueError):
        return "png", png
    return ("webp", buffer.getvalue()) if len(buffer.getvalue()) < len(png) else ("png", png)


def _provenance(values: Mapping[str, Any]) -> str:
    rows = [f"<dt>{escape(name)}</dt><dd>{_shown(name, value)}</dd>" for name, value in values.items() if value != []]
    return f"<details><summary>Where this comes from</summary><dl>{''.join(rows)}</dl></details>"


def _shown(name: str, value: Any) -> str:
    """A value as people read it: a line for each entry of a table of values, or of a list of such."""
    if isinstance(value, Mapping):
        return "<br>".join(f"{escape(key)}: {_plain(key, one)}" for key, one in _flat(value).items()) or "–"
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        return "<br>".join(_shown(name, one).replace("<br>", ", ") for one in value)
    return _plain(name, value)


def _plain(name: str, value: Any) -> str:
    if isinstance(value, list):
        return escape(", ".join(map(str, value)))
    text = "–" if value is None else escape(str(value))
    return f"<code>{text}</code>" if name in ("command", "sha256") else text


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables of values as one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = _flat(value) if isinstance(value, Mapping) else {"": value}
        flat |= {f"{key}.{name}".rstrip("."): one for name, one in inner.items()}
    return flat


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
