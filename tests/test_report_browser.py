"""The pages in a real browser, headless: nothing is fetched, everything can be read, reached by keyboard, and printed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics import evaluate
from hubbleflow.report import write_report
from hubbleflow.report.leaderboard import Leaderboard
from hubbleflow.report.leaderboard_page import write
from hubbleflow.survey import Survey

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
if CHROMIUM is None:
    pytest.skip("no browser: install Debian's package chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")

PAGES = ("report", "leaderboard")
PHONE = {"width": 360, "height": 740}
SCREEN = {"width": 1200, "height": 900}


def galaxies(n: int, seed: int, size: float = 1.0) -> GalaxySet:
    """Spots of light on noise, with a table as measure gives it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24] - 11.5
    images = rng.normal(0, 0.05, (n, 1, 24, 24)) + np.exp(-(x**2 + y**2) / 8)
    z = rng.uniform(0.1, 2, n)
    measured = {f"i_{name}": size * rng.lognormal(1, 0.3, n) / (1 + z) for name in ("major_axis", "half_light_radius", "isophotal_area")}
    measured |= {"i_ellipticity": rng.beta(2, 3, n), "i_mag": 20 + z + rng.normal(0, 0.5, n), "flag": np.zeros(n, int)}
    return GalaxySet(images.astype(np.float32), Survey.get("hsc-i"), {"redshift": z}, measured=measured, provenance={"model": f"x{size}"})


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A report in which much differs and something doesn't, and a leaderboard of it and a copy of it that has drawn worse."""
    folder = tmp_path_factory.mktemp("pages")
    report = evaluate(galaxies(200, 1), galaxies(100, 2, size=1.6), lambda which: which.redshift + 0.02, progress=False, splits=12)
    path = write_report(report, folder / "report", progress=False)
    entry = json.loads((folder / "report" / "metrics.json").read_text())
    assert any(metric["differs"] for metric in entry["metrics"].values()) and any(m["within_floor"] for m in entry["metrics"].values())
    for metric in entry["metrics"].values():
        metric |= {"distance": 2 * metric["distance"]} if metric["distance"] is not None else {}
    (folder / "other").mkdir()
    (folder / "other" / "metrics.json").write_text(json.dumps(entry))
    board, *_ = write(Leaderboard.read([folder / "report", folder / "other"], ["good", "worse"]), folder / "board")
    return {"report": path, "leaderboard": board}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield opened
        opened.close()


@pytest.fixture(params=PAGES)
def name(request) -> str:
    return request.param


def opened(browser, path: Path, viewport: dict[str, int] = SCREEN, **options: Any) -> Any:
    page = browser.new_page(viewport=viewport, **options)
    page.goto(path.as_uri())
    return page


def unfold(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")


def test_page_renders_without_errors_and_without_any_request(browser, pages, name):
    page, told, asked = browser.new_page(), [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri(), wait_until="networkidle")
    unfold(page)
    assert told == []
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert page.locator("h1").is_visible() and page.locator("main table").first.is_visible()
    broken = page.evaluate("[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length")
    assert broken == 0
    page.close()


def test_every_control_is_reached_by_tab_in_the_order_of_the_page(browser, pages, name):
    page = opened(browser, pages[name])
    page.evaluate("""() => {
        const all = [...document.querySelectorAll('a[href], summary, [tabindex], button, input')].filter(e => e.checkVisibility());
        all.forEach((element, place) => element.dataset.place = place); window.controls = all.length; }""")
    controls = page.evaluate("window.controls")
    assert controls > 5
    reached, seen = [], []
    for _ in range(controls):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("Number(document.activeElement.dataset.place ?? -1)"))
        seen.append(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert reached == list(range(controls))
    assert "none" not in seen  # and one sees where one is
    page.close()


def test_keyboard_unfolds_tables_and_follows_links(browser, pages):
    page = opened(browser, pages["report"])
    first = page.locator("details").first
    assert not first.evaluate("d => d.open")
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    assert first.evaluate("d => d.open")
    page.locator("nav a", has_text="Bin by bin").focus()
    page.keyboard.press("Enter")
    assert page.locator("#detail").evaluate("h => h.getBoundingClientRect().top < innerHeight")
    page.close()


def test_screen_readers_find_names_for_everything(browser, pages, name):
    page = opened(browser, pages[name])
    unfold(page)
    images = page.get_by_role("img").all()
    assert len(images) >= (6 if name == "report" else 0)
    names = [image.get_attribute("alt") or image.get_attribute("aria-label") or "" for image in images]
    assert all(len(text) > 30 for text in names) and len(set(names)) == len(names)
    assert page.get_by_role("main").count() == page.get_by_role("navigation").count() == 1
    headings = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => h.tagName)")
    assert headings[0] == "H1" and set(headings[1:]) == {"H2"}
    regions = page.get_by_role("region").evaluate_all(
        "found => found.map(r => r.getAttribute('aria-label') || r.getAttribute('aria-labelledby'))"
    )
    assert all(regions)
    tables = page.evaluate("""() => [...document.querySelectorAll('table')].map(table => ({
        caption: table.caption ? table.caption.textContent : table.parentElement.ariaLabel,
        columns: [...table.tHead.rows[0].cells].every(c => c.tagName === 'TH' && c.scope === 'col'),
        rows: [...table.tBodies[0].rows].every(r => r.cells[0].tagName === 'TH' && r.cells[0].scope === 'row'),
        widths: new Set([...table.rows].map(r => r.cells.length)).size}))""")
    assert tables and all(table["columns"] and table["rows"] and table["widths"] == 1 and table["caption"] for table in tables)
    page.close()


CONTRAST = """() => {
    const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return {rgb: n.slice(0, 3), alpha: n.length > 3 ? n[3] : 1}; };
    const light = rgb => { const [r, g, b] = rgb.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const behind = element => { for (let e = element; e; e = e.parentElement) {
        const found = parse(getComputedStyle(e).backgroundColor); if (found.alpha === 1) return found.rgb; } return [255, 255, 255]; };
    const under = element => { const box = element.getBoundingClientRect();
        for (const e of document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2)) {
            const fill = getComputedStyle(e).fill;
            if (e !== element && e.closest('svg') && e.tagName === 'path' && fill !== 'none' && parse(fill).alpha === 1
                && getComputedStyle(e).fillOpacity === '1') return parse(fill).rgb;
            if (e.tagName === 'svg') break; } return behind(element); };
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        if (!walk.currentNode.textContent.trim() || element.closest('defs, style, .unseen') || !element.checkVisibility()) continue;
        const drawn = element.closest('svg');
        const ink = parse(drawn ? getComputedStyle(element).fill : getComputedStyle(element).color).rgb;
        const [a, b] = [light(ink), light(drawn ? under(element) : behind(element))].sort((x, y) => y - x);
        found.push([(a + 0.05) / (b + 0.05), walk.currentNode.textContent.trim().slice(0, 40)]);
    }
    return found; }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser, pages, name, scheme):
    page = opened(browser, pages[name], color_scheme=scheme)
    unfold(page)
    page.set_viewport_size({"width": 1200, "height": page.evaluate("document.documentElement.scrollHeight")})  # all is in sight
    found = page.evaluate(CONTRAST)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) is (scheme == "dark")
    assert len(found) > 100
    assert [(round(ratio, 2), text) for ratio, text in found if ratio < 4.5] == []
    page.close()


@pytest.mark.parametrize("viewport", [PHONE, SCREEN], ids=["phone", "screen"])
@pytest.mark.parametrize("folded", [True, False], ids=["folded", "unfolded"])
def test_nothing_runs_off_the_side(browser, pages, name, viewport, folded):
    page = opened(browser, pages[name], viewport)
    if not folded:
        unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    outside = page.evaluate("""() => [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && e.checkVisibility()
        && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName)""")
    assert outside == []
    page.close()


def test_page_prints_with_all_its_sections(browser, pages, name):
    page = opened(browser, pages[name])
    titles = page.locator("h2").all_text_contents()
    printed = page.pdf(format="A4", outline=True, tagged=True, prefer_css_page_size=True)
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", printed)) >= 2
    written = [_words(title) for title in re.findall(rb"/Title\s*(\((?:\\.|[^\\)])*\)|<[0-9A-Fa-f]+>)", printed)]
    assert [title for title in titles if title not in written] == []
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 1000})  # 182 mm: A4 less its margins
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 690).map(e => e.outerHTML.slice(0, 90))"
    )
    assert wide == []
    page.close()


def _words(title: bytes) -> str:
    """A string of a PDF."""
    if title.startswith(b"<"):
        return bytes.fromhex(title[1:-1].decode()).decode("utf-16")
    text = re.sub(rb"\\([()\\])", rb"\1", title[1:-1])
    return text.decode("utf-16") if text.startswith(b"\xfe\xff") else text.decode("latin-1")
