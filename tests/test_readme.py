"""The README's own commands, run (with small numbers in the place of large ones), and the demonstration itself."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SMALLER = {
    "--n 2000": "--n 120",
    "--minutes 10": "--steps 3",
    "--n 64": "--n 4",
    "made.h5 --n 4": "made.h5 --n 4 --steps 2",
    "--like test.h5": "--like test.h5 --steps 2",
    "--seeds 4": "--seeds 2 --frames 3 --steps 2",
    "n=500": "n=120",
    "steps=20)": "steps=3)",
}


def smaller(text: str) -> str:
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return text


def block(language: str) -> str:
    """All of them, one after the other."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no {language} block"
    return smaller("".join(found))


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    assert 8 <= len(block("python").strip().splitlines()) <= 20
    run([sys.executable, "-c", block("python")], tmp_path)
    assert (tmp_path / "report" / "report.html").exists() and (tmp_path / "made.png").exists()


def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    example = importlib.util.spec_from_file_location("galaxiesml_example", ROOT / "examples" / "02_galaxiesml.py")
    assert example and example.loader
    module = importlib.util.module_from_spec(example)
    example.loader.exec_module(module)
    module.make_tiny(tmp_path / "5x64x64_training_with_morphology.hdf5", n=20)
    commands = [shlex.split(line, comments=True) for line in block("sh").splitlines() if line.strip()]
    assert [words[1] for words in commands] == [
        *("generate", "simulate", "import", "train", "generate", "generate", "evolve", "measure", "evaluate", "info", "models", "clean")
    ]
    for words in commands:
        run([sys.executable, "-m", *words], tmp_path)
        if words[1] == "simulate":  # the README's user brings a test set of his own
            run([sys.executable, "-m", "hubbleflow", "simulate", "test.h5", "--n", "40", "--seed", "2"], tmp_path)
    for name in ("report/metrics.json", "made.png", "made.ecsv", "evolving.gif"):
        assert (tmp_path / name).exists(), name


def test_everything_the_readme_points_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    goals = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "install"} <= set(goals)
    opening = README.split("\n\n")[2]
    assert "make demo" in opening and "make test" in opening


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    words = ("demo", "--out", "out", "--minutes", "0.1", "--n-train", "200", "--n-test", "64")
    return folder / "out", run([sys.executable, "-m", "hubbleflow", *words], folder).stdout


def test_the_demo_ends_with_three_lines_and_the_report(demo: tuple[Path, str]) -> None:
    out, said = demo
    lines = said.strip().splitlines()
    assert len(lines) == 4 and lines[-1].endswith("report.html")
    for name in (
        "first.png",
        "train.h5",
        "test.h5",
        "generated.h5",
        "mock_sky.png",
        "side_by_side.png",
        "model/model.safetensors",
        "report/report.html",
    ):
        assert (out / name).exists(), name
    metrics = json.loads((out / "report" / "metrics.json").read_text())["metrics"]
    assert {"galaxy_kl", "galaxy_fitting_loss", "redshift_loss", "redshift_spearman"} <= set(metrics)
    assert metrics["redshift_loss"]["real"] is not None
