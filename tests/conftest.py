"""Every function of the package is checked against its annotated array shapes while the tests run."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

# Before anything of nesf is imported; the last argument is the checker.
_hook = install_import_hook("nesf", "beartype.beartype")

# Time tells about the machine, not about the law; a pipeline must not fail today and pass tomorrow.
settings.register_profile(
    "nesf",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("nesf")

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores, so one thread each. By the environment, so that PyTorch need not be
    # imported here and the processes that a test starts are held to it as well.
    os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("NESF_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data tables; a test that needs it skips where it is absent."""
    if not (DATA / "lcs6a_val.parquet").is_file():
        pytest.skip(f"real data not found in {DATA} (set NESF_DATA)")
    return DATA
