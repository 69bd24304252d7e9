"""What every test may ask for."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Under xdist each worker has one core: threads of their own would only get in each other's way.
# Set before torch is first imported, and inherited by the commands that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files, on machines with no screen too
# What `evaluate` keeps is nobody's but this run's, and goes with it.
os.environ["HUBBLEFLOW_CACHE"] = tempfile.mkdtemp(prefix="hubbleflow-cache-")

import torch

atexit.register(shutil.rmtree, os.environ["HUBBLEFLOW_CACHE"], ignore_errors=True)
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real telescope images beside the checkout; a test that asks for it skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data absent: no folder ../shared/data beside the checkout")
    return folder


@pytest.fixture
def forget_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Models from files of their own that a test brings are forgotten after it, and when it calls this."""
    from hubbleflow.models import Model, model_names
    from hubbleflow.models.from_file import PREFIX, VARIABLE

    monkeypatch.delenv(VARIABLE, raising=False)
    model_names()
    before, modules = dict(Model.registered), set(sys.modules)

    def forget() -> None:
        Model.registered.clear()
        Model.registered.update(before)
        for name in set(sys.modules) - modules:
            if name.startswith(PREFIX):
                del sys.modules[name]

    yield forget
    forget()
