"""The templates that CONTRIBUTING.md points to: each, copied into the package as it tells, is found and works.

The package is copied aside with the three templates in their places, and a fresh interpreter uses that copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PLACES = {
    "model.py": "models/my_model.py",
    "metric.py": "metrics/my_metric.py",
    "archive.py": "datasets/my_archive.py",
}

ARCHIVE = """
import numpy as np
from hubbleflow.datasets import archive_names, import_archive
from hubbleflow.galaxies import GalaxySet

assert "my_archive" in archive_names()
stamps = np.random.default_rng(1).normal(0, 1, (300, 16, 16)).astype(np.float32)
np.savez("archive.npz", stamps=stamps, z=np.linspace(0.1, 2.0, 300))
report = import_archive("my_archive", "archive.npz", "set.h5")
galaxies = GalaxySet.open("set.h5")
assert report.n == len(galaxies) == 300 and galaxies.survey.name == "hsc-i"
assert np.array_equal(galaxies.images[:][:, 0], stamps)
assert np.allclose(galaxies.redshift, np.linspace(0.1, 2.0, 300))
"""

BAD_ARCHIVE = """
import numpy as np
from hubbleflow.datasets import import_archive

np.savez("archive.npz", stamps=np.ones((3, 16, 16)))
import_archive("my_archive", "archive.npz", "set.h5")
"""

METRIC = """
import numpy as np
from hubbleflow.metrics import Sample, all_metrics
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.splits import judge
from hubbleflow.survey import Survey

def sky(seed, fainter):
    rng = np.random.default_rng(seed)
    z = rng.uniform(0, 2, 400)
    measured = {"i_mag": 20 + z + fainter + rng.normal(0, 0.5, 400), "flag": np.zeros(400, int)}
    return Sample(Survey.get("hsc-i"), {"redshift": z}, measured)

metric = next(metric for metric in all_metrics() if metric.name == "my_metric")
real, alike, fainter = sky(1, 0.0), sky(2, 0.0), sky(3, 0.4)
same, wrong = (judge(metric, real, made, choose_bins(real, made)) for made in (alike, fainter))
assert same.within_floor and not wrong.within_floor, (same, wrong)
assert abs(wrong.value - 0.4) < 0.1, wrong
"""

MODEL = """
import numpy as np, torch
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.models import model_names
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training

assert "my-model" in model_names()
rng = np.random.default_rng(0)
z = rng.uniform(0.1, 2.0, 64)
r2 = ((np.mgrid[:16, :16] - 7.5) ** 2).sum(0)
spots = (10 / z)[:, None, None] * np.exp(-r2 / 8) + rng.normal(0, 0.06, (64, 16, 16))
galaxies = GalaxySet(spots[:, None].astype(np.float32), Survey.get("hsc-i"), {"redshift": z})
losses = [step.loss for step in Training(galaxies, "model", Recipe(model="my-model", steps=150, dropout=0.0)).run()]
assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.5, (losses[0], losses[-1])
generator = Generator.load("model")
assert all(parameter.isfinite().all() for parameter in generator.model.parameters())
near, far = (generator.sample({"redshift": [z] * 8}, seed=3).images[:] for z in (0.3, 1.5))
assert np.array_equal(near, generator.sample({"redshift": [0.3] * 8}, seed=3).images[:])
assert near[..., 6:10, 6:10].mean() > 2 * far[..., 6:10, 6:10].mean() > 0
"""


@pytest.fixture(scope="module")
def extended_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package, the three templates in their places."""
    folder = tmp_path_factory.mktemp("extended")
    package = folder / "hubbleflow"
    shutil.copytree(REPOSITORY / "src" / "hubbleflow", package, ignore=shutil.ignore_patterns("__pycache__"))
    for template, place in PLACES.items():
        shutil.copy(REPOSITORY / "templates" / template, package / place)
    return folder


def run(script: str, package: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(package)}
    command = [sys.executable, "-W", "error", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.parametrize("script", [ARCHIVE, METRIC, MODEL], ids=["archive", "metric", "model"])
def test_template_works(extended_package, tmp_path, script):
    outcome = run(script, extended_package, tmp_path)
    assert outcome.returncode == 0, outcome.stderr


def test_archive_template_refuses(extended_package, tmp_path):
    outcome = run(BAD_ARCHIVE, extended_package, tmp_path)
    assert "InputError" in outcome.stderr and "has no array 'z'" in outcome.stderr
    assert not (tmp_path / "set.h5").exists()


def test_contributing_names_the_templates():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    for template, place in PLACES.items():
        assert f"(templates/{template})" in text
        assert f"src/hubbleflow/{place.split('/')[0]}/" in text
