"""The generator and the reader that ship: they open, are small enough, and draw and read galaxies as they are asked to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import BATCH, Generator
from hubbleflow.measure import Recipe, measure
from hubbleflow.predictor import Predictor
from hubbleflow.pretrained import SHELF, shipped
from hubbleflow.trained import TrainedModel

LARGEST_BYTES = 12 * 2**20
EACH = 16


@pytest.fixture(scope="module")
def hsc() -> Generator:
    return Generator.from_pretrained("hsc")


@pytest.mark.parametrize("name", ["hsc", "hsc-student", "hsc-redshift"])
def test_they_ship_with_card_log_and_all_their_arguments(name: str) -> None:
    folder = SHELF / name
    assert name in shipped() and {"README.md", "log.jsonl"} <= {path.name for path in folder.iterdir()}
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST_BYTES
    assert "docs/hsc.md" in Path(folder / "README.md").read_text()
    trained = TrainedModel.load(folder)
    assert set(trained.model.options()) <= set(trained.arguments)


def test_galaxies_of_the_asked_brightness_and_size(hsc: Generator) -> None:
    """Two magnitudes apart and twice as large, all else equal; measured, and compared with each other and with what was asked."""
    asked = {
        "redshift": 0.4,
        "category": "Round Smooth",
        "g_r": 1.3,
        "r_i": 0.6,
        "i_z": 0.3,
        "z_y": 0.15,
        "sersic_index": 1.0,
        "axis_ratio": 0.8,
    }
    magnitude, radius = np.repeat([19.0, 21.0, 19.0], EACH), np.repeat([0.6, 0.6, 1.2], EACH)
    made = hsc.sample(
        {**{name: [value] * 3 * EACH for name, value in asked.items()}, "i_mag": magnitude, "half_light_radius": radius}, seed=1
    )
    columns = measure(made, progress=False, recipe=Recipe(shapes=False, sersic=False)).columns
    bright, faint, large = (slice(first, first + EACH) for first in range(0, 3 * EACH, EACH))
    for part in (bright, faint, large):
        assert np.median(columns["i_mag"][part] - magnitude[part]) == pytest.approx(0, abs=0.3)
        assert np.median(columns["g_r"][part]) == pytest.approx(1.3, abs=0.35)
    sizes = [np.median(columns["i_half_light_radius"][part]) for part in (bright, faint, large)]
    assert 1.25 < sizes[2] / sizes[0] < 2.0, "twice as large, under the seeing"
    assert sizes[1] == pytest.approx(sizes[0], rel=0.2)


def test_a_sharp_night_shows_small_galaxies_small(hsc: Generator) -> None:
    seeing = np.repeat([0.48, 0.7], EACH)
    asked = {"i_seeing": seeing, "i_mag": np.full(2 * EACH, 20.5), "half_light_radius": np.full(2 * EACH, 0.3)}
    columns = measure(hsc.sample(asked, seed=3), progress=False, recipe=Recipe(shapes=False, sersic=False)).columns
    sharp, blurred = (np.median(columns["i_half_light_radius"][part]) for part in (slice(EACH), slice(EACH, None)))
    assert 1.1 < blurred / sharp < 1.6


def test_cosmic_time_is_in_them(hsc: Generator) -> None:
    """Asked for a redshift alone: near galaxies cover more of the sky than far ones, and the reader tells which is which."""
    redshift = np.repeat([0.1, 0.5, 1.5], 3 * EACH)
    made = hsc.sample(redshift=redshift, seed=2)
    area = (made.images[:, 2] > 0.3).sum(axis=(1, 2))
    near, middle, far = (np.arange(len(made)) // (3 * EACH) == number for number in range(3))
    assert np.median(area[near]) > np.median(area[middle]) > 1.3 * np.median(area[far])
    read = Predictor.from_pretrained("hsc-redshift").predict(GalaxySet(made.images, made.survey, {}))
    medians = [float(np.median(read[part])) for part in (near, middle, far)]
    assert medians[0] < 0.25 < 0.35 < medians[1] < 0.7 < 0.8 < medians[2]  # far ones are faint, and read towards the middle


def test_the_student_draws_galaxies_like_its_teachers_in_one_evaluation(hsc: Generator) -> None:
    student, asked = Generator.from_pretrained("hsc-student"), {"redshift": np.full(4 * EACH, 0.4), "i_mag": np.full(4 * EACH, 20.0)}
    evaluations: list[int] = []
    handle = student.model.denoiser.network.register_forward_hook(lambda *_: evaluations.append(1))
    made = student.sample(asked, seed=4)
    handle.remove()
    assert len(evaluations) == -(-len(made) // BATCH)
    recipe = Recipe(shapes=False, sersic=False)
    mine, theirs = (measure(galaxies, progress=False, recipe=recipe).columns for galaxies in (made, hsc.sample(asked, seed=4)))
    for name, at_most in {"i_mag": 0.15, "g_r": 0.15, "r_i": 0.1}.items():
        assert np.median(mine[name]) == pytest.approx(np.median(theirs[name]), abs=at_most)
    assert np.median(mine["i_half_light_radius"]) == pytest.approx(np.median(theirs["i_half_light_radius"]), rel=0.15)
