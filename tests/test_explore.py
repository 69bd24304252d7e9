"""The page's server: what it answers, what it refuses, and that its galaxies are the generator's."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.cosmology import Planck18
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

pytest.importorskip("fastapi", reason="no fastapi: pip install 'hubbleflow[explore]'")
from starlette.testclient import TestClient

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.errors import InputError
from hubbleflow.explore import explore, serve
from hubbleflow.explore.app import MOST_WAITING, application
from hubbleflow.explore.beside import Population, beside, remarks, shown
from hubbleflow.explore.controls import controls, redshift_table
from hubbleflow.explore.frames import FEWEST_DRAFT_STEPS, MOST_GALAXIES, MOST_STEPS, Frames
from hubbleflow.explore.guard import LARGEST_BODY
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.measure import Flag, measure
from hubbleflow.prior import Prior
from hubbleflow.stretch import stretch_from_dict
from hubbleflow.survey import Survey
from test_evolve import FADES, GROWS, HSC, KIND, NOISE, REDDENS, REDSHIFT, SIZE, Known, small

ANYWHERE = {"redshift": 1.0, "category": "Round Smooth"}


class Kinds(Known):
    """Known galaxies of two kinds: barred spirals have half the light of the others."""

    def galaxy(self, c: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        light = super().galaxy(c, seeds)
        return light / 2 if c.shape[1] > 1 and float(c[0, 1]) == 0 else light


def kinds(*columns: Condition, dropout: float = 0.1) -> Generator:
    conditions = Conditions(columns or (REDSHIFT, KIND))
    training = {"dropout": dropout, "data_hash": "", "n": 1, "seed": 0}
    return Generator(Kinds(conditions), {}, stretch_from_dict({"name": "none"}), conditions, HSC, SIZE, training)


def client_of(app: Any, base_url: str = "http://127.0.0.1:8000") -> TestClient:
    return TestClient(app, base_url=base_url, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def sky() -> GalaxySet:
    rng = np.random.default_rng(0)
    asked = {"redshift": np.sort(rng.uniform(0.1, 2.5, 120)), "category": np.resize(["Barred Spiral", "Round Smooth"], 120)}
    galaxies = kinds().sample(asked, seed=9)
    return measure(galaxies, progress=False).added_to(galaxies)


@pytest.fixture(scope="module")
def app(sky: GalaxySet) -> Any:
    return application(Frames.of(kinds()), Population.measured(sky))


@pytest.fixture
def client(app: Any) -> Iterator[TestClient]:
    yield client_of(app)


def ask(client: TestClient, what: str = "draw", **changes: Any) -> Any:
    return client.post(f"/{what}", json={"seeds": [1], "conditions": ANYWHERE} | changes)


def said(response: Any, status: int) -> str:
    """The one sentence of a refusal."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"} and "\n" not in response.json()["error"]
    return response.json()["error"]


# -- what is drawn ----------------------------------------------------------------------------------------------------------------------
def test_pictures_are_the_generators_galaxies_upright_on_one_scale(client: TestClient) -> None:
    response = ask(client, seeds=[1, 2, 7])
    assert response.status_code == 200 and response.headers["content-type"] == "application/octet-stream"
    pictures = np.frombuffer(response.content, np.uint8).reshape(3, SIZE, SIZE, 4)
    assert (pictures[..., 3] == 255).all()
    light = pictures[..., :3].astype(int).sum(axis=3)
    assert light[0, SIZE // 2, SIZE // 2] > 5 * np.median(light[0])
    assert np.array_equal(np.frombuffer(ask(client, seeds=[7]).content, np.uint8).reshape(SIZE, SIZE, 4), pictures[2]), "alone, too"
    near, far = (
        np.frombuffer(ask(client, conditions=ANYWHERE | {"redshift": z}).content, np.uint8).reshape(SIZE, SIZE, 4) for z in (0.5, 2.5)
    )
    assert near[..., :3].mean() > 1.5 * far[..., :3].mean(), "what is farther is fainter on the screen"
    frames = Frames.of(kinds())
    image = np.zeros((1, 5, SIZE, SIZE), np.float32)
    image[0, :, 0, 0] = 50.0
    assert frames.pictures(image)[0, -1, 0, :3].max() > 200, "an image's first row is the picture's last"
    assert (frames.sigma > 0.45 * NOISE).all() and (frames.sigma < 1.1 * NOISE).all()


def test_the_same_request_has_the_same_bytes(client: TestClient) -> None:
    for what in ("draw", "measure", "fits", "png"):
        first, second = (ask(client, what, seeds=[3]).content for _ in range(2))
        assert first == second, what
    assert ask(client, seeds=[3]).content != ask(client, seeds=[4]).content


def test_a_dragged_slider_takes_some_steps_and_no_more_than_a_resting_one() -> None:
    model = small("edm", REDSHIFT)
    frames = Frames.of(model)
    assert frames.steps == 10 and FEWEST_DRAFT_STEPS <= frames.draft_steps <= frames.steps
    few = Frames.of(model, steps=2)
    assert few.steps == few.draft_steps == 2 and few.most_steps == MOST_STEPS and Frames.of(kinds(), steps=80).most_steps == 80
    with pytest.raises(InputError, match="at least 1, got 0"):
        Frames.of(kinds(), steps=0)


@pytest.mark.parametrize("columns", [(REDSHIFT,), (KIND,), (Condition.fit("i_mag", np.linspace(18, 25, 50)), KIND), ()])
def test_generators_of_any_conditions(columns: tuple[Condition, ...]) -> None:
    generator = small("edm", *columns)
    if not columns:  # which no recipe of this package trains, but a model in a file of one's own may
        bare = small("edm", KIND)
        generator = replace(bare, conditions=Conditions(()), model=type(bare.model)(**bare.arguments | {"conditions": []}).eval())
    client = client_of(application(Frames.of(generator, steps=2)))
    asked = {column.name: "Round Smooth" if column.is_category else 20.0 if column.name == "i_mag" else 1.0 for column in columns}
    drawn = ask(client, conditions=asked, seeds=[1, 2])
    assert drawn.status_code == 200 and len(drawn.content) == 2 * SIZE * SIZE * 4
    assert ask(client, "measure", conditions=asked).status_code == 200
    with fits.open(io.BytesIO(ask(client, "fits", conditions=asked).content)) as hdus:
        assert hdus[0].header["SEED"] == 1
        assert {name: hdus[0].header[f"asked_{name}" if name == "i_mag" else name] for name in asked} == asked
    if asked:
        assert "give at least one" in said(ask(client, conditions={}), 422)


@pytest.mark.parametrize("name", ["hsc-i", "sdss-rgb", "decals"])
def test_generators_of_other_surveys(name: str) -> None:
    survey, bare = Survey.get(name), small("edm", REDSHIFT)
    bands = len(survey.bands)
    model = type(bare.model)(**bare.arguments | {"bands": bands}).eval()
    client = client_of(application(Frames.of(replace(bare, model=model, survey=survey), steps=2)))
    asked = {"redshift": 0.5}
    for what in ("draw", "png"):
        assert ask(client, what, conditions=asked, seeds=[1, 2]).status_code == 200
    rows = ask(client, "measure", conditions=asked).json()["rows"]
    assert [row["unit"] for row in rows if row["label"] == "half-light radius"] == (
        ["arcsec", "kpc"] if survey.pixel_scale_arcsec else ["pix"]
    )
    with fits.open(io.BytesIO(ask(client, "fits", conditions=asked).content)) as hdus:
        assert len(hdus) == 1 + bands and hdus[1].header["BUNIT"] == survey.unit


def test_controls_cover_the_trained_range_in_round_steps() -> None:
    mass = Condition.fit("mass", np.geomspace(1e8, 1e11, 400))
    redshift, kind, tail = controls(small("edm", REDSHIFT, KIND, mass))
    assert (redshift["low"], redshift["high"], redshift["step"], redshift["start"]) == (0.0, 3.0, 0.01, 1.5) and not redshift["optional"]
    assert len(redshift["marks"]) == 33 and kind == {
        "name": "category",
        "optional": True,
        "more": False,
        "classes": ["Barred Spiral", "Round Smooth"],
        "start": "Barred Spiral",
    }
    assert tail["log"] and (tail["low"], tail["high"]) == (8.0, 11.0) and tail["optional"]
    assert not any(control["optional"] for control in controls(kinds(dropout=0.0)))
    many = controls(kinds(REDSHIFT, KIND, *(Condition.fit(f"number_{k}", np.arange(40.0)) for k in range(4))))
    assert [control["more"] for control in many] == [False, False, True, True, True, True]
    [inward] = controls(small("edm", Condition.fit("redshift", np.linspace(0.0123, 3.9876, 300))))
    assert (inward["low"], inward["high"]) == (0.02, 3.98), "every place of the slider is within the trained range"
    table = redshift_table(kinds())
    assert table is not None and redshift_table(small("edm", KIND)) is None
    z = np.linspace(0, 3, 77)
    assert np.interp(z, table["z"], table["gyr"]) == pytest.approx(Planck18.lookback_time(z).value, abs=2e-3)


# -- what is measured ---------------------------------------------------------------------------------------------------------------
def test_measured_values_stand_beside_the_population_at_that_redshift(client: TestClient, sky: GalaxySet) -> None:
    found = ask(client, "measure").json()
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == [quantity.name for quantity in shown(HSC)] and len(rows) == 9
    assert rows["g_r"]["value"] == pytest.approx(0.5 + REDDENS, abs=0.05) and rows["g_r"]["error"] < 0.05
    radius = 1.1774 * (3 + GROWS) * HSC.pixel_scale_arcsec
    assert rows["i_half_light_radius_arcsec"]["value"] == pytest.approx(radius, rel=0.1)
    assert rows["i_half_light_radius_kpc"]["value"] == pytest.approx(radius * Planck18.kpc_proper_per_arcmin(1.0).value / 60, rel=0.1)
    assert rows["i_ellipticity"]["value"] < 0.2 and rows["i_sersic_index"]["value"] is None, "a Gaussian is at the bound of what is fitted"
    assert found["population"].startswith("20 galaxies of the set, Round Smooth, at z = ")
    low, high = map(float, re.findall(r"\d\.\d\d", found["population"]))
    assert low < 1.0 < high and high - low < 1.0
    others = rows["i_mag"]["others"]
    assert len(others) == 20 and rows["i_mag"]["quantiles"][1] == pytest.approx(np.median(others), abs=0.01)
    assert np.median(others) == pytest.approx(19 + FADES, abs=0.3)
    assert rows["i_mag"]["share_below"] == np.mean(np.array(others) < rows["i_mag"]["value"])
    assert rows["i_mag"]["ends"] == pytest.approx(np.nanquantile(sky.measured["i_mag"], [0.01, 0.99]), abs=0.01)
    barred = {row["name"]: row for row in ask(client, "measure", conditions=ANYWHERE | {"category": "Barred Spiral"}).json()["rows"]}
    assert barred["i_mag"]["value"] - rows["i_mag"]["value"] == pytest.approx(0.753, abs=0.05), "half the light"
    assert np.median(barred["i_mag"]["others"]) - np.median(others) == pytest.approx(0.753, abs=0.3), "and its own population"


def test_where_there_is_no_population_the_answer_says_why(client: TestClient, sky: GalaxySet) -> None:
    far = ask(client, "measure", conditions=ANYWHERE | {"redshift": 2.9}).json()
    assert far["population"].startswith("the set has no galaxies at z = 2.90: its redshifts end at 2.4")
    assert not any("others" in row for row in far["rows"])
    population = Population.measured(sky)
    assert "0 galaxies of the set, Merging, are too few" in population.near(1.0, "Merging").words
    assert (
        population.near(1.0, None).words.startswith("20 galaxies of the set at") and len(population.near(None, None).values["i_mag"]) > 100
    )
    alone = ask(client_of(application(Frames.of(kinds()))), "measure").json()
    assert alone["population"] == "no population to compare with" and alone["rows"][0]["value"] is not None
    with pytest.raises(InputError, match="has not been measured"):
        Population.measured(kinds().sample({"redshift": [1.0] * 30}))
    with pytest.raises(InputError, match="needs 20"):
        Population.measured(sky[:10])


def test_a_generator_of_measured_columns_brings_their_distribution() -> None:
    z = np.linspace(0.1, 2.0, 60)
    columns = (REDSHIFT, Condition.fit("i_mag", 20 + z))
    generator = kinds(*columns)
    generator.prior = Prior.fit({"redshift": z, "i_mag": 20 + z})
    population = Population.learnt(generator)
    assert population is not None and set(population.values) == {"i_mag"}
    near = population.near(1.0, "of any kind")
    assert near.words.startswith("200 galaxies of the training set's prior at z") and np.median(near.values["i_mag"]) == pytest.approx(
        21.0, abs=0.1
    )
    assert Population.learnt(kinds()) is None


def test_a_disc_is_a_disc() -> None:
    y, x = np.mgrid[:48, :48] - 23.5
    noise = np.random.default_rng(0).normal(0, NOISE, (1, 5, 48, 48))
    disc = GalaxySet((noise + 8 * np.exp(-np.hypot(x, y / 0.5) / 4)).astype(np.float32), HSC, {"redshift": np.array([0.5])})
    rows = {row["name"]: row for row in beside(disc, None)["rows"]}
    assert 0.7 < rows["i_sersic_index"]["value"] < 2.5 and 0 < rows["i_sersic_index"]["error"] < 0.2
    assert rows["i_ellipticity"]["value"] == pytest.approx(0.5, abs=0.1)


def test_what_is_not_trusted_is_no_number() -> None:
    nothing = GalaxySet(np.random.default_rng(0).normal(0, NOISE, (1, 5, SIZE, SIZE)).astype(np.float32), HSC)
    found = beside(nothing, None)
    values = {row["name"]: row["value"] for row in found["rows"]}
    assert "i_half_light_radius_kpc" not in values, "which needs a redshift"
    assert all(np.isnan(value) for value in values.values()) and any("no object" in remark for remark in found["remarks"])
    assert remarks(int(Flag.EDGE)) == ["the isophote touches the edge of the stamp: area, axes and flux are lower limits"] and not remarks(
        0
    )


# -- downloads ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", [kinds(), small("edm", REDSHIFT, KIND)], ids=["known", "edm"])
def test_fits_holds_what_the_generator_draws(model: Generator) -> None:
    client = client_of(application(Frames.of(model, steps=3)))
    response = ask(client, "fits", seeds=[5])
    assert response.headers["content-type"] == "application/fits"
    own = model.sample(ANYWHERE, n=1, seed=5, steps=3)
    with fits.open(io.BytesIO(response.content)) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "G", "R", "I", "Z", "Y"]
        assert np.array_equal(np.stack([hdu.data for hdu in hdus[1:]]), own.images[0])
        header = hdus[0].header
        assert (header["SURVEY"], header["NGALAXY"], header["SEED"], header["REDSHIFT"]) == ("hsc-wide", 1, 5, 1.0)
        assert (header["CATEGORY"], header["STEPS"], header["MODELSHA"]) == ("Round Smooth", 3, model.weights_hash())
        assert hdus["I"].header["BUNIT"] == "count" and hdus["I"].header["MAGZERO"] == 27.0
        scale = np.abs(WCS(hdus["I"].header).wcs.cdelt) * 3600
        assert scale == pytest.approx([HSC.pixel_scale_arcsec] * 2)
    seeds = [9, 5, 2]
    with fits.open(io.BytesIO(ask(client, "fits", seeds=seeds).content)) as hdus:
        hdus.verify("exception")
        assert len(hdus) == 1 + 3 * 5 and hdus[0].header["NGALAXY"] == 3 and "SEED" not in hdus[0].header
        for number, seed in enumerate(seeds, 1):
            assert hdus["Z", number].header["SEED"] == seed and hdus["Z", number].header["REDSHIFT"] == 1.0
        scatter = np.abs(hdus["I", 2].data - own.images[0][2]).max() / own.images.std()
        assert scatter < (0 if isinstance(model.model, Kinds) else 1e-2) + 1e-6, "but for what another batch rounds"


def test_a_fits_file_comes_back_as_galaxies(client: TestClient, tmp_path: Path) -> None:
    from hubbleflow.datasets import import_archive

    (tmp_path / "galaxy.fits").write_bytes(ask(client, "fits").content)
    import_archive("fits", tmp_path / "galaxy.fits", tmp_path / "back.h5")
    back = GalaxySet.open(tmp_path / "back.h5")
    assert back.survey == HSC and back.redshift.tolist() == [1.0] and back.category.tolist() == ["Round Smooth"]
    assert np.array_equal(back.images[0], kinds().sample(ANYWHERE, n=1, seed=1).images[0])


def test_png_shows_the_pictures_large(client: TestClient) -> None:
    one, many = (Image.open(io.BytesIO(ask(client, "png", seeds=seeds).content)) for seeds in ([1], [1, 2, 3, 4]))
    assert one.format == "PNG" and 384 <= one.width < 400 and 768 <= many.width < 800
    drawn = np.frombuffer(ask(client).content, np.uint8).reshape(SIZE, SIZE, 4)[..., :3]
    assert np.array_equal(np.asarray(one)[4 : 4 + 384 : 12, 4 : 4 + 384 : 12], drawn)


# -- what is refused ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": []}, "seeds: list should have at least 1 item"),
        ({"seeds": list(range(MOST_GALAXIES + 1))}, "seeds: list should have at most 16 items"),
        ({"seeds": [-1]}, "seeds.0: input should be greater than or equal to 0, got -1"),
        ({"seeds": [1, 2**32]}, "seeds.1: input should be less than or equal to 4294967295"),
        ({"seeds": [1.5]}, "seeds.0: input should be a valid integer"),
        ({"seeds": [True]}, "seeds.0: input should be a valid integer"),
        ({"seeds": "1"}, "seeds: input should be a valid list"),
        ({"seeds": None}, "seeds: input should be a valid list"),
        ({"steps": 0}, "0 steps are asked for: ask for 1 to 50"),
        ({"steps": 10**6}, "1000000 steps are asked for"),
        ({"steps": 2.0}, "steps: input should be a valid integer"),
        ({"conditions": {}}, "conditioned on redshift, category: give at least one"),
        ({"conditions": {"redshift": 3.5}}, "redshift 3.5 is outside the trained range 0 to 3"),
        ({"conditions": {"redshift": -0.1}}, "a redshift cannot be negative, got -0.1"),
        ({"conditions": {"redshift": "1"}}, "redshift must be a number, got '1'"),
        ({"conditions": {"redshift": None}}, "conditions.redshift"),
        ({"conditions": {"redshift": True}}, "conditions.redshift"),
        ({"conditions": {"redshift": [1, 2]}}, "conditions.redshift"),
        ({"conditions": {"redshift": 1, "category": "blob"}}, "unknown category 'blob': this generator knows Barred Spiral, Round Smooth"),
        ({"conditions": {"redshift": 1, "category": 1}}, "category must be one of Barred Spiral, Round Smooth, got 1"),
        ({"conditions": {"mass": 1}}, "not conditioned on 'mass': it knows redshift, category"),
        ({"conditions": [1]}, "conditions: input should be a valid dictionary"),
        ({"guidance": 9}, "guidance: extra inputs are not permitted"),
    ],
)
def test_bad_input_is_answered_in_a_sentence(client: TestClient, changes: dict[str, Any], sentence: str) -> None:
    for what in ("draw", "measure", "fits", "png"):
        assert sentence in said(ask(client, what, **changes), 422)


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "[" * 9000, '{"seeds": [NaN]}', '{"seeds": [1], "conditions": {"redshift": NaN}}'])
def test_what_is_no_request_is_answered_in_a_sentence(client: TestClient, body: str) -> None:
    response = client.post("/draw", content=body, headers={"content-type": "application/json"})
    assert said(response, response.status_code) and response.status_code in (400, 422)


def test_numbers_of_any_size_are_answered(client: TestClient) -> None:
    for number in ("1e999", "-1e999", "1" + "0" * 400, "1" * 5000, "-0.0", "5e-324"):
        body = f'{{"seeds": [1], "conditions": {{"redshift": {number}, "category": "Round Smooth"}}}}'
        response = client.post("/draw", content=body, headers={"content-type": "application/json"})
        assert response.status_code in (200, 400, 422), number
        seed = client.post("/draw", content=f'{{"seeds": [{number}]}}', headers={"content-type": "application/json"})
        said(seed, seed.status_code)


def test_only_json_of_a_bounded_length_is_read(client: TestClient) -> None:
    sent = json.dumps({"seeds": [1], "conditions": ANYWHERE})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):  # what a form of another page can send
        assert said(client.post("/draw", content=sent, headers={"content-type": kind}), 415)
    assert "of no type" in said(client.post("/draw", content=sent), 415)
    declared = {"content-type": "application/json; charset=utf-8"}
    assert client.post("/draw", content=sent, headers=declared).status_code == 200
    assert "at most 16384 bytes" in said(client.post("/draw", content=sent + " " * LARGEST_BODY, headers=declared), 413)
    assert "how long it is" in said(client.post("/draw", content=iter([sent.encode()]), headers=declared), 411)
    assert "one galaxy is measured at a time" in said(ask(client, "measure", seeds=[1, 2]), 422)


def test_other_addresses_and_methods(client: TestClient) -> None:
    assert said(client.get("/nothing"), 404) and said(client.get("/draw"), 405) and said(client.post("/", json={}), 405)
    for hidden in ("/docs", "/redoc", "/openapi.json"):
        assert said(client.get(hidden), 404)


def test_the_host_must_be_this_machine(app: Any) -> None:
    for host in ("127.0.0.1:8000", "localhost", "LOCALHOST:1234", "[::1]:8000", "127.8.8.8"):
        assert client_of(app).get("/", headers={"host": host}).status_code == 200, host
    for host in ("evil.example", "localhost.evil.example:8000", "127.0.0.1.nip.io", "192.168.0.7", "0.0.0.0:8000", "", "[::1", "a b"):
        response = client_of(app).get("/", headers={"host": host})
        assert "answers to 127.0.0.1 and localhost alone" in said(response, 403), host
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert client_of(app).post("/draw", json={"seeds": [1], "conditions": ANYWHERE}, headers={"host": host}).status_code == 403
    assert client_of(application(Frames.of(kinds()), loopback=False)).get("/", headers={"host": "observatory.example"}).status_code == 200


def test_the_page_is_whole_and_no_other_may_read_or_frame_it(client: TestClient) -> None:
    page = client.get("/", headers={"origin": "https://evil.example"})
    assert page.headers["content-type"].startswith("text/html") and page.text.count("{{") == 0
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and "connect-src 'self'" in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page.text), "nothing from elsewhere"
    for response in (page, ask(client), client.get("/nothing")):
        assert not [name for name in response.headers if name.startswith("access-control")]
        assert response.headers["x-content-type-options"] == "nosniff" and response.headers["cache-control"] == "no-store"
    preflight = client.options("/draw", headers={"origin": "https://evil.example", "access-control-request-method": "POST"})
    assert preflight.status_code == 405 and "access-control-allow-origin" not in preflight.headers


def test_a_category_cannot_end_the_pages_script() -> None:
    evil = "</script><script>alert(1)</script>{{script}}"
    page = client_of(application(Frames.of(small("edm", Condition.fit("category", np.array([evil, "b"] * 5))), steps=1))).get("/")
    assert page.text.count("<script") == 2 and "alert(1)</script>" not in page.text


def test_more_than_a_few_requests_do_not_wait(app: Any) -> None:
    """A worker that is busy: so many wait, the next is told so."""
    import asyncio

    from starlette.exceptions import HTTPException

    from hubbleflow.explore.app import Worker

    async def crowd() -> list[Any]:
        worker, go = Worker(), threading.Event()
        waiting = [asyncio.create_task(worker.do(go.wait)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="8 requests are waiting already"):
            await worker.do(go.wait)
        go.set()
        return [*await asyncio.gather(*waiting), await worker.do(lambda: "and then it is free")]

    assert asyncio.run(crowd()) == [True] * MOST_WAITING + ["and then it is free"]


# -- the command ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_ctrl_c(tmp_path: Path, ended_by: signal.Signals) -> None:
    from urllib.request import Request, urlopen

    small("edm", REDSHIFT, KIND).save(tmp_path / "model")
    command = [
        sys.executable,
        "-m",
        "hubbleflow",
        "explore",
        tmp_path / "model",
        "--port",
        "0",
        "--no-browser",
        "--steps",
        "1",
        "--seed",
        "7",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    default = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - a shell's background jobs ignore it
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=default
    ) as process:
        try:
            assert process.stdout is not None
            url, _, rest = process.stdout.readline().partition(" ")
            assert url.startswith("http://127.0.0.1:") and "Ctrl-C ends it" in rest
            with urlopen(url, timeout=30) as answer:
                known = json.loads(re.search(r'id="known">(.*?)</script>', answer.read().decode())[1])
            assert known["seed"] == 7 and known["steps"] == 1 and known["title"] == "edm"
            body = json.dumps({"seeds": [1], "conditions": {"redshift": 0.5}}).encode()
            with urlopen(Request(url + "/draw", body, {"Content-Type": "application/json"}), timeout=30) as answer:
                assert len(answer.read()) == 4 * SIZE * SIZE
            port = url.rpartition(":")[2]
            with pytest.raises(InputError, match=f"cannot listen at port {port} of 127.0.0.1 .*: give another --port") as caught:
                explore(kinds(), port=int(port))
            assert "\n" not in str(caught.value)
            process.send_signal(ended_by)
            _, told = process.communicate(timeout=30)
            assert process.returncode == 0 and "Traceback" not in told and "Error" not in told, told
        finally:
            process.kill()  # if it has not ended: leaving `with` would wait for it


def test_work_is_done_by_the_thread_that_offers_itself() -> None:
    here, asked = serve.Here(), []

    def ask() -> None:
        asked.append(here.submit(threading.get_ident))
        asked.append(here.submit(lambda: 1 / 0))
        asked.append(here.submit(int, "7", base=8))
        here.shutdown()

    thread = threading.Thread(target=ask)
    thread.start()
    here.work()
    thread.join()
    assert asked[0].result(1) == threading.get_ident() and asked[2].result(1) == 7
    with pytest.raises(ZeroDivisionError):
        asked[1].result(1)
    interrupted = here.submit(signal.raise_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        here.work()
    assert isinstance(interrupted.exception(1), KeyboardInterrupt)


def test_a_host_that_others_can_reach_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sky: GalaxySet
) -> None:
    class Nobody:
        def run(self, sockets: list[socket.socket]) -> None:
            return

    opened: list[str] = []
    monkeypatch.setattr(serve, "server", lambda app: Nobody())
    monkeypatch.setattr(serve.webbrowser, "open", opened.append)
    explore(kinds(), host="0.0.0.0", port=0, browser=False)
    told = capsys.readouterr()
    assert "warning: whoever can reach 0.0.0.0 can use this page" in told.err and not opened
    explore(kinds(), sky, port=0)
    told = capsys.readouterr()
    assert "warning" not in told.err and told.out.startswith(opened[0])
    with pytest.raises(InputError, match="cannot listen at port 8000 of nowhere.invalid"):
        explore(kinds(), host="nowhere.invalid")
    with pytest.raises(InputError, match="cannot be used as the population: its stamp size is 16"):
        explore(kinds(), GalaxySet(np.zeros((30, 5, 16, 16), np.float32), HSC), port=0)


def test_without_fastapi_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("serve", "app"):
        monkeypatch.delitem(sys.modules, f"hubbleflow.explore.{name}")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(InputError, match=r"explore needs fastapi, which is not installed: pip install 'hubbleflow\[explore\]'"):
        explore(kinds())
