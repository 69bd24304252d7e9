"""The verb `predict`: a table with what a model reads off every galaxy, beside what the set knows of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable
from typer.testing import CliRunner

from hubbleflow.cli import app
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.predictor import Predictor
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training

MODELS = {
    "redshift-density": {"widths": [8, 8], "dense": 16},
    "li2024-redshift-cnn": {"widths": [8, 8, 8, 8, 8, 8, 8], "dense": [16, 8]},
    "category-cnn": {"widths": [8, 8]},
    "edm": {"width": 16, "multipliers": [1, 2]},
}


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of galaxies and one model of each kind, hardly trained."""
    folder = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    columns = {"redshift": rng.uniform(0.1, 2, 40), "category": np.array(["far galaxy", "near"] * 20), "object_id": np.arange(40) + 7}
    galaxies = GalaxySet(rng.normal(size=(40, 1, 32, 32)).astype("f4"), Survey.get("hsc-i"), columns)
    galaxies.write(folder / "set.h5")
    for name, arguments in MODELS.items():
        list(Training(galaxies, folder / name, Recipe(model=name, steps=2, batch_size=8, arguments=arguments)).run())
    return folder


def predict(*words: object) -> str:
    """Run the verb; an error is raised as it is."""
    return CliRunner().invoke(app, ["predict", *map(str, words)], catch_exceptions=False, standalone_mode=False).output


def test_a_density_gives_its_median_and_quantiles(road: Path, tmp_path: Path) -> None:
    said = predict(road / "redshift-density", road / "set.h5", tmp_path / "z.ecsv")
    assert "40 galaxies read by redshift-density: predicted_redshift, z_q16, z_q50, z_q84" in said.replace("\n", " ")
    table, galaxies = QTable.read(tmp_path / "z.ecsv"), GalaxySet.open(road / "set.h5")
    assert np.array_equal(table["object_id"], np.arange(40) + 7) and np.allclose(table["redshift"], galaxies.redshift)
    density = Predictor.load(road / "redshift-density").density(galaxies)
    for name, level in (("z_q16", 0.16), ("z_q50", 0.5), ("z_q84", 0.84), ("predicted_redshift", 0.5)):
        assert np.allclose(table[name], density.quantile(level))
    assert "predicted_redshift" not in GalaxySet.open(road / "set.h5").columns, "the set itself is as it was"


def test_a_point_estimate_gives_one_column(road: Path, tmp_path: Path) -> None:
    predict(road / "li2024-redshift-cnn", road / "set.h5", tmp_path / "z.csv")
    table, galaxies = QTable.read(tmp_path / "z.csv"), GalaxySet.open(road / "set.h5")
    assert np.allclose(table["predicted_redshift"], Predictor.load(road / "li2024-redshift-cnn").predict(galaxies), rtol=1e-5)
    assert "z_q16" not in table.colnames


def test_a_classifier_gives_its_probabilities(road: Path, tmp_path: Path) -> None:
    predict(road / "category-cnn", road / "set.h5", tmp_path / "kinds.fits")
    table = QTable.read(tmp_path / "kinds.fits")
    assert np.allclose(table["p_far galaxy"] + table["p_near"], 1, atol=1e-5)
    likely = np.where(table["p_near"] > table["p_far galaxy"], "near", "far galaxy")
    assert np.array_equal(np.asarray(table["predicted_category"]).astype(str), likely)


def test_what_cannot_be_read_is_refused(road: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="draws galaxies and cannot read them"):
        predict(road / "edm", road / "set.h5", tmp_path / "z.ecsv")
    with pytest.raises(InputError, match="must end in"):
        predict(road / "redshift-density", road / "set.h5", tmp_path / "z.h5")
    other = GalaxySet(np.zeros((3, 1, 16, 16), np.float32), Survey.get("hsc-i"))
    other.write(tmp_path / "other.h5")
    with pytest.raises(InputError, match="its stamp size is 16"):
        predict(road / "redshift-density", tmp_path / "other.h5", tmp_path / "z.ecsv")
    assert not list(tmp_path.glob("z.*"))
    words = [sys.executable, "-m", "hubbleflow", "predict", str(road / "nothing"), str(road / "set.h5"), str(tmp_path / "z.ecsv")]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2 and "does not exist" in run.stderr and "Traceback" not in run.stderr
