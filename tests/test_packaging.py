"""What is installed is what the repository says: version, dependencies, data files, public names."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import nesf

LARGEST_MODEL, ALL_MODELS = 8_000_000, 20_000_000
"""Bytes."""


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins(root):
    """Package -> version of constraints.txt; every line must be an exact pin of another package."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_one_version_everywhere(root, project):
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project["version"] == nesf.__version__
    assert metadata.version("nesf") == nesf.__version__
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [nesf.__version__]
    assert re.search(r"^## \[([\d.]+)\]", changelog, re.MULTILINE)[1] == nesf.__version__


def test_constraints_pin_every_dependency_to_a_version_that_is_allowed(project, pins):
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    for text in [*project["dependencies"], *extras]:
        requirement = Requirement(text)
        if requirement.name == "nesf":
            assert requirement.extras <= set(project["optional-dependencies"])
            continue
        assert requirement.specifier.contains(pins[requirement.name]), f"{text} is pinned to {pins[requirement.name]}"


def test_constraints_fit_every_machine(pins):
    assert pins["torch"] == "2.13.0"
    assert not [version for version in pins.values() if not re.fullmatch(r"[\d.]+(post\d+)?", version)]


def test_pre_commit_formats_as_the_tests_do(root, pins):
    hooks = (root / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.search(r"ruff-pre-commit\n\s+rev: v(\S+)", hooks)[1] == pins["ruff"]


def test_data_files_are_in_the_package_and_git_ships_them(root):
    package = Path(nesf.__file__).parent
    weights = sorted(package.glob("shipped/*.safetensors"))
    files = [package / "py.typed", package / "data" / "textbook.toml", *weights]
    assert [file.name for file in files if not file.is_file()] == []
    assert [file.name for file in weights if file.stat().st_size > LARGEST_MODEL] == []
    assert sum(file.stat().st_size for file in weights) <= ALL_MODELS
    # The wheel holds what git does not ignore.
    assert subprocess.run(["git", "check-ignore", *files], cwd=root, check=False, timeout=60).returncode == 1


def test_the_public_names_are_a_dozen_and_exist():
    assert len(nesf.__all__) <= 12
    assert [name for name in nesf.__all__ if getattr(nesf, name).__name__ != name] == []
    assert not hasattr(nesf, "no_such_name")
