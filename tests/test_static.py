"""What is checked without running the package: style, types, and the one command that everybody is to use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command", ["ruff check --no-cache .", "ruff format --no-cache --check .", "mypy"], ids=["ruff", "format", "mypy"]
)
def test_style_and_types(command, root):
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=root, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def checkout(root, tmp_path) -> Path:
    """The README and ``.ci/run`` in a folder of their own."""
    for name in ("README.md", ".ci/run"):
        (tmp_path / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, tmp_path / "checkout" / name)
    return tmp_path / "checkout"


def run_ci(checkout: Path, status: int = 0) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """Run ``.ci/run`` with a stand-in for Python: what it was asked to run, and how it ended."""
    log, stand_in, temporary = (checkout.parent / name for name in ("log", "bin/python3", "temporary"))
    stand_in.parent.mkdir()
    temporary.mkdir()
    # `python3 -m venv FOLDER` puts recorders of their command line in FOLDER/bin; python ends with `status`.
    stand_in.write_text(f"""#!/usr/bin/env bash
echo "python3 $*" >>"{log}"
mkdir -p "$3/bin"
for tool in pip python; do
  printf '%s\\n' '#!/usr/bin/env bash' 'echo "$0 $*" >>"{log}"' '[[ $0 != */python ]] || exit {status}' >"$3/bin/$tool"
  chmod +x "$3/bin/$tool"
done
""")
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{stand_in.parent}:{os.environ['PATH']}", "TMPDIR": str(temporary)}
    done = subprocess.run(
        [checkout / ".ci" / "run"], cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert list(temporary.iterdir()) == [], "the virtual environment must be removed"
    return log.read_text().splitlines() if log.exists() else [], done


def test_ci_runs_the_test_command_of_the_readme_in_an_environment_of_its_own(checkout):
    ran, done = run_ci(checkout)
    assert done.returncode == 0, done.stderr
    python, pip, pytest_ = ran
    venv = python.removeprefix("python3 -m venv ")
    assert ".venv" not in python
    assert pip == f"{venv}/bin/pip install -q -c constraints.txt -e .[test]"
    assert pytest_ == f"{venv}/bin/python -m pytest -n auto"


def test_ci_fails_where_the_tests_fail(checkout):
    assert run_ci(checkout, status=3)[1].returncode == 3


def test_ci_fails_where_the_readme_has_no_test_command(checkout):
    (checkout / "README.md").write_text("# nesf\n")
    ran, done = run_ci(checkout)
    assert done.returncode == 2
    assert "README.md must hold exactly one line" in done.stderr
    assert ran == []
