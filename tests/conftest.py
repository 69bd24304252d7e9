"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Under xdist each worker has one core: threads of their own would only get in each other's way.
# Set before torch is first imported, and inherited by the commands that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files, on machines with no screen too

import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real telescope images beside the checkout; a test that asks for it skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data absent: no folder ../shared/data beside the checkout")
    return folder
