"""Every function of the package is checked against its annotated array shapes while the tests run."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Before anything of nesf is imported; the last argument is the checker.
_hook = install_import_hook("nesf", "beartype.beartype")

DATA = Path(os.environ.get("NESF_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data tables; a test that needs it skips where it is absent."""
    if not (DATA / "lcs6a_val.parquet").is_file():
        pytest.skip(f"real data not found in {DATA} (set NESF_DATA)")
    return DATA
