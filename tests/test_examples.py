"""The numbered examples: the quick ones run, the long ones at least start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hubbleflow.galaxies import GalaxySet

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ONE_CORE = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(name: str, *words: object, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=ONE_CORE, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_listed_and_says_what_is_new() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    scripts = sorted(EXAMPLES.glob("[0-9]*.py"))
    assert len(scripts) >= 7
    for script in scripts:
        assert f"`{script.name}`" in listed, script.name
        assert "New here:" in script.read_text(), script.name


@pytest.mark.parametrize("name", ["03_sdss_categories.py", "04_hsc_flux.py", "05_xdf_redshift.py"])
def test_long_examples_start(name: str, tmp_path: Path) -> None:
    assert "--steps" in run(name, "--help", cwd=tmp_path)


def test_the_demo_in_python(tmp_path: Path) -> None:
    said = run("01_demo.py", "--minutes", 0.05, "--n", 100, cwd=tmp_path)
    out = tmp_path / "runs" / "01_demo"
    assert (out / "report" / "report.html").exists() and (out / "generated.png").exists()
    assert len(said.strip().splitlines()) >= 3


def test_the_generator_that_ships(tmp_path: Path) -> None:
    said = run("12_shipped.py", "--steps", 2, cwd=tmp_path)
    assert (tmp_path / "runs" / "12_shipped" / "shipped.png").exists()
    assert len(said.strip().splitlines()) == 7 and "at z = 1.5" in said


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    """The commands of its docstring, smaller: it trains, draws, is judged, is listed, and has learnt what redshift does."""
    example = EXAMPLES / "07_own_model.py"
    lines = [line for line in example.read_text().splitlines() if line.startswith("    hubbleflow ") or line.startswith("    export ")]
    script = " && ".join(line.strip() for line in lines)
    for large, small in {
        "--n 2000": "--n 240 --size 32",
        "--steps 600": "--steps 250",
        "examples/07_own_model.py": str(example),
        "made.h5 report": "made.h5 report --redshift-model none",
        "hubbleflow ": f"{sys.executable} -m hubbleflow ",
    }.items():
        assert large in script
        script = script.replace(large, small)
    listing = f"{sys.executable} -m hubbleflow models --json > models.json"
    done = subprocess.run(
        ["bash", "-ec", f"{script} && {listing}"], cwd=tmp_path, capture_output=True, text=True, env=ONE_CORE, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.html").exists()
    row = next(row for row in json.loads((tmp_path / "models.json").read_text()) if row["name"] == "eigen-galaxies")
    assert row["draws"] and row["file"] == str(example) and row["parameters"] > 5 * 64 * 64 * 24
    sky, made = GalaxySet.open(tmp_path / "sky.h5"), GalaxySet.open(tmp_path / "made.h5")
    near, far = sky.redshift < 0.3, sky.redshift > 0.8
    core = slice(14, 18)
    for which in (sky, made):
        light = which.images[:][:, :, core, core].mean(axis=(1, 2, 3))
        assert light[near].mean() > 2 * light[far].mean(), "near galaxies are brighter"
    sigma = [np.median(np.abs(which.images[:][:, :, :3, :3]), axis=(0, 2, 3)) for which in (sky, made)]
    assert np.allclose(np.log(sigma[0]), np.log(sigma[1]), atol=0.5), "and the sky is about as noisy in every band"


def test_the_real_hsc_scenes(tmp_path: Path, shared_data: Path) -> None:
    said = run("06_hsc_scenes.py", shared_data / "hsc_cosmos_scenes", cwd=tmp_path)
    assert "756 objects" in said and "median colours: g-r" in said
    assert (tmp_path / "runs" / "06_hsc_scenes" / "sheets" / "scenes.png").exists()
