"""The training core imports with torch, numpy, h5py, safetensors and accelerate alone: GPU hosts may lack the rest."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

CORE = [
    "galaxies",
    "survey",
    "files",
    "errors",
    "stretch",
    "conditions",
    "networks",
    "diffusion",
    "sampling",
    "models",
    "generator",
    "training",
]

# Run in an interpreter of its own. hubbleflow's modules may import themselves, the standard library and five packages.
# Whatever those five import for themselves is their affair; but our modules may load nothing that may be absent.
SCRIPT = """
import builtins, importlib, sys
import torch, numpy, h5py, safetensors.torch, accelerate

ALLOWED = {"hubbleflow", "torch", "numpy", "h5py", "safetensors", "accelerate"} | set(sys.stdlib_module_names)
ABSENT = {"astropy", "sep", "scipy", "matplotlib", "rich", "typer", "ema_pytorch", "tensorboard", "PIL", "galsim"}
real_import = builtins.__import__

def guarded_import(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__") or ""
    if level == 0 and importer.partition(".")[0] == "hubbleflow" and name.partition(".")[0] not in ALLOWED:
        raise ImportError(f"{importer} imports {name}, which the training core must do without")
    return real_import(name, globals, locals, fromlist, level)

before = set(sys.modules)
builtins.__import__ = guarded_import
for module in sys.argv[1:]:
    importlib.import_module(module)
loaded = {name.partition(".")[0] for name in set(sys.modules) - before} & ABSENT
if loaded:
    raise ImportError(f"importing the training core loaded {sorted(loaded)}")
"""


def run_guarded(*modules: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Import `modules` in a fresh interpreter in which hubbleflow's own imports are watched."""
    command = [sys.executable, "-c", SCRIPT, *modules]
    environment = os.environ | ({"PYTHONPATH": path} if path else {})
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_core_exists():
    missing = [name for name in CORE if importlib.util.find_spec(f"hubbleflow.{name}") is None]
    assert not missing


def test_core_needs_five_packages_only():
    outcome = run_guarded(*(f"hubbleflow.{name}" for name in CORE))
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    "line",
    ["import astropy.units", "from sep import extract", "from torch.utils.tensorboard import SummaryWriter"],
    ids=["import", "from", "behind torch's back"],
)
def test_guard_catches(tmp_path, line):
    """A package named hubbleflow that imports what it must not is caught, so that the test above can fail."""
    package = tmp_path / "hubbleflow"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "offender.py").write_text(line + "\n")
    outcome = run_guarded("hubbleflow.offender", path=str(tmp_path))
    assert outcome.returncode != 0
    assert "ImportError" in outcome.stderr and "training core" in outcome.stderr
