"""The explore page in a real browser, headless: galaxies change as sliders move, by mouse and keyboard; nothing comes from elsewhere."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from hubbleflow.conditions import Condition
from hubbleflow.explore.app import application
from hubbleflow.explore.beside import Population
from hubbleflow.explore.frames import Frames
from hubbleflow.explore.serve import listen, server
from hubbleflow.measure import measure
from test_explore import REDSHIFT, kinds
from test_report_browser import CONTRAST, PHONE, SCREEN, browser

__all__ = ["browser"]  # a fixture
PICTURE = "document.getElementById('large').getContext('2d').getImageData(0, 0, 32, 32).data.join()"


class Served:
    """An application on a port, in a thread of its own."""

    def __init__(self, app: Any) -> None:
        self.socket = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = server(app)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        self.socket.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    generator = kinds()
    asked = {"redshift": np.linspace(0.1, 2.9, 80), "category": np.resize(["Barred Spiral", "Round Smooth"], 80)}
    sky = generator.sample(asked, seed=9)
    found = Served(application(Frames.of(generator), Population.measured(measure(sky, progress=False).added_to(sky))))
    yield found
    found.stop()


def rested(page: Any) -> None:
    page.wait_for_selector("body[data-state=rest]", timeout=20_000)


def opened(browser: Any, served: Served, viewport: dict[str, int] = SCREEN, **options: Any) -> Any:
    page = browser.new_page(viewport=viewport, **options)
    page.goto(served.url)
    rested(page)
    return page


def settled(page: Any, change: Any) -> tuple[str, str]:
    """The large picture before and after a change, when all is at rest."""
    before = page.evaluate(PICTURE)
    page.evaluate("document.body.dataset.state = 'changing'")
    change()
    rested(page)
    return before, page.evaluate(PICTURE)


def places(page: Any) -> list[float]:
    """The redshifts that the page will have asked to be drawn."""
    found: list[float] = []

    def note(request: Any) -> None:
        if request.url.endswith("/draw"):
            found.append(request.post_data_json["conditions"]["redshift"])

    page.on("request", note)
    return found


def value(page: Any, quantity: str) -> float:
    return float(page.locator("#rows tr", has_text=quantity).first.locator("td b").text_content())


def test_the_page_loads_without_errors_or_requests_elsewhere(browser: Any, served: Served) -> None:
    page, told, asked = browser.new_page(), [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.url)
    rested(page)
    assert told == []
    assert {url.removeprefix(served.url) for url in asked if not url.startswith("data:")} == {"/", "/draw", "/measure"}
    assert page.locator("#grid canvas").count() == 9 and page.locator("#grid .old").count() == 0
    assert len(set(page.evaluate(PICTURE).split(","))) > 30, "there is a galaxy"
    assert page.locator("#name").text_content() == "Seed 1, z = 1.5, 9.5 Gyr ago, Barred Spiral"
    assert value(page, "i magnitude") == pytest.approx(19 + 1.5 * 1.5 + 0.75, abs=1.0)
    assert re.match(r"Beside 20 galaxies of the set, Barred Spiral, at z = \d", page.locator("#beside").text_content())
    assert page.locator("#rows .axis i").count() >= 7
    assert "i magnitude" in page.get_by_role("status").text_content() and page.locator("#trouble").text_content() == ""
    page.close()


def test_dragging_the_slider_changes_the_galaxy_and_its_numbers(browser: Any, served: Served) -> None:
    page = opened(browser, served)
    drawn = places(page)
    box, brightness = page.locator("input[type=range]").bounding_box(), value(page, "i magnitude")
    middle = box["y"] + box["height"] / 2

    def drag() -> None:
        page.mouse.move(box["x"] + box["width"] / 2, middle)
        page.mouse.down()
        for step in range(30):
            page.mouse.move(box["x"] + box["width"] * (0.5 - 0.012 * step), middle)
        page.mouse.up()

    before, after = settled(page, drag)
    assert before != after
    redshift = float(page.get_by_label("redshift, as a number").input_value())
    assert 0.3 < redshift < 0.6 and page.locator("#name").text_content().startswith(f"Seed 1, z = {redshift:g}, ")
    assert value(page, "i magnitude") < brightness - 1, "nearer is brighter"
    assert drawn[-1] == redshift, "the last place is drawn"
    assert page.locator("#grid .old").count() == 0, "with all other galaxies"
    page.close()


def test_places_that_were_passed_are_never_drawn(browser: Any, served: Served) -> None:
    page = opened(browser, served)
    drawn = places(page)
    script = """() => { const slider = document.querySelector('input[type=range]');
        for (let k = 0; k < 100; k++) { slider.value = 1 + k / 100; slider.dispatchEvent(new Event('input')); } }"""
    settled(page, lambda: page.evaluate(script))
    assert drawn[0] == 1.0 and set(drawn[1:]) == {1.99} and len(drawn) < 10
    page.close()


def test_all_of_it_by_keyboard(browser: Any, served: Served) -> None:
    page = opened(browser, served)
    page.evaluate("""() => {
        const all = [...document.querySelectorAll('input, button, summary, [tabindex]')].filter(e => e.type !== 'radio' || e.checked);
        all.forEach((element, place) => element.dataset.place = place); window.controls = all.length; }""")
    reached = []
    for _ in range(page.evaluate("window.controls")):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("Number(document.activeElement.dataset.place ?? -1)"))
        seen = (
            "[document.activeElement, document.activeElement.closest('label')].some(e => e && getComputedStyle(e).outlineStyle !== 'none')"
        )
        assert page.evaluate(seen), f"one sees where one is: {page.evaluate('document.activeElement.outerHTML')}"
    assert sorted(reached) == list(range(len(reached))) and len(reached) >= 13

    slider = page.get_by_role("slider", name="redshift")
    slider.focus()
    before, after = settled(page, lambda: page.keyboard.press("ArrowRight"))
    assert before != after and slider.get_attribute("aria-valuetext") == "1.51 9.5 Gyr ago"
    before, after = settled(page, lambda: page.keyboard.press("Home"))
    assert before != after and page.locator("#name").text_content().startswith("Seed 1, z = 0, 0.0 Gyr ago")

    page.get_by_role("radio", name="Barred Spiral").focus()
    brightness = value(page, "i magnitude")
    settled(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.get_by_role("radio", name="Round Smooth").is_checked()
    assert value(page, "i magnitude") == pytest.approx(brightness - 0.75, abs=0.1)
    settled(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.get_by_role("radio", name="any").is_checked() and page.locator("#name").text_content() == "Seed 1, z = 0, 0.0 Gyr ago"

    page.get_by_role("radio", name="seed 1").focus()
    before, after = settled(page, lambda: page.keyboard.press("ArrowRight"))
    assert before != after and page.locator("#name").text_content().startswith("Seed 2")
    page.close()


def test_seeds_and_their_number(browser: Any, served: Served) -> None:
    page = opened(browser, served)

    def fill(label: str, text: str) -> None:
        page.get_by_role("spinbutton", name=label).fill(text)
        page.keyboard.press("Enter")

    settled(page, lambda: fill("galaxies", "4"))
    assert page.locator("#grid label").all_text_contents() == ["seed 1", "seed 2", "seed 3", "seed 4"]
    before, after = settled(page, lambda: fill("first seed", "3"))
    assert before != after and page.locator("#grid label").all_text_contents()[0] == "seed 3"
    before, after = settled(page, lambda: page.get_by_role("button", name="New seeds").click())
    assert before != after and page.get_by_label("first seed").input_value() != "3"
    before, after = settled(page, lambda: fill("first seed", "1"))
    assert page.locator("#name").text_content().startswith("Seed 1, ")
    for label, text in (("galaxies", "17"), ("first seed", "-1"), ("galaxies", ""), ("redshift, as a number", "9")):
        fill(label, text)
        assert page.get_by_role("spinbutton", name=label).evaluate("i => !i.validity.valid") and page.locator("#grid label").count() == 4
    assert page.locator("#trouble").text_content() == ""
    page.close()


def test_downloads(browser: Any, served: Served, tmp_path: Path) -> None:
    page = opened(browser, served)
    own = kinds().sample({"redshift": [1.5], "category": ["Barred Spiral"]}, seed=1)
    for button, name in (
        ("#fits-one", "seed1.fits"),
        ("#fits-all", "seed1-9.fits"),
        ("#png-one", "seed1.png"),
        ("#png-all", "seed1-9.png"),
    ):
        with page.expect_download() as started:
            page.locator(button).click()
        assert started.value.suggested_filename == f"_z1.5_Barred-Spiral_{name}"
        path = tmp_path / name
        started.value.save_as(path)
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.width > 300
            continue
        with fits.open(path) as hdus:
            assert np.array_equal(np.stack([hdu.data for hdu in hdus[1:6]]), own.images[0])
            assert hdus["I"].header["SEED"] == 1 and len(hdus) == (6 if button == "#fits-one" else 46)
    page.close()


@pytest.mark.parametrize(("scheme", "viewport"), [("light", SCREEN), ("dark", SCREEN), ("dark", PHONE)], ids=["light", "dark", "phone"])
def test_it_can_be_read(browser: Any, served: Served, scheme: str, viewport: dict[str, int]) -> None:
    page = opened(browser, served, viewport, color_scheme=scheme, reduced_motion="reduce")
    page.locator("#about-it summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    outside = page.evaluate("""() => [...document.querySelectorAll('main *:not(.unseen)')].filter(e => e.checkVisibility()
        && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))""")
    assert outside == []
    assert page.locator("#measured .scroll").evaluate("e => e.scrollWidth <= e.clientWidth"), "the table fits"
    page.set_viewport_size({"width": viewport["width"], "height": page.evaluate("document.documentElement.scrollHeight")})
    found = page.evaluate(CONTRAST)
    assert len(found) > 60 and [(round(ratio, 2), text) for ratio, text in found if ratio < 4.5 and "kpc" not in text] == []
    assert page.evaluate("getComputedStyle(document.querySelector('#grid canvas')).transitionDuration") == "0s"
    unnamed = "[...document.querySelectorAll('input')].filter(i => !i.labels.length && !i.ariaLabel).map(i => i.outerHTML)"
    assert page.evaluate(unnamed) == []
    assert page.get_by_role("img", name="Galaxy of seed 1, z = 1.5").count() == 1
    page.close()


def test_other_conditions_have_their_controls_and_can_be_left_out(browser: Any) -> None:
    tail = Condition.fit("stellar_mass", np.geomspace(1e8, 1e11, 400))
    served = Served(application(Frames.of(kinds(REDSHIFT, tail))))
    page = opened(browser, served)
    assert page.get_by_role("slider").count() == 2 and "--population SET.h5" in page.locator("#beside").text_content()
    assert page.locator("#measured .strip:visible").count() == 0
    assert page.get_by_label("stellar_mass, as a number").input_value() == "3162000000"
    page.get_by_label("asked for").uncheck()
    rested(page)
    assert page.get_by_role("slider", name="stellar_mass").is_disabled() and "mass" not in page.locator("#name").text_content()
    served.stop()
    page.locator("input[type=range]").first.press("ArrowRight")
    deadline = time.monotonic() + 10
    while not page.locator("#trouble").text_content() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert page.locator("#trouble").text_content() == "The server does not answer: does hubbleflow explore still run?"
    page.close()


def test_many_numbers_are_folded_away_and_asked_for_when_they_are_ticked(browser: Any) -> None:
    served = Served(application(Frames.of(kinds(REDSHIFT, *(Condition.fit(f"number_{k}", np.arange(40.0)) for k in range(4))))))
    page = browser.new_page(viewport=SCREEN)
    asked: list[dict[str, float]] = []
    page.on("request", lambda request: asked.append(request.post_data_json["conditions"]) if request.url.endswith("/draw") else None)
    page.goto(served.url)
    rested(page)
    assert {name for one in asked for name in one} == {"redshift"}
    assert page.locator("#more summary").text_content() == "More to ask for: number_0, number_1, number_2, number_3"
    assert page.get_by_role("slider").count() == 1, "the others are folded away"
    page.locator("#more summary").click()
    assert page.get_by_role("slider").count() == 5 and page.get_by_role("slider", name="number_2").is_disabled()
    page.get_by_label("asked for").nth(2).check()
    rested(page)
    assert asked[-1].keys() == {"redshift", "number_2"} and "number_2" in page.locator("#name").text_content()
    served.stop()
    page.close()
