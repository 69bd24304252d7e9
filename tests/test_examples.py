"""The numbered examples: the quick ones run, the long ones at least start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *words: object, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_listed_and_says_what_is_new() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    scripts = sorted(EXAMPLES.glob("[0-9]*.py"))
    assert len(scripts) >= 6
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


def test_the_real_hsc_scenes(tmp_path: Path, shared_data: Path) -> None:
    said = run("06_hsc_scenes.py", shared_data / "hsc_cosmos_scenes", cwd=tmp_path)
    assert "756 objects" in said and "median colours: g-r" in said
    assert (tmp_path / "runs" / "06_hsc_scenes" / "sheets" / "scenes.png").exists()
