"""Galaxies through cosmic time: tracks of held noise, what is said of them, and the files they become."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.cosmology import Planck18
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from PIL import Image

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.diffusion import galaxy_seeds, seeded_noise
from hubbleflow.errors import InputError
from hubbleflow.generator import Generator
from hubbleflow.measure import Recipe, measure
from hubbleflow.models import GenerativeModel, TrainingDefaults, TrainingSet, get_model
from hubbleflow.movies import (
    Population,
    Track,
    asked_redshifts,
    check_movie_path,
    evolve,
    film,
    frame_redshifts,
    lookback_time_gyr,
    smoothness,
    trends,
    write_cube,
    write_film,
)
from hubbleflow.movies.redshifts import kpc_per_arcsec
from hubbleflow.movies.trend import Trend
from hubbleflow.report.evolution import frames, gallery, plotted, write_evolution
from hubbleflow.report.evolution_words import summary
from hubbleflow.stretch import stretch_from_dict
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-wide")
SIZE = 32
REDSHIFT = Condition.fit("redshift", np.linspace(0.0, 3.0, 301))
KIND = Condition.fit("category", np.array(["Barred Spiral", "Round Smooth"] * 5))
NOISE = 0.03  # counts a pixel, in every band
FADES, REDDENS, GROWS, SCATTER = 1.5, 0.2, -0.5, 0.3  # magnitudes, magnitudes of colour and pixels a unit redshift; magnitudes


class Known(GenerativeModel):
    """Gaussian galaxies whose evolution is known: i = 19 + 1.5 z, g - r = r - i = ... = 0.5 + 0.2 z, sigma = 3 - 0.5 z px."""

    defaults = TrainingDefaults(batch_size=1, learning_rate=1.0)

    def __init__(self, conditions: Conditions, noise: float = NOISE) -> None:
        super().__init__()
        self.conditions, self.noise, self.nothing = conditions, noise, torch.nn.Parameter(torch.zeros(1))
        self.batches: list[int] = []

    @classmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        return {}

    def loss(self, x: torch.Tensor, c: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self.nothing.sum()

    def sample(self, c, seeds, steps=None, guidance=1.0, sampler=None):
        self.batches.append(len(c))
        return torch.cat([self.galaxy(c[row : row + 1], seeds[row : row + 1]) for row in range(len(c))])  # to the last bit

    def galaxy(self, c: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        z = torch.expm1(REDSHIFT.mean + REDSHIFT.scale * c[:, 0])[:, None, None, None]
        bands = torch.arange(5)[None, :, None, None]
        noise = seeded_noise(seeds, (5 * SIZE * SIZE + 1,))
        magnitude = 19 + FADES * z + SCATTER * noise[:, -1, None, None, None] + (2 - bands) * (0.5 + REDDENS * z)
        y, x = torch.meshgrid(*[torch.arange(SIZE) - (SIZE - 1) / 2] * 2, indexing="ij")
        variance = (3 + GROWS * z) ** 2
        light = torch.exp(-(x**2 + y**2) / (2 * variance)) / (2 * torch.pi * variance)
        return 10 ** (-0.4 * (magnitude - 27.0)) * light + self.noise * noise[:, :-1].unflatten(1, (5, SIZE, SIZE))


def known(*columns: Condition, dropout: float = 0.1, noise: float = NOISE) -> Generator:
    conditions = Conditions(columns or (REDSHIFT,))
    training = {"dropout": dropout, "data_hash": "", "n": 1, "seed": 0}
    return Generator(Known(conditions, noise), {}, stretch_from_dict({"name": "none"}), conditions, HSC, SIZE, training)


def small(name: str, *columns: Condition) -> Generator:
    """An untrained generator of a registered model: its galaxies are noise, but its noise."""
    conditions = Conditions(columns or (REDSHIFT,))
    kind = get_model(name)
    tiny = {
        "edm": {"width": 16, "multipliers": [1, 2]},
        "lizarraga2024": {"width": 16, "largest": 2},
        "li2024-cvae": {"widths": [16] * 4, "features": 64, "dense": [64, 32], "latent": 4},
    }
    arguments = kind.arguments(TrainingSet(5, SIZE, conditions, 1.0)) | tiny[name]
    torch.manual_seed(0)
    training = {"dropout": 0.1, "data_hash": "0" * 16, "n": 1, "seed": 0, "scale": "small"}
    model = kind(**arguments).eval()
    with torch.no_grad():  # layers that start at zero would hide the condition
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
    return Generator(
        model, arguments, stretch_from_dict({"name": "none"}), conditions, HSC, SIZE, training, {"hubbleflow": "0", "torch": "0"}
    )


@pytest.fixture(scope="module")
def track() -> Track:
    return evolve(known(), range(1, 7), frame_redshifts(2.0, 0.2, 13))


def refused(sentence: str, what: Any, *arguments: Any, **options: Any) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        what(*arguments, **options)
    assert "\n" not in str(caught.value)


# -- redshifts and times --------------------------------------------------------------------------------------------------------
def test_frames_are_even_in_what_they_should_be() -> None:
    z = frame_redshifts(3.0, 0.1, 25)
    time = Planck18.lookback_time(z).value
    assert (z[0], z[-1]) == (3.0, 0.1) and np.allclose(np.diff(time), (time[-1] - time[0]) / 24, atol=1e-5)
    assert np.allclose(frame_redshifts(0.1, 3.0, 25), z[::-1])
    assert np.allclose(np.diff(frame_redshifts(0.1, 3.0, 30, "redshift")), 0.1)
    assert lookback_time_gyr(np.array([1.0]))[0] == pytest.approx(7.94, abs=0.005)


def test_the_trained_range_and_asked_ones() -> None:
    z = asked_redshifts(known(), None, 5)
    assert z[0] == pytest.approx(2.97, abs=0.01) and z[-1] == pytest.approx(0.03, abs=0.01)
    assert asked_redshifts(known(), "0.5:1", 3, "redshift").tolist() == [0.5, 0.75, 1.0]
    refused("not a range", asked_redshifts, known(), "1", 5)
    refused("not a range", asked_redshifts, known(), "a:b", 5)
    refused("two different redshifts", asked_redshifts, known(), "1:1", 5)
    refused("two different redshifts", asked_redshifts, known(), "nan:1", 5)
    refused("not negative", asked_redshifts, known(), "-1:1", 5)
    refused("at least two frames", asked_redshifts, known(), "1:2", 1)
    refused("unknown spacing", frame_redshifts, 1.0, 2.0, 5, "even")
    refused("it knows category", asked_redshifts, known(KIND), None, 5)


# -- tracks ---------------------------------------------------------------------------------------------------------------------
def test_a_track_measures_what_is_known_of_its_galaxies(track: Track) -> None:
    assert track.images.shape == (6, 13, 5, SIZE, SIZE) and track.images.dtype == np.float32
    assert np.allclose(track.lookback_time_gyr, Planck18.lookback_time(track.redshift).value)
    assert np.allclose(track.noise, NOISE, rtol=0.05)
    h = seeded_noise([galaxy_seeds(seed, 0, 1)[0] for seed in track.seeds], (5 * SIZE * SIZE + 1,))[:, -1].numpy()
    assert np.nanmax(np.abs(track.measured["i_mag"] - (19 + FADES * track.redshift + SCATTER * h[:, None]))) < 0.1
    assert np.nanmax(np.abs(track.measured["g_r"] - (0.5 + REDDENS * track.redshift))) < 0.1
    half_light = 1.1774 * (3 + GROWS * track.redshift)  # of a Gaussian, sqrt(2 ln 2) sigma
    assert np.nanmax(np.abs(track.measured["i_half_light_radius"] / half_light - 1)) < 0.1
    kpc = track.measured["i_half_light_radius"] * HSC.pixel_scale_arcsec * Planck18.kpc_proper_per_arcmin(track.redshift).value / 60
    assert np.allclose(track.measured["i_half_light_radius_kpc"], kpc, equal_nan=True)
    assert track.title(0) == "z = 2.00, 10.5 Gyr ago"


def test_a_track_is_the_same_again_and_in_any_batches() -> None:
    z = frame_redshifts(2.0, 0.2, 5)
    whole = evolve(known(), [3, 1], z)
    parts = known()
    again = evolve(parts, [3, 1], z, batch_size=3)
    assert parts.model.batches == [3, 3, 3, 1]
    assert np.array_equal(whole.images, again.images)
    assert all(np.array_equal(whole.measured[name], again.measured[name], equal_nan=True) for name in whole.measured)
    assert np.array_equal(evolve(known(), [1], z).images[0], whole.images[1]), "nor does a galaxy depend on which others are drawn"


@pytest.mark.parametrize(("name", "sampler"), [("edm", None), ("lizarraga2024", None), ("lizarraga2024", "ddim"), ("li2024-cvae", None)])
def test_each_model_holds_its_noise(name: str, sampler: str | None) -> None:
    generator, z = small(name), np.array([2.0, 2.0, 0.3])
    track = evolve(generator, [1, 2], z, steps=3, sampler=sampler, precision="float32")
    scale = track.images.std()  # rounding depends on a galaxy's place in its batch and on the number of threads
    assert np.abs(track.images[:, 0] - track.images[:, 1]).max() < 1e-4 * scale, "the same noise at the same redshift"
    assert np.abs(track.images[:, 0] - track.images[:, 2]).max() > 1e-3 * scale, "redshift matters"
    assert np.abs(track.images[0, 0] - track.images[1, 0]).max() > 0.1 * scale, "and so does the noise"
    other = evolve(generator, [1, 2], z, steps=3, sampler=sampler, precision="float32", batch_size=2)
    assert np.allclose(other.images, track.images, atol=1e-4 * scale)
    used = {"default": None}.get(track.provenance["sampler"], track.provenance["sampler"])
    alone = generator.sample({"redshift": [0.3]}, seed=2, steps=3, sampler=used, precision="float32")
    assert np.allclose(alone.images[0], track.images[1, 2], atol=1e-4 * scale), "a track's galaxy is the first that `generate` draws"


def test_what_cannot_evolve_is_refused() -> None:
    z = np.array([1.0, 0.5])
    for sampler in ("ancestral", "edm-stochastic"):
        refused(f"'{sampler}' adds fresh noise", evolve, small("lizarraga2024"), [1], z, sampler=sampler)
    refused("not conditioned on redshift", evolve, known(KIND), [1], z)
    refused("not conditioned on category", evolve, known(), [1], z, "Barred Spiral")
    refused("unknown category 'blob': this generator knows Barred Spiral, Round Smooth", evolve, known(REDSHIFT, KIND), [1], z, "blob")
    refused("2 kinds .* only 1 seed", evolve, known(REDSHIFT, KIND), [1], z, ["Barred Spiral", "Round Smooth"])
    refused("without dropping conditions", evolve, known(REDSHIFT, KIND, dropout=0.0), [1], z)
    refused("outside the trained range", evolve, known(), [1], [9.0, 1.0])
    refused("different seeds", evolve, known(), [1, 1], z)
    refused("different seeds", evolve, known(), [], z)
    refused("at least two redshifts", evolve, known(), [1], [0.5])
    refused("expected \\(2, 2, band", Track.of, np.zeros((1, 2, 5, 8, 8), np.float32), z, (1, 2), HSC)


def test_times_of_no_redshifts_are_none() -> None:
    assert lookback_time_gyr(np.empty(0)).shape == kpc_per_arcsec(np.empty(0)).shape == (0,)


def test_kinds_are_taken_in_turn() -> None:
    track = evolve(known(REDSHIFT, KIND), [1, 2, 3], [1.0, 0.5], ["Barred Spiral", "Round Smooth"])
    assert track.kinds == ("Barred Spiral", "Round Smooth", "Barred Spiral")
    assert evolve(known(REDSHIFT, KIND), [1, 2], [1.0, 0.5], "Round Smooth").kinds == ("Round Smooth", "Round Smooth")


# -- what is said of them -------------------------------------------------------------------------------------------------------
def test_the_largest_change_of_a_known_track() -> None:
    """At one size, light fades by f = 10^(-0.4 1.5 dz) a frame, and noise that is held drops out of every difference."""
    z = np.array([0.2, 0.3, 0.4, 0.7, 0.8])
    plain = evolve(known(), [4], z)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    blob = np.exp(-(x**2 + y**2) / 18)
    sky = np.random.default_rng(0).normal(0, NOISE, (5, SIZE, SIZE))
    images = (10 ** (-0.4 * FADES * z)[:, None, None, None] * 3 * blob + sky)[None].astype(np.float32)
    track = replace(plain, images=images, noise=np.full(5, NOISE))
    found = smoothness(track)
    f = 10 ** (-0.4 * FADES * 0.3)
    assert found.light.value == pytest.approx(2 * (1 - f) / (1 + f), rel=0.02)
    assert found.light.redshifts == (0.4, 0.7) and found.light.seed == 4
    fading = np.abs(np.diff(10 ** (-0.4 * FADES * z))).max()
    largest = 3 * fading * np.sqrt((blob**2).mean()) / NOISE
    assert found.sky.value == pytest.approx(largest, rel=1e-4)
    assert smoothness(plain).measured["i_mag"].value == pytest.approx(FADES * 0.3, rel=0.05)
    assert smoothness(plain).measured["i_mag"].redshifts == (0.4, 0.7)
    assert smoothness(plain).measured["i_mag"].typical == pytest.approx(FADES * 0.1, rel=0.1)


def test_a_jump_is_found_and_equal_frames_do_not_change(track: Track) -> None:
    images = track.images.copy()
    images[2, 7] = images[2, 7, :, ::-1] + 5.0
    before, after = smoothness(track), smoothness(replace(track, images=images))
    assert after.sky.value > 3 * before.sky.value and after.sky.seed == track.seeds[2]
    still = smoothness(replace(track, images=np.repeat(images[:, :1], track.frames, axis=1)))
    assert still.light.value == 0 and still.sky.value == 0
    nothing = np.random.default_rng(0).normal(0, NOISE, images.shape).astype(np.float32)
    assert np.isnan(smoothness(replace(track, images=nothing)).light.value), "there is no light to compare with"
    assert smoothness(replace(track, images=nothing)).sky.value == pytest.approx(np.sqrt(2), rel=0.1)
    assert np.isnan(smoothness(replace(track, noise=np.full(5, np.nan))).sky.value), "nor noise, where there is none"


def law(fades: float, n: int = 600, seed: int = 0) -> Population:
    """A population of the known law, or of another."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.2, 2.0, n) ** 1.2
    z = z[(z >= 0.2) & (z <= 2.0)]
    return Population("a law", z, {"i_mag": 19 + fades * z + SCATTER * rng.normal(size=len(z)), "g_r": 0.5 + REDDENS * z})


def test_tracks_go_with_their_own_population_and_not_with_another(track: Track) -> None:
    [same, colour] = trends(track, law(FADES))
    assert same.quantity.name == "i_mag" and np.nanmax(np.abs(same.deviation)) < 3 and same.rms_deviation < 2
    assert abs(same.slope_deviation) < 3 and same.track_slope == pytest.approx(same.population_slope, rel=0.1)
    assert same.population_slope > 0 and abs(colour.track_slope - colour.population_slope) < 0.01
    [other, _] = trends(track, law(FADES - 0.5))
    assert abs(other.slope_deviation) > 5 and other.deviation[-1] > 3


def test_deviations_are_in_units_of_their_error() -> None:
    """Four galaxies of the population itself, many times: deviations of rms 1."""
    deviations, slopes = [], []
    z = np.linspace(0.2, 2.0, 10)
    for seed in range(60):
        rng = np.random.default_rng([1, seed])
        magnitudes = 19 + FADES * z + SCATTER * rng.normal(size=(4, 1)) + 0.2 * rng.normal(size=(4, 1)) * (z - 1)
        images = np.zeros((4, 10, 1, 1, 1), np.float32)
        survey = Survey.get("hsc-i")
        four = Track(images, z, lookback_time_gyr(z), (1, 2, 3, 4), ("",) * 4, survey, {"i_mag": magnitudes}, np.ones(1))
        sky = law(FADES, seed=100 + seed)
        wider = Population("a law", sky.redshift, {"i_mag": sky.values["i_mag"] + 0.2 * rng.normal(size=len(sky)) * (sky.redshift - 1)})
        [trend] = trends(four, wider)
        deviations.append(trend.deviation)
        slopes.append(trend.slope_deviation)
    assert 0.7 < np.sqrt(np.mean(np.square(deviations))) < 1.3
    assert 0.6 < np.median(np.abs(slopes)) / 0.765 < 1.5  # Student's t of three degrees of freedom: half are within 0.765


def test_what_is_not_trusted_is_left_out_and_said(track: Track) -> None:
    values = track.measured["i_mag"].copy()
    values[0, 3:6] = np.nan
    holes = replace(track, measured={**track.measured, "i_mag": values})
    assert smoothness(holes).untrusted == pytest.approx(np.isnan(values).mean())
    [trend, _] = trends(holes, law(FADES))
    assert np.isfinite(trend.deviation).all() and np.isfinite(trend.slope_deviation)
    [lone, _] = trends(replace(track, measured={**track.measured, "i_mag": values[:1] * np.nan}), law(FADES))
    assert np.isnan(lone.deviation).all() and np.isnan(lone.track_slope) and np.isnan(lone.rms_deviation)
    said = summary(track, law(FADES))
    assert "6 galaxies (seeds 1, 2, 3, 4, 5, 6) in 13 frames from z = 2 (10.5" in said
    assert "i magnitude (mag)" in said and "against a law" in said and "sigma" in said and "nan" not in said


def test_one_galaxy_has_no_error_of_its_slope() -> None:
    one = evolve(known(), [5], frame_redshifts(2.0, 0.2, 5))
    [trend, _] = trends(one, law(FADES))
    assert isinstance(trend, Trend) and np.isfinite(trend.deviation).all() and np.isnan(trend.slope_deviation)
    assert "1 galaxy (seed 5)" in summary(one, law(FADES)) and "nan" not in summary(one, law(FADES))


def test_populations(track: Track, tmp_path: Path) -> None:
    generator = known()
    drawn = Population.generated(generator, track, 60)
    assert len(drawn) == 60 and drawn.redshift.min() == pytest.approx(0.2) and "60 other galaxies of the same generator" in drawn.words
    assert abs(trends(track, drawn)[0].slope_deviation) < 4
    sky = generator.sample({"redshift": np.linspace(0.1, 2.5, 60)}, seed=9)
    refused("has not been measured", Population.measured, sky, track.redshift)
    sky = measure(sky, progress=False, recipe=Recipe(sersic=False, shapes=False)).added_to(sky)
    found = Population.measured(sky, track.redshift)
    assert len(found) == ((sky.redshift >= 0.2) & (sky.redshift <= 2.0)).sum() and found.words == f"{len(found)} galaxies of the set"
    stored = Population.measured(sky.write(tmp_path / "sky.h5"), track.redshift)
    assert stored.words.endswith("sky.h5") and np.array_equal(stored.values["i_mag"], found.values["i_mag"], equal_nan=True)
    kinds = sky.with_columns({"category": np.array(["a", "b", "b"] * 20)})
    assert Population.measured(kinds, track.redshift, "b").words.endswith("(b)")
    refused("galaxies \\(c\\) between", Population.measured, kinds, track.redshift, "c")
    refused("needs 20", Population.measured, sky[:10], track.redshift)
    refused("at least 20", Population.generated, generator, track, 5)


# -- files ----------------------------------------------------------------------------------------------------------------------
def test_the_cube(track: Track, tmp_path: Path) -> None:
    write_evolution(track, tmp_path / "cube.fits")
    with fits.open(tmp_path / "cube.fits") as hdus:
        header, data = hdus[0].header, hdus[0].data
        assert data.shape == (6, 13, 5, SIZE, SIZE) and np.array_equal(data, track.images)
        assert header["BUNIT"] == "count" and header["MAGZERO"] == 27.0 and header["SURVEY"] == "hsc-wide"
        assert [header[f"BAND{k}"] for k in range(1, 6)] == list("grizy") and [header[f"SEED{k}"] for k in range(1, 7)] == [
            1,
            2,
            3,
            4,
            5,
            6,
        ]
        assert header["CTYPE4"] == "LOOKBACK" and header["CUNIT4"] == "Gyr"
        world = WCS(header).wcs_pix2world([[15.5, 15.5, 2, k, 0] for k in range(13)], 0)
        assert np.allclose(world[:, 3], track.lookback_time_gyr, atol=1e-4) and np.allclose(world[:, :2], 0, atol=1e-9)
        assert np.allclose(hdus["FRAMES"].data["redshift"], track.redshift) and hdus["FRAMES"].columns["lookback_time"].unit == "Gyr"
        rows = Table(hdus["TRACK"].data)
        assert len(rows) == 6 * 13 and np.array_equal(np.asarray(rows["i_mag"]), track.measured["i_mag"].ravel(), equal_nan=True)
        assert rows["seed"][13] == 2 and hdus["TRACK"].columns["i_half_light_radius_kpc"].unit == "kpc"
    write_cube(track, tmp_path / "again.fits")
    assert (tmp_path / "again.fits").read_bytes() == (tmp_path / "cube.fits").read_bytes()


@pytest.mark.parametrize(("z", "axis"), [(np.linspace(1.0, 0.5, 4), "REDSHIFT"), (np.array([1.0, 0.5, 0.45, 0.1]), "FRAME")])
def test_the_cube_says_in_what_its_frames_are_even(track: Track, tmp_path: Path, z: np.ndarray, axis: str) -> None:
    part = replace(
        track, images=track.images[:, :4], redshift=z, lookback_time_gyr=lookback_time_gyr(z), measured={}, kinds=("spirál",) * 6
    )
    write_cube(part, tmp_path / "cube.fits")
    header = fits.getheader(tmp_path / "cube.fits")
    assert header["CTYPE4"] == axis and header["KIND1"] == "spir\\xe1l"
    if axis == "REDSHIFT":
        assert header["CRVAL4"] == 1.0 and header["CDELT4"] == pytest.approx(-1 / 6)


def test_a_gif_has_as_many_frames_as_were_asked_for(track: Track, tmp_path: Path) -> None:
    told: list[int] = []
    write_evolution(track, tmp_path / "a.gif", law(FADES), 10, told.append)
    write_evolution(track, tmp_path / "b.gif", law(FADES), 10)
    assert sum(told) == 13 and (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as movie:
        assert movie.n_frames == 13 and movie.size == (1280, 720) and movie.info["duration"] == 100 and movie.info["loop"] == 0
    assert not list(tmp_path.glob(".*partial*"))


def test_the_marker_moves_and_the_galaxies_are_where_their_names_are(track: Track) -> None:
    pictures = list(frames(track, law(FADES)))
    assert len(pictures) == 13 and pictures[0].dtype == np.uint8
    columns, side = gallery(6, SIZE)
    assert side % SIZE == 0 and columns == 3
    galaxy = pictures[0][16 : 16 + side, 16 : 16 + side].astype(int).sum(axis=2)
    assert galaxy[side // 2, side // 2] > 5 * np.median(galaxy), "a bright middle"
    assert (galaxy[: side // SIZE, : side // SIZE] == galaxy[0, 0]).all(), "a pixel is a square of one colour"
    # The line that says where the movie is goes from the left of each plot to its right.
    line = [(picture[506:650, 70:250].max(axis=2) < 190).mean(axis=0).argmax() for picture in pictures[1:-1]]
    assert (np.diff(line) > 0).all()


def test_movies_of_other_surveys(tmp_path: Path) -> None:
    rng, z = np.random.default_rng(0), np.array([1.0, 0.5, 0.2])
    for name in ("hsc-i", "sdss-rgb", "decals"):
        survey = Survey.get(name)
        images = rng.normal(100 if not survey.linear else 0, 1, (1, 3, len(survey.bands), 20, 24)).astype(np.float32)[..., :20]
        track = Track.of(images, z, (1,), survey)
        assert len(list(frames(track))) == 3 and [quantity.name for quantity in plotted(survey)]
        summary(track)
        write_cube(track, tmp_path / f"{name}.fits")
    assert [quantity.name for quantity in plotted(Survey.get("sdss-rgb"))] == ["G_mag", "R_G", "G_B", "G_half_light_radius"]
    refused("do not fit into one picture", gallery, 500, 64)


def test_movies_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    refused("must end in .mp4, .gif or .fits", check_movie_path, tmp_path / "a.avi")
    refused("no ending", check_movie_path, tmp_path / "a")
    refused("no pictures|cube of numbers", write_film, [picture], tmp_path / "a.fits", 10)
    refused("needs frames", write_film, [], tmp_path / "a.gif", 10)
    refused("1 to 100 frames a second", write_film, [picture], tmp_path / "a.gif", 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(film.importlib.util, "find_spec", lambda name: None)
    refused("ffmpeg, which is not on the path.*\\.gif", check_movie_path, tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


def test_an_mp4_goes_through_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for ffmpeg that keeps what it is given: raw pictures of even sides, as many as there are frames."""
    stand_in = tmp_path / "bin" / "ffmpeg"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[-1], 'wb').write(sys.stdin.buffer.read())\n")
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    pictures = [np.full((7, 9, 3), k, np.uint8) for k in range(5)]
    assert write_film(iter(pictures), tmp_path / "a.mp4", 15) == 5
    raw = np.frombuffer((tmp_path / "a.mp4").read_bytes(), np.uint8).reshape(5, 8, 10, 3)
    assert (raw[3, :7, :9] == 3).all() and (raw[:, 7] == 255).all() and (raw[:, :, 9] == 255).all()
    stand_in.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('Unknown encoder libx264')\n")
    refused("Unknown encoder libx264.*\\.gif", write_film, iter(pictures), tmp_path / "b.mp4", 15)
    assert not (tmp_path / "b.mp4").exists()


def test_a_real_ffmpeg_makes_the_same_bytes_twice(tmp_path: Path) -> None:
    try:
        film.ffmpeg()
    except InputError:
        pytest.skip("no ffmpeg on the path, nor the package imageio-ffmpeg")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (4, 31, 33, 3)).astype(np.uint8)
    digests = []
    for name in ("a.mp4", "b.mp4"):
        write_film(iter(pictures), tmp_path / name, 15)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1] and b"ftyp" in (tmp_path / "a.mp4").read_bytes()[:16]


# -- the command ----------------------------------------------------------------------------------------------------------------
def hubbleflow(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "hubbleflow", *map(str, words)], capture_output=True, text=True, env=environment, timeout=300
    )


def test_the_command(tmp_path: Path) -> None:
    small("edm", REDSHIFT, KIND).save(tmp_path / "model")
    generator = known()
    sky = generator.sample({"redshift": np.linspace(0.2, 2.0, 40)}, seed=9)
    measure(sky, progress=False, recipe=Recipe(sersic=False, shapes=False)).added_to(sky).write(tmp_path / "sky.h5")
    words = ("evolve", tmp_path / "model", tmp_path / "a.gif", "--seed", 3, "--frames", 4, "--steps", 2, "--redshift", "2:0.2")
    done = hubbleflow(*words, "--kind", "barred-spiral", "--population", tmp_path / "sky.h5")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "1 galaxy (seed 3) in 4 frames" in done.stdout and "against 40 galaxies of sky.h5" in done.stdout
    with Image.open(tmp_path / "a.gif") as movie:
        assert movie.n_frames == 4
