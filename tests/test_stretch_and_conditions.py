"""The two seams between astronomy and tensors: stretches invert exactly, conditions encode and refuse."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hubbleflow.conditions import ANGLE, Condition, Conditions
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.networks.embedding import ConditionEmbedding, ConditionNumbers
from hubbleflow.pixel_statistics import PixelStatistics
from hubbleflow.stretch import STRETCHES, Asinh, fit_stretch, stretch_from_dict
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-wide")


def statistics(seed: int = 0) -> PixelStatistics:
    rng = np.random.default_rng(seed)
    sigma = np.array(HSC.noise)[:, None, None]
    images = rng.normal(size=(40, 5, 24, 24)) * sigma
    images[:, :, 10:14, 10:14] += 50 * rng.random((40, 1, 1, 1))
    return PixelStatistics.of(GalaxySet(images.astype("f4"), HSC))


def test_sky_sigma_is_that_of_the_sky_not_of_the_galaxies() -> None:
    assert statistics().sky_sigma == pytest.approx(HSC.noise, rel=0.05)


@pytest.mark.parametrize("name", list(STRETCHES))
@given(scale=st.floats(-3, 3), sign=st.sampled_from([-1.0, 1.0]))
def test_every_stretch_inverts_and_survives_json(name: str, scale: float, sign: float) -> None:
    stretch = fit_stretch(name, _STATISTICS, HSC)
    again = stretch_from_dict(json.loads(json.dumps(stretch.to_dict())))
    assert again == stretch
    x = torch.full((2, 5, 3, 3), sign * 10**scale)
    back = again.inverse(again(x))
    assert torch.allclose(back, x, rtol=2e-4, atol=2e-5)


_STATISTICS = statistics()


def test_a_generated_overshoot_is_held_to_the_trained_range() -> None:
    stretch = fit_stretch("asinh", _STATISTICS, HSC)
    brightest = stretch.inverse(torch.full((1, 5, 1, 1), 50.0), clip=True)[0, :, 0, 0]
    top = torch.tensor(_STATISTICS.high)
    assert (brightest >= top).all() and (brightest < 20 * top).all()


def test_asinh_is_linear_in_the_noise_and_logarithmic_above() -> None:
    stretch = Asinh(softening=(3.0,))
    x = torch.tensor([0.3, 3000.0, 30000.0]).reshape(3, 1, 1, 1)
    y = stretch(x).flatten()
    assert y[0] == pytest.approx(0.05, rel=0.01)
    assert y[2] - y[1] == pytest.approx(np.log(10) / 2, rel=1e-3)


def test_non_finite_pixels_are_counted() -> None:
    images = np.zeros((4, 1, 16, 16), "f4")
    images[1, 0, 3, 3], images[1, 0, 4, 4], images[3, 0, 0, 0] = np.nan, np.inf, 7.0
    found = PixelStatistics.of(GalaxySet(images, Survey.get("hsc-i")))
    assert (found.bad_pixels, found.bad_images, found.high) == (2, 1, (7.0,))
    assert np.isfinite(found.sample).all()


def test_conditions_round_trip_and_standardise() -> None:
    rng = np.random.default_rng(0)
    columns = {"redshift": rng.gamma(2, 0.4, 500), "category": rng.choice(["spiral", "elliptical"], 500), "flux": rng.lognormal(2, 2, 500)}
    galaxies = GalaxySet(np.zeros((500, 1, 4, 4), "f4"), Survey.get("hsc-i"), columns)
    conditions = Conditions.fit(["redshift", "category", "flux"], galaxies)
    assert Conditions.from_dict(json.loads(json.dumps(conditions.to_dict()))) == conditions
    assert conditions.layout == (0, 2, 0)
    assert [column.transform for column in conditions.columns] == ["log1p", "category", "log"]
    c = conditions.encode(columns)
    assert c[:, 0].mean() == pytest.approx(0, abs=1e-5) and c[:, 2].std() == pytest.approx(1, abs=1e-2)
    assert set(c[:, 1].tolist()) == {0.0, 1.0}
    assert torch.isnan(conditions.encode({"category": ["spiral"]})[0, 0])
    drawn = conditions.columns[0].draw(4000, rng)
    assert np.median(drawn) == pytest.approx(np.median(columns["redshift"]), rel=0.1)


def test_an_angle_is_that_of_an_axis() -> None:
    """180 degrees are none; any may be asked; one that is not asked stays so however the image is turned."""
    conditions = Conditions((Condition.fit("i_pos_angle", np.array([-90.0, 10.0, 80.0])),))
    assert conditions.layout == (ANGLE,) and conditions.apart == (("i_pos_angle",),)
    codes = conditions.encode({"i_pos_angle": np.array([30.0, 210.0, -150.0])})[:, 0]
    assert codes.tolist() == pytest.approx([math.pi / 3] * 3)
    c = torch.tensor([[0.2], [torch.nan]])
    assert conditions.turned(c, np.array([1, 1]))[:, 0].tolist() == pytest.approx([0.2 + math.pi, math.nan], nan_ok=True)
    assert conditions.turned(c, np.array([4, 4]))[:, 0].tolist() == pytest.approx([-0.2, math.nan], nan_ok=True)
    assert Conditions.from_dict(json.loads(json.dumps(conditions.to_dict()))) == conditions
    with pytest.raises(InputError, match="must be a finite number"):
        conditions.encode({"i_pos_angle": np.array([np.nan])})


def test_an_angle_enters_networks_as_cosine_and_sine() -> None:
    numbers = ConditionNumbers((0, ANGLE, 3))
    assert numbers.size == 6
    rows = numbers(torch.tensor([[0.5, math.pi / 2, 1.0], [torch.nan] * 3]))
    torch.testing.assert_close(rows, torch.tensor([[0.5, 0.0, 1.0, 0.0, 1.0, 0.0], [0.0] * 6]))
    embed = ConditionEmbedding((0, ANGLE), 16)
    torch.nn.init.normal_(embed.columns[1][1].weight)
    codes = embed(torch.tensor([[0.5, 0.3], [0.5, 0.3 + 2 * math.pi], [0.5, 0.4]]))
    torch.testing.assert_close(codes[0], codes[1])
    assert not torch.allclose(codes[0], codes[2])


def test_dropout_drops_the_stated_share() -> None:
    galaxies = GalaxySet(np.zeros((50, 1, 4, 4), "f4"), Survey.get("hsc-i"), {"redshift": np.linspace(0, 2, 50)})
    conditions = Conditions.fit(["redshift"], galaxies)
    values = {"redshift": np.full(20000, 1.0)}
    c = conditions.encode_training(values, np.random.default_rng(0), dropout=0.1)
    assert torch.isnan(c).float().mean() == pytest.approx(0.1, abs=0.01)
    column = conditions.columns[0]
    jitter = np.expm1(c[~torch.isnan(c)].numpy() * column.scale + column.mean).std()
    assert jitter == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("redshift", [0.1, np.nan, 0.5], "finite and not negative.*1 of 3.*row 1"),
        ("redshift", [0.1, -0.2, 0.5], "row 1, -0.2"),
        ("redshift", [0.5, 0.5], "for every galaxy"),
        ("category", ["spiral", ""], "is empty for 1 of 2"),
        ("category", ["spiral", "spiral"], "one class only"),
        ("i_mag", [np.inf, 2.0], "must be finite"),
    ],
)
def test_columns_that_cannot_be_conditions(name: str, values: list, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Condition.fit(name, np.array(values))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"redshift": 9.0}, "outside the trained range.*--extrapolate"),
        ({"redshift": -1.0}, "cannot be negative"),
        ({"redshift": np.nan}, "finite"),
        ({"category": "irregular"}, "unknown category 'irregular'.*elliptical, spiral"),
        ({}, "conditioned on redshift, category"),
    ],
)
def test_what_cannot_be_asked(asked: dict, sentence: str) -> None:
    conditions = Conditions(
        (
            Condition.fit("redshift", np.linspace(0.1, 3, 9)),
            Condition.fit("category", np.array(["spiral", "elliptical"])),
        )
    )
    with pytest.raises(InputError, match=sentence):
        conditions.encode(asked)


def test_extrapolation_must_be_asked_for() -> None:
    conditions = Conditions((Condition.fit("redshift", np.linspace(0.1, 3, 9)),))
    assert torch.isfinite(conditions.encode({"redshift": 9.0}, extrapolate=True)).all()


def test_text_redshifts_and_numbered_categories() -> None:
    with pytest.raises(InputError, match="'redshift' must hold numbers, got text such as '0.1'"):
        Condition.fit("redshift", np.array(["0.1", "x"]))
    assert Condition.fit("category", np.array([0, 1, 2, 1])).classes == ("0", "1", "2")
