"""Reports: colour pictures as the field draws them, and one page with everything in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from astropy.cosmology import Planck18
from astropy.visualization import make_lupton_rgb
from PIL import Image

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics import Report, evaluate
from hubbleflow.report import rgb, sheet, write_report
from hubbleflow.report.colour import lupton, sky_sigma
from hubbleflow.report.drawing import figure, log_axis, lookback_axis
from hubbleflow.report.heatmap import COLOURS, cells, colour_of, ink_on, luminance
from hubbleflow.report.table import plus_minus
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-wide")


def galaxies(
    n: int, seed: int, survey: Survey = HSC, redshift: bool = True, categories: tuple[str, ...] = (), size: float = 1.0
) -> GalaxySet:
    """A small measured set of spots of light on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24] - 11.5
    images = rng.normal(0, 0.05, (n, len(survey.bands), 24, 24)) + np.exp(-(x**2 + y**2) / 8)
    if not survey.linear:
        images = np.clip(200 * images, 0, 255)
    z = rng.uniform(0.1, 2, n)
    columns: dict[str, np.ndarray] = {"redshift": z} if redshift else {}
    if categories:
        columns["category"] = np.array(categories)[np.arange(n) % len(categories)]
    band = survey.reference_band
    measured = {
        f"{band}_{name}": size * rng.lognormal(1, 0.3, n) / (1 + z) for name in ("major_axis", "half_light_radius", "isophotal_area")
    }
    measured |= {f"{band}_ellipticity": rng.beta(2, 3, n), f"{band}_mag": 20 + z + rng.normal(0, 0.5, n), "flag": np.zeros(n, int)}
    return GalaxySet(images.astype(np.float32), survey, columns, measured=measured)


def judged(**options) -> Report:
    predict = (lambda which: which.redshift + 0.02) if options.get("redshift", True) else None
    return evaluate(galaxies(160, 1, **options), galaxies(150, 2, **options), predict, progress=False, splits=5)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(judged(), folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def different(tmp_path_factory) -> tuple[Report, Path]:
    """A report on galaxies that are twice too large, and its folder."""
    folder = tmp_path_factory.mktemp("different")
    report = evaluate(galaxies(160, 1), galaxies(150, 2, size=2.0), progress=False, splits=20)
    write_report(report, folder, progress=False)
    return report, folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


class Page(HTMLParser):
    """What a reader's machine sees: tags, attributes, text, and whether tags are balanced."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "path", "use", "image", "rect", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "wbr" and self.words:
            self.words[-1] += data  # a name may be broken there
        else:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


# -- colour -------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("brightness", [0.3, 5, 500])
def test_lupton_is_astropys(brightness):
    red, green, blue = np.random.default_rng(0).normal(0.5, 1, (3, 40, 40)) * brightness
    theirs = make_lupton_rgb(red, green, blue, minimum=0, stretch=5, Q=8).astype(int)
    assert np.abs(lupton(red, green, blue).astype(int) - theirs).max() <= 1


def test_hsc_pictures_are_the_fields_convention_and_other_zero_points_are_brought_to_it():
    images = np.random.default_rng(0).uniform(0, 50, (1, 5, 16, 16)).astype(np.float32)
    expected = make_lupton_rgb(*images[0, [2, 1, 0]], minimum=0, stretch=5, Q=8).astype(int)
    assert np.abs(rgb(images, HSC)[0].astype(int) - expected).max() <= 1
    nanomaggies = replace(HSC, zero_point=22.5, unit="nanomaggy")
    same_sky = images * np.float32(10 ** (0.4 * (22.5 - 27.0)))
    assert np.abs(rgb(same_sky, nanomaggies)[0].astype(int) - expected).max() <= 1


def test_noise_style_follows_the_depth_and_shows_faint_galaxies():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64] - 31.5
    images = (rng.normal(0, 0.05, (4, 5, 64, 64)) + 0.5 * np.exp(-(x**2 + y**2) / 18)).astype(np.float32)
    deeper = rgb(images, HSC, "noise")
    assert np.abs(deeper.astype(int) - rgb(10 * images, HSC, "noise")).max() <= 1
    assert deeper[:, 30:34, 30:34].mean() > 2 * rgb(images, HSC)[:, 30:34, 30:34].mean()
    assert sky_sigma(images) == pytest.approx([0.05] * 5, rel=0.1)


def test_one_band_is_grey_and_display_values_are_as_they_are():
    grey = rgb(np.random.default_rng(0).normal(0, 1, (2, 1, 16, 16)).astype(np.float32), Survey.get("hsc-i"))
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 0] == grey[..., 2]).all() and grey.max() > 0
    values = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16)).astype(np.float32)
    assert np.array_equal(rgb(values, Survey.get("sdss-rgb")), values.transpose(0, 2, 3, 1).astype(np.uint8))


def test_broken_pixels_and_wrong_bands():
    images = np.full((1, 5, 16, 16), np.nan, np.float32)
    images[0, 0, 0, 0] = np.inf
    assert rgb(images, HSC).max() == 0 and rgb(images, HSC, "noise").max() == 0
    with pytest.raises(InputError, match="expected \\(n, 5, y, x\\)"):
        rgb(images[:, :3], HSC)
    with pytest.raises(InputError, match="lupton or noise"):
        rgb(images, HSC, "sepia")  # type: ignore[arg-type]


def test_sheet_is_a_png_with_a_cell_a_galaxy(tmp_path):
    some = galaxies(10, 1, categories=("spiral",))
    sheet(some, tmp_path / "sheet.png", columns=4)
    picture = pixels(tmp_path / "sheet.png")
    assert picture.shape == (3 * (48 + 18 + 4) + 4, 4 * (48 + 4) + 4, 3)
    assert (picture[144 + 2 : 214, 108:] == 255).all()  # the third row holds two galaxies only
    assert (picture[52:70, 4:52] < 128).any()  # a label under the first
    sheet(some, tmp_path / "bare.png", columns=4, labels=[""] * 10)
    assert len(pixels(tmp_path / "bare.png")) == 3 * (48 + 4) + 4
    with pytest.raises(InputError, match="empty set"):
        sheet(some[:0], tmp_path / "none.png")


def test_flux_has_y_upwards_and_photographs_have_not(tmp_path):
    values = np.zeros((1, 3, 16, 16), np.float32)
    values[:, :, :4] = 255  # the first rows are bright
    sheet(GalaxySet(values, Survey.get("sdss-rgb")), tmp_path / "photo.png")
    sheet(GalaxySet(values, HSC.with_bands(("g", "r", "i"))), tmp_path / "flux.png")
    photo, flux = (pixels(tmp_path / f"{name}.png").mean(axis=2)[4:36, 4:36] for name in ("photo", "flux"))
    assert photo[:8].mean() > 200 > 50 > photo[8:].mean()
    assert flux[-8:].mean() > 50 > flux[:-8].mean()


def test_colour_needs_neither_astropy_nor_sep():
    heavy = {"astropy", "sep", "matplotlib", "hubbleflow.metrics"}
    code = f"import sys, hubbleflow.report; bad = {heavy} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- the page -----------------------------------------------------------------------------------------------------------------------------
def test_report_folder_holds_page_numbers_and_pictures(written):
    assert {path.name for path in written.iterdir()} == {"report.html", "metrics.json", "figures"}
    figures = {path.stem for path in (written / "figures").iterdir()}
    assert figures == {"heat_map", "worst", "side_by_side", "bands", "histograms", "means", "redshift"}
    for path in (written / "figures").iterdir():
        assert pixels(path).std() > 5, path.name  # something is drawn
    assert json.loads((written / "metrics.json").read_text())["metrics"]["redshift_loss"]["real"] >= 0


def test_page_needs_no_other_file_and_no_network(written):
    text = (written / "report.html").read_text()
    assert "http:" not in text and "https:" not in text and "<script" not in text and "@import" not in text and "<link" not in text
    assert not re.search(r"url\((?!#)", text)
    for _, attrs in Page(text).tags:
        for name in ("src", "href"):
            assert attrs.get(name) is None or attrs[name].startswith(("data:image/png;base64,", "#")), attrs[name]


def test_page_is_readable_without_eyes(written):
    page = Page((written / "report.html").read_text())
    assert not page.open
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("img") and all(len(attrs["alt"] or "") > 30 for attrs in page.all("img"))
    drawn = [attrs for attrs in page.all("svg") if attrs.get("role") == "img"]
    assert len(drawn) == 4 and all(len(attrs["aria-label"] or "") > 30 for attrs in drawn)
    assert len(page.all("figure")) == len(page.all("figcaption")) == 7
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1" and set(headings[1:]) == {"h2"}
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.all("th"))
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"] for attrs in page.all("a")]
    assert targets and all(target[1:] in ids for target in targets)


def test_page_reads_on_phones_paper_and_in_the_dark(written):
    text = (written / "report.html").read_text()
    assert 'name="viewport"' in text and "@media print" in text and "prefers-color-scheme: dark" in text
    assert "currentColor" in text and "#010203" not in text  # plots take the page's ink
    scrolling = [attrs for attrs in Page(text).all("div") if attrs.get("class") == "scroll"]
    assert scrolling and all(attrs["tabindex"] == "0" for attrs in scrolling)  # wide tables scroll by keyboard too


def test_page_says_what_the_json_says(written):
    page = Page((written / "report.html").read_text())
    words = " ".join(page.words).replace("\xa0", " ")
    entry = json.loads((written / "metrics.json").read_text())
    for sentence in entry["verdict"]:
        assert sentence in words
    for name, metric in entry["metrics"].items():
        assert name in words
        if metric["value"] is not None:
            assert plus_minus(metric["value"], metric["error"]) in words, name
    first = next(word for word in page.words if word.strip() and "{" not in word and "hubbleflow:" not in word)
    assert first == "Generated against real galaxies"


@pytest.mark.parametrize(
    ("options", "figures"),
    [
        ({"survey": Survey.get("hsc-i"), "redshift": False}, {"worst", "side_by_side", "bands", "histograms"}),
        (
            {"survey": Survey.get("sdss-rgb"), "redshift": False, "categories": ("edge-on", "spiral <&>")},
            {"heat_map", "worst", "side_by_side", "bands", "histograms", "means", "categories"},
        ),
    ],
    ids=["one band, no redshift", "pictures with categories"],
)
def test_other_kinds_of_sets(tmp_path, options, figures):
    page = Page(write_report(judged(**options), tmp_path, progress=False).read_text())
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == figures
    assert not page.open and "redshift_loss" in " ".join(page.words)


def test_too_few_galaxies_give_a_page_with_notes(tmp_path):
    report = evaluate(galaxies(3, 1), galaxies(2, 2), progress=False, splits=3)
    words = " ".join(Page(write_report(report, tmp_path, progress=False).read_text()).words)
    assert "usable real" in words and "No metric could be held against a floor" in words


def test_sets_of_different_bands_are_drawn_each_in_its_own(tmp_path):
    narrow = HSC.with_bands(("g", "r", "i"))
    report = evaluate(galaxies(60, 1), galaxies(60, 2, survey=narrow), progress=False, splits=3)
    words = " ".join(Page(write_report(report, tmp_path, progress=False).read_text()).words)
    assert "only those in common are compared" in words


def test_pages_are_the_same_for_the_same_sets(written, tmp_path):
    write_report(judged(), tmp_path, progress=False)
    for name in ("report.html", "metrics.json"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes(), name


def test_heat_map_shows_z_of_every_cell_worst_first(different):
    report, folder = different
    found = cells(report)
    area = report.results["w1_isophotal_area"]
    row = found.z[found.rows.index("w1_isophotal_area")]
    per_bin = area.per_bin
    expected = (np.array(per_bin["distance"][0]) - per_bin["floor"][0]) / np.array(per_bin["floor_error"][0])
    assert row == pytest.approx(expected, nan_ok=True) and found.bins == report.bins.labels
    tops = np.nanmax(found.z, axis=1)
    assert (np.diff(tops) <= 0).all()
    assert len(found.rows) == len(set(found.rows))
    words = Page((folder / "report.html").read_text()).words
    assert set(found.rows) <= set(words)  # the figure's numbers are a table, too


def test_colours_of_the_heat_map_get_darker_and_can_be_read():
    light = [luminance(colour) for colour in COLOURS]
    assert light == sorted(light, reverse=True)
    assert [COLOURS.index(colour_of(z)) for z in (-9, 1.9, 2, 4.9, 7, 19, 1e9)] == [0, 0, 1, 2, 3, 4, 5]
    for colour in COLOURS:
        bright, dark = sorted((luminance(colour), luminance(ink_on(colour))), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, colour


def test_the_worst_galaxies_say_what_is_wrong(written):
    entry = json.loads((written / "metrics.json").read_text())["worst"]
    words = " ".join(Page((written / "report.html").read_text()).words)
    assert len(entry["galaxies"]) == 10
    assert f"{entry['beyond']} of {entry['scored']} generated galaxies deviate by more than any real galaxy does" in words
    scores = [abs(galaxy["score"]) for galaxy in entry["galaxies"]]
    assert scores == sorted(scores, reverse=True)
    alt = next(a["alt"] for a in Page((written / "report.html").read_text()).all("img") if "least like real" in a["alt"])
    assert alt.count(";") == 9


def test_the_page_begins_with_what_differs_most(different):
    report, folder = different
    page = Page((folder / "report.html").read_text())
    titles = [attrs["id"] for attrs in page.all("h2")]
    assert titles[:5] == ["summary", "heat_map", "worst", "counts", "metrics"]
    first = [word for word in page.words if word in report.results]
    assert report.results[first[0]].p_corrected == min(r.p_corrected for r in report.results.values() if r.p_corrected is not None)


def test_lookback_ticks_stand_at_their_redshifts():
    with figure(4, 3) as fig:
        ax = fig.subplots()
        ax.set_xlim(0, 3)
        lookback_axis(ax)
        twin = next(other for other in fig.axes if other is not ax)
        labels = [float(label.get_text()) for label in twin.get_xticklabels()]
        assert len(labels) >= 3
        assert Planck18.lookback_time(twin.get_xticks()).value == pytest.approx(labels, abs=0.02)


def test_unwritable_folder_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        write_report(judged(survey=Survey.get("hsc-i"), redshift=False), tmp_path / "file", progress=False)
    with pytest.raises(InputError, match="may not be written|is a file"):
        write_report(None, tmp_path / "file", progress=False)  # said before anything of the report is looked at


def test_names_with_dollars_are_names(tmp_path):
    categories = ("a$\\frac$", "$x_1$ & <b>")
    text = write_report(judged(redshift=False, categories=categories), tmp_path, progress=False).read_text()
    page = Page(text)
    assert "a$\\frac$" in " ".join(page.words) and "mathdefault" not in text
    sheet(galaxies(4, 1, categories=categories), tmp_path / "sheet.png")


def test_logarithmic_axes_have_plain_numbers():
    with figure(3, 3) as fig:
        ax = fig.subplots()
        log_axis(ax)
        ax.set_ylim(0.005, 0.3)
        fig.canvas.draw()
        assert {"0.01", "0.1"} <= {label.get_text() for label in ax.get_yticklabels()}
        ax.set_ylim(0.11, 0.9)
        fig.canvas.draw()
        assert {"0.2", "0.5"} <= {label.get_text() for label in ax.get_yticklabels(which="minor")}


def test_a_set_without_one_finite_pixel_is_drawn(tmp_path):
    real = galaxies(60, 1)
    empty = GalaxySet(np.full(real.images.shape, np.nan, np.float32), HSC, {"redshift": real.redshift})
    report = evaluate(GalaxySet(real.images, HSC, real.columns), empty, progress=False, splits=3)
    assert "sky that varies" in " ".join(Page(write_report(report, tmp_path, progress=False).read_text()).words)


def test_areas_are_in_square_pixels():
    assert judged(redshift=False).described["i_isophotal_area"]["label"] == "i isophotal area (px²)"
