"""The page of promises names tests that exist."""

import re
from pathlib import Path


def test_every_test_that_the_page_of_promises_names_exists(root: Path):
    page = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    sources = {path.name: path.read_text(encoding="utf-8") for path in (root / "tests").rglob("*.py")}
    functions = re.findall(r"^def (test_\w+)", "\n".join(sources.values()), re.MULTILINE)
    named = re.findall(r"`(test_\w+)(…)?`", page)
    assert len(named) > 30
    assert [name for name, more in named if not any(f.startswith(name) if more else f == name for f in functions)] == []
    files = re.findall(r"`(?:tests/long/|python tests/long/)?(\w+\.py)", page)
    assert [name for name in files if name not in sources] == []
