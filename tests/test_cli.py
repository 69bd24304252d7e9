"""The command line as a user meets it: each verb, and one clear sentence with exit code 2 for each wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hubbleflow.galaxies import GalaxySet
from hubbleflow.survey import Survey


def hubbleflow(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hubbleflow", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)


def refused(*words: object) -> str:
    """Run a command that must be refused, and return its one sentence."""
    run = hubbleflow(*words)
    lines = [line for line in run.stderr.splitlines() if line.startswith("hubbleflow: ")]
    assert run.returncode == 2 and "Traceback" not in run.stderr, run.stderr
    assert len(lines) == 1 and run.stderr.rstrip().endswith(lines[0])
    return lines[0]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small mock sky, a model, and galaxies drawn from it: every verb of the main road, run once."""
    folder = tmp_path_factory.mktemp("road")
    for words in (
        ("simulate", folder / "sky.h5", "--n", 96, "--seed", 1),
        ("train", folder / "sky.h5", folder / "model", "--condition", "redshift,category", "--steps", 12, "-a", "width=16"),
        ("generate", folder / "model", folder / "made.h5", "--like", folder / "sky.h5", "--steps", 3),
        ("measure", folder / "sky.h5", "--table", folder / "sky.ecsv"),
        ("evaluate", folder / "sky.h5", folder / "made.h5", folder / "report"),
    ):
        run = hubbleflow(*words)
        assert run.returncode == 0, f"{words}: {run.stderr}"
    return folder


def test_the_main_road_leaves_what_it_promises(road: Path) -> None:
    made, sky = GalaxySet.open(road / "made.h5"), GalaxySet.open(road / "sky.h5")
    assert np.array_equal(made.redshift, sky.redshift) and np.array_equal(made.category, sky.category)
    assert "i_isophotal_area" in sky.measured
    assert "true_i_mag" in (road / "sky.ecsv").read_text()
    metrics = json.loads((road / "report" / "metrics.json").read_text())
    assert metrics["real"]["n"] == 96 and metrics["generated"]["n"] == 96
    assert {"value", "error", "floor", "floor_error", "better"} <= set(metrics["metrics"]["galaxy_kl"])
    page = (road / "report" / "report.html").read_text()
    assert "<html" in page and 'src="http' not in page
    assert list((road / "model" / "samples").glob("*.png"))
    assert list((road / "model" / "tensorboard").iterdir())


def test_info_of_a_set_and_of_a_model(road: Path) -> None:
    said = hubbleflow("info", road / "sky.h5").stdout
    assert "96 galaxies of hsc-wide" in said and "redshift" in said
    said = hubbleflow("info", road / "model").stdout
    assert "edm" in said and "Barred Spiral" in said and "12 steps" in said


def test_generate_by_range_list_and_category(road: Path) -> None:
    assert (
        hubbleflow(
            "generate", road / "model", road / "a.h5", "--n", 5, "--redshift", "0.3:0.6", "--category", "spiral", "--steps", 2
        ).returncode
        == 0
    )
    redshift = GalaxySet.open(road / "a.h5").redshift
    assert all("Spiral" in kind for kind in GalaxySet.open(road / "a.h5").category)
    assert len(redshift) == 5 and (redshift >= 0.3).all() and (redshift <= 0.6).all()
    words = ("generate", road / "model", road / "b.h5", "--redshift", "0.3,0.5", "--n", 4, "--steps", 2, "--sheet", road / "b.png")
    assert hubbleflow(*words).returncode == 0
    assert GalaxySet.open(road / "b.h5").redshift.tolist() == [0.3, 0.5, 0.3, 0.5]
    assert (road / "b.png").read_bytes()[:4] == b"\x89PNG"


def test_the_same_command_gives_the_same_bytes(road: Path) -> None:
    for name in ("one.h5", "two.h5"):
        hubbleflow("generate", road / "model", road / name, "--n", 3, "--redshift", "0.3:0.6", "--seed", 4, "--steps", 2)
        hubbleflow("simulate", road / f"sky_{name}", "--n", 20, "--seed", 9)
    for prefix in ("", "sky_"):
        one, two = (GalaxySet.open(road / f"{prefix}{name}.h5") for name in ("one", "two"))
        assert np.array_equal(one.images[:], two.images[:]) and np.array_equal(one.redshift, two.redshift)


def test_version_help_and_models() -> None:
    assert hubbleflow("--version").stdout.startswith("hubbleflow 0.")
    assert "generate" in hubbleflow("--help").stdout
    assert "li2024-redshift-cnn" in hubbleflow("models").stdout


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are each wrong in one way."""
    folder = tmp_path_factory.mktemp("bad")
    images = np.random.default_rng(0).normal(size=(8, 5, 32, 32)).astype("f4")

    def write(name: str, **datasets: np.ndarray) -> None:
        with h5py.File(folder / name, "w") as file:
            for key, values in datasets.items():
                file[key] = values

    write("noimage.h5", flux=images)
    write("shape.h5", image=images[:, 0])
    write("dtype.h5", image=np.array([b"text"]))
    write("empty.h5", image=images[:0])
    write("negative.h5", image=images, specz_redshift=np.linspace(-1, 1, 8))
    write("nan.h5", image=images, specz_redshift=np.array([np.nan] + [0.5] * 6 + [0.7]))
    write("constant.h5", image=np.ones_like(images), specz_redshift=np.linspace(0, 1, 8))
    write("noredshift.h5", image=images)
    write("good.h5", image=images, specz_redshift=np.linspace(0.1, 1, 8))
    (folder / "truncated.h5").write_bytes((folder / "good.h5").read_bytes()[:3000])
    (folder / "text.h5").write_text("this is no HDF5 file")
    GalaxySet(images[:, :3], Survey.get("sdss-rgb")).write(folder / "rgb.h5")
    GalaxySet(images[:, :1], Survey.get("hsc-i"), {"redshift": np.linspace(0.1, 1, 8)}).write(folder / "i_band.h5")
    return folder


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing.h5", "does not exist"),
        ("truncated.h5", "truncated|damaged"),
        ("text.h5", "not an HDF5 file"),
        ("noimage.h5", "no dataset 'image'"),
        ("shape.h5", "expected (n, band, y, x)"),
        ("dtype.h5", "has shape"),
        ("empty.h5", "zero rows"),
        ("negative.h5", "finite and not negative"),
        ("nan.h5", "1 of 8 values are not"),
        ("constant.h5", "nothing to learn"),
        ("noredshift.h5", "no column 'redshift'"),
    ],
)
def test_training_sets_that_are_wrong(bad: Path, tmp_path: Path, name: str, sentence: str) -> None:
    said = refused("train", bad / name, tmp_path / "model", "--steps", 1)
    assert any(part in said for part in sentence.split("|"))
    assert not (tmp_path / "model").exists(), "nothing is left of a training that never began"


def test_requests_that_are_wrong(road: Path, bad: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    assert "outside the trained range" in refused("generate", road / "model", out, "--n", 2, "--redshift", "7")
    assert "unknown category 'blob'" in refused("generate", road / "model", out, "--n", 2, "--category", "blob")
    assert "its survey is hsc-i" in refused("generate", road / "model", out, "--like", bad / "i_band.h5")
    assert "needs --n" in refused("generate", road / "model", out, "--redshift", "0.1:1")
    assert "not a number" in refused("generate", road / "model", out, "--n", 1, "--redshift", "far")
    assert "runs backwards" in refused("generate", road / "model", out, "--n", 1, "--redshift", "1:0.1")
    assert "finite number" in refused("generate", road / "model", out, "--n", 1, "--redshift", "nan")
    assert "at least 1" in refused("generate", road / "model", out, "--n", -5, "--redshift", "0.1:1")
    assert "two finite ends" in refused("generate", road / "model", out, "--n", 1, "--redshift", "0.1:inf")
    assert "two finite ends" in refused("generate", road / "model", out, "--n", 1, "--redshift", "0.2:1:2")
    assert "3 values of redshift" in refused("generate", road / "model", out, "--n", 2, "--redshift", "0.1,0.2,0.3")
    assert "give the generated one another name" in refused("generate", road / "model", road / "sky.h5", "--like", road / "sky.h5")
    assert "leave out --n" in refused("generate", road / "model", out, "--n", 1, "--like", road / "sky.h5")
    assert "does not exist" in refused("generate", road / "nothing", out, "--n", 1)
    assert "unknown survey" in refused("simulate", out, "--n", 2, "--survey", "hst")
    assert "unknown model" in refused("train", road / "sky.h5", tmp_path / "m", "--model", "gan")
    assert "already holds a model" in refused("train", road / "sky.h5", road / "model", "--steps", 3)
    assert "must end in" in refused("measure", road / "sky.h5", "--table", tmp_path / "table.doc")
    assert "does not exist" in refused("evaluate", road / "nothing.h5", road / "made.h5", tmp_path / "report")
    assert "common" in refused("evaluate", bad / "rgb.h5", bad / "i_band.h5", tmp_path / "report")
    assert "does not exist" in refused("info", tmp_path / "nothing")
    assert "cannot write" in refused("simulate", road / "sky.h5" / "under_a_file.h5", "--n", 2)
    assert not out.exists()


def test_split_makes_disjoint_parts(road: Path, tmp_path: Path) -> None:
    words = ("split", road / "sky.h5", tmp_path / "a.h5", tmp_path / "b.h5")
    assert hubbleflow(*words, "--fractions", "0.75,0.25", "--seed", 1).returncode == 0
    a, b = GalaxySet.open(tmp_path / "a.h5"), GalaxySet.open(tmp_path / "b.h5")
    assert (len(a), len(b)) == (72, 24) and not set(a.columns["object_id"]) & set(b.columns["object_id"])
    assert "i_mag" in a.measured
    assert "3 shares for 2 files" in refused(*words, "--fractions", "0.5,0.3,0.2")


def test_extrapolation_is_possible_when_asked_for(road: Path, tmp_path: Path) -> None:
    run = hubbleflow("generate", road / "model", tmp_path / "far.h5", "--n", 1, "--redshift", "7", "--steps", 2, "--extrapolate")
    assert run.returncode == 0 and GalaxySet.open(tmp_path / "far.h5").redshift.tolist() == [7.0]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    run = hubbleflow("info", tmp_path / "nothing", "--debug")
    assert run.returncode != 0 and "Traceback" in run.stderr


def test_import_of_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "stamps.npz", stamps=np.random.default_rng(0).normal(size=(4, 16, 16)).astype("f4"), z=[0.1, 0.2, 0.3, 0.4])
    run = hubbleflow(
        "import", "images", tmp_path / "stamps.npz", tmp_path / "set.h5", "--images", "stamps", "--redshift", "z", "--survey", "hsc-i"
    )
    assert run.returncode == 0, run.stderr
    assert GalaxySet.open(tmp_path / "set.h5").redshift.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert "'pictures'" in refused(
        "import", "images", tmp_path / "stamps.npz", tmp_path / "b.h5", "--images", "pictures", "--survey", "hsc-i"
    )
