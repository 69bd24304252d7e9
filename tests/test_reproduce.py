"""Reproducing papers: their numbers stand as printed, stages are done once, and what is small, missing or not ahead is said."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.models import model_names, model_of
from hubbleflow.reproduce import PAPERS, SIDE_BY_SIDE, Column, Comparison, Entry, Paper, Settings, find_paper, reproduce, run
from hubbleflow.reproduce.contestant import Contestant
from hubbleflow.reproduce.cost import estimate, in_words
from hubbleflow.reproduce.paper import REAL
from hubbleflow.reproduce.stages import Stages
from hubbleflow.simulate import simulate
from hubbleflow.training import Recipe, Training
from test_cli import hubbleflow, refused

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / "examples" / "07_own_model.py"


# -- papers ----------------------------------------------------------------------------------------------------------------------
def test_the_numbers_of_li_2024s_table_1() -> None:
    table = {column.title: column.published for column in PAPERS["li2024"].columns if column.published}
    assert table == {
        "galaxy KL loss": {"li2024-cvae": 0.23, "li2024-ddpm": 0.22},
        "galaxy fitting loss": {REAL: 4.92, "li2024-cvae": 10.2, "li2024-ddpm": 5.32},
        "redshift loss": {REAL: 0.072, "li2024-cvae": 0.59, "li2024-ddpm": 0.62},
        "IS": {REAL: 1.72, "li2024-cvae": 1.55, "li2024-ddpm": 1.87},
        "FID": {REAL: 1.70, "li2024-cvae": 123.0, "li2024-ddpm": 98.8},
    }
    assert PAPERS["li2024"].asked == "uniform" and PAPERS["li2024"].between == (0.001, 4.0)
    assert PAPERS["lizarraga2024"].asked == "test"


def test_no_number_is_claimed_that_was_not_seen() -> None:
    assert not PAPERS["fan2025"].published and not PAPERS["lizarraga2024"].published
    assert any("none of its tables is claimed" in remark.replace("\n", " ") for remark in PAPERS["fan2025"].remarks)


def test_papers_are_found_by_name_and_by_model() -> None:
    for name, key in (
        ("li2024", "li2024"),
        ("li2024-ddpm", "li2024"),
        ("li2024-cvae", "li2024"),
        ("li2024-redshift-cnn", "li2024"),
        ("lizarraga2024", "lizarraga2024"),
        ("galcatdiff", "fan2025"),
    ):
        assert find_paper(name).key == key
    with pytest.raises(InputError, match="no paper 'smith2022' is known: choose one of lizarraga2024, li2024, fan2025"):
        find_paper("smith2022")
    for paper in (*PAPERS.values(), SIDE_BY_SIDE):
        assert {*paper.models, paper.judge} <= set(model_names())


# -- stages ----------------------------------------------------------------------------------------------------------------------
def test_a_stage_is_done_once_and_again_when_what_it_is_made_of_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []

    def both(first: int, second: int, last: int) -> None:
        stages = Stages(tmp_path, 2)
        one = stages.run("one", "the first", [first], lambda fingerprint: (tmp_path / "made").write_text(str(len(done))), tmp_path / "made")
        stages.run("two", "the second", [one, second, last], lambda fingerprint: done.append(fingerprint))

    both(1, 1, 1)
    both(1, 1, 1)
    assert len(done) == 1
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] the first",
        "[2/2] the second",
        "[1/2] the first: done before",
        "[2/2] the second: done before",
    ]
    both(1, 2, 1)
    both(2, 2, 1)  # the second stands on the first
    assert len(done) == 3 == len(set(done))
    (tmp_path / "made").unlink()
    both(2, 2, 1)
    assert (tmp_path / "made").exists() and len(done) == 3


def test_a_stage_that_fails_is_not_done(tmp_path: Path) -> None:
    def fail(fingerprint: str) -> None:
        raise KeyboardInterrupt

    done: list[str] = []
    Stages(tmp_path, 1).run("one", "the first", [1], done.append)
    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path, 1).run("one", "the first", [2], fail)
    Stages(tmp_path, 1).run("one", "the first", [2], done.append)
    assert len(done) == 2
    (tmp_path / "stages.json").write_text('{"one"')
    with pytest.raises(InputError, match="is damaged"):
        Stages(tmp_path, 1)


# -- the comparison --------------------------------------------------------------------------------------------------------------
def found(value: float, distance: float | None = None, z: float = 3.0, **more: Any) -> dict[str, Any]:
    return {
        "value": value,
        "error": 0.02,
        "floor": 0.1,
        "floor_error": 0.03,
        "distance": value if distance is None else distance,
        "z": z,
        **more,
    }


def entry(name: str, small: bool = False, **metrics: dict[str, Any]) -> Entry:
    report = {"metrics": metrics, "generated": {"flagged_fraction": 0.125}, "quantities": {}, "verdict": ["Good.", "Bad.", "Followed."]}
    return Entry(name, f"{name} (small)" if small else name, 1_234_567, 100, 16, 30.0, 1000, report)


def compared(*entries: Entry, paper: Paper = PAPERS["li2024"]) -> Comparison:
    return Comparison(paper, entries, ("Galaxies: few",))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_papers_rows_stand_under_ours_and_beside_the_floor() -> None:
    comparison = compared(
        entry("li2024-ddpm", True, galaxy_kl=found(0.5), redshift_loss=found(0.4, 0.1, real=0.3)),
        entry("edm", galaxy_kl=found(0.2, z=1.5)),
    )
    lines = comparison.main_table().markdown().splitlines()
    assert len({len(line) for line in lines}) == 1
    rows = {cells(line)[0]: cells(line)[1:] for line in lines}
    assert cells(lines[0])[1:4] == ["galaxy KL loss", "galaxy fitting loss", "redshift loss"]
    assert rows["real galaxies"][:3] == ["-", "-", "0.3"]
    assert rows["real galaxies, in the paper"] == ["-", "4.92", "0.072", "1.72", "1.7", "-"]
    assert rows["real against real"][0] == "0.100 ± 0.030"
    assert rows["li2024-ddpm (small)"][:3] == ["0.500 ± 0.020 (z 3.0)", "-", "0.400 ± 0.020 (z 3.0)"]
    assert rows["li2024-ddpm, in the paper"] == ["0.22", "5.32", "0.62", "1.87", "98.8", "-"]
    assert rows["edm"][0] == "0.200 ± 0.020 (z 1.5)" and "edm, in the paper" not in rows
    html = comparison.main_table().html()
    assert html.count("<tr>") == len(lines) - 1 and '<th scope="row">li2024-ddpm (small)</th>' in html
    assert "li2024-ddpm (small)" in comparison.trained_table().markdown() and "12.5 %" in comparison.trained_table().markdown()


def test_where_ours_does_not_lead_is_said() -> None:
    better = entry("li2024-ddpm", True, galaxy_kl=found(0.2), redshift_loss=found(0.4, 0.2))
    assert compared(better, entry("edm", galaxy_kl=found(0.1), redshift_loss=found(0.3, 0.1))).sentences() == [
        "Nearest to the real galaxies: edm in galaxy KL loss, redshift loss.",
        "edm is nearest in every column.",
    ]
    said = compared(better, entry("edm", galaxy_kl=found(0.21), redshift_loss=found(0.9, 0.5))).sentences()
    assert said[0] == "Nearest to the real galaxies: li2024-ddpm (small) in galaxy KL loss, redshift loss."
    assert said[1] == (
        "edm is level, within the errors, in galaxy KL loss (0.210 ± 0.020, li2024-ddpm (small) 0.200 ± 0.020); "
        "it is behind in redshift loss (0.900 ± 0.020, li2024-ddpm (small) 0.400 ± 0.020)."
    )
    lacking = compared(better, entry("edm", galaxy_kl=found(0.1), redshift_loss={"value": None, "note": "no redshifts"}))
    assert lacking.sentences()[1] == "edm has no value in redshift loss."
    assert "No redshift loss of edm: no redshifts" in lacking.notes()
    assert compared(better).sentences() == []


@pytest.mark.parametrize(
    ("cvae", "ddpm", "verdict"),
    [
        (found(0.4, z=9.0), found(0.1, z=1.0), "DDPM's, holds."),
        (found(0.4, z=9.0), found(0.2, z=4.0), "holds in its direction"),
        (found(0.1, z=1.0), found(0.1, z=1.0), "cannot be seen here"),
        (found(0.1, z=1.0), found(0.4, z=9.0), "is contradicted"),
        (found(0.2, z=4.0), found(0.4, z=9.0), "is contradicted"),
    ],
)
def test_li_2024s_finding_about_the_sky(cvae: dict[str, Any], ddpm: dict[str, Any], verdict: str) -> None:
    said = compared(entry("li2024-cvae", noise_correlation=cvae), entry("li2024-ddpm", noise_correlation=ddpm)).sentences()
    assert verdict in said[-1]


def test_numbers_per_bin() -> None:
    per_bin = {"bins": ["E", "S"], "quantities": ["g_r", "r_i"], "value": [[0.2, None], [0.4, 0.3]], "floor": [[0.1, 0.1], [0.1, 0.3]]}
    fan = compared(entry("galcatdiff", category_colour=found(0.3, per_bin=per_bin)), paper=PAPERS["fan2025"])
    table = next(table for table in fan.tables() if table.title == "Colour in each category")
    assert table.rows == (("E", "0.1", "0.3"), ("S", "0.2", "0.3"))
    means = {which: {"mean": [0.4, 0.5], "low": [0.35, None], "high": [0.45, None]} for which in ("real", "generated")}
    described = {"i_ellipticity": {"label": "i ellipticity", "means": {"bins": ["z 0-1", "z 1-2"], **means}}}
    edm = entry("edm")
    lizarraga = compared(replace(edm, report={**edm.report, "quantities": described}), paper=PAPERS["lizarraga2024"])
    table = next(table for table in lizarraga.tables() if table.title == "Mean i ellipticity at each redshift")
    assert table.rows == (("z 0-1", "0.400 ± 0.050", "0.400 ± 0.050"), ("z 1-2", "0.5", "0.5"))


# -- cost ------------------------------------------------------------------------------------------------------------------------
def galaxies(n: int = 300, size: int = 32) -> GalaxySet:
    """Galaxies that are fainter and smaller at high redshift."""
    from test_models_command import blobs

    return blobs(n, size)


def test_the_cost_is_that_of_the_steps() -> None:
    recipe = Recipe(steps=100, batch_size=10, arguments={})
    training, drawing = estimate(galaxies(8), recipe, 50)
    assert training > 0 and math.isclose(drawing / training, 50 * 10 / 3 / 1000)
    assert estimate(galaxies(8), replace(recipe, steps=None, minutes=2.0), 50)[0] == 120
    assert [in_words(seconds) for seconds in (60, 7200, 86400 * 30, 1e9)] == ["1 minutes", "2 hours", "30 days", "32 years"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"scale": "tiny"}, "unknown scale 'tiny': choose one of paper, small"),
        ({"minutes": -1.0}, "minutes must be positive"),
        ({"n": 0}, "n must be positive"),
        ({"test": Path("test.h5")}, "none to train on"),
    ],
)
def test_settings_that_are_wrong(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Settings(**wrong)


def test_the_budgets() -> None:
    assert Settings().budget == 30.0 and Settings(minutes=2).budget == 2
    assert Settings(scale="paper").budget is None and Settings(scale="paper", minutes=5).budget == 5


# -- the run ---------------------------------------------------------------------------------------------------------------------
QUICK = Paper(
    "quick",
    "this test",
    (),
    "li2024-redshift-cnn",
    "redshift",
    "test",
    (Column("galaxy_kl", "galaxy KL loss", {"eigen-galaxies": 0.22}), Column("w1_isophotal_area", "isophotal area")),
    source="nowhere",
)


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(simulate(tmp_path_factory.mktemp("sky") / "sky.h5", 300, seed=1, image_size=32, progress=False).path or "")


def test_a_model_takes_part_on_another_stretch_too(sky: Path, tmp_path: Path) -> None:
    settings = Settings(minutes=0.02, n=24, steps=2, others=("li2024-cvae", "li2024-cvae:asinh"), data=sky, pace={"li2024-cvae": 0.3})
    found = reproduce(replace(QUICK, models=()), tmp_path, settings)
    assert [entry.title for entry in found.entries] == ["li2024-cvae (small)", "li2024-cvae (small), asinh"]
    assert [entry.steps for entry in found.entries] == [4, 4]  # one pace for one network
    stretches = [
        json.loads((tmp_path / name / "model" / "config.json").read_text())["stretch"] for name in ("li2024-cvae", "li2024-cvae-asinh")
    ]
    assert [stretch["name"] for stretch in stretches] == ["none", "asinh"]
    assert "Not the published stretch of the flux" in found.markdown()


@pytest.mark.parametrize(
    ("text", "model", "stretch"),
    [("edm", "edm", None), ("edm:none", "edm", "none"), (f"{OWN}:asinh", "eigen-galaxies", "asinh"), (str(OWN), "eigen-galaxies", None)],
)
def test_a_contestant_in_words(text: str, model: str, stretch: str | None, forget_models: object) -> None:
    found = Contestant.parse(text)
    assert (found.model, found.stretch) == (model, stretch) and found.key == (f"{model}-{stretch}" if stretch else model)


def test_a_contestant_that_is_none() -> None:
    for text, words in (("edm:log", "unknown stretch 'log' in 'edm:log': choose one of asinh"), ("gan:asinh", "unknown model 'gan'")):
        with pytest.raises(InputError, match=words):
            Contestant.parse(text)
    with pytest.raises(InputError, match="reads galaxies and cannot draw them"):
        Contestant.parse("category-cnn:asinh")


class Stopped(Exception):
    """The run was killed here."""


def test_a_killed_run_goes_on_where_it_ended(
    sky: Path, tmp_path: Path, forget_models: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    own = model_of(str(OWN))
    monkeypatch.setattr(own, "defaults", replace(own.defaults, batch_size=16))
    monkeypatch.setattr(run, "PART", 16)
    settings = Settings(minutes=0.04, n=40, seed=3, others=(own.name,), data=sky)

    def killed_in_training(learn: GalaxySet, folder: Path, recipe: Recipe, **more: Any) -> None:
        if recipe.model != own.name:
            return train(learn, folder, recipe, **more)
        training = Training(learn, folder, recipe)
        for step in training.run():
            if step.number == 3:
                break
        training.save()
        raise Stopped

    train = run.train
    monkeypatch.setattr(run, "train", killed_in_training)
    with pytest.raises(Stopped):
        reproduce(QUICK, tmp_path, settings)
    monkeypatch.setattr(run, "train", train)

    parts: list[int] = []
    generate = Generator.generate

    def killed_in_drawing(self: Generator, *words: Any, **more: Any) -> GalaxySet:
        if len(parts) == 2:
            parts.append(-1)
            raise Stopped
        parts.append(more["offset"])
        return generate(self, *words, **more)

    monkeypatch.setattr(Generator, "generate", killed_in_drawing)
    with pytest.raises(Stopped):
        reproduce(QUICK, tmp_path, settings)
    assert "at step 3" in capfd.readouterr().err
    found = reproduce(QUICK, tmp_path, settings)
    assert parts == [0, 16, -1, 32] and not list(tmp_path.glob("*/parts-*"))
    said = capfd.readouterr().err
    assert "train eigen-galaxies for 0.04 minutes: done before" in said and re.search(r"draw 40 galaxies with eigen-galaxies$", said, re.M)

    made, test = GalaxySet.open(tmp_path / own.name / "generated.h5"), GalaxySet.open(tmp_path / "test.h5")
    generator = Generator.load(tmp_path / own.name / "model")
    once = generator.sample({"redshift": made.redshift}, seed=3, extrapolate=True)
    assert np.allclose(made.images[:], once.images, atol=1e-4) and made.columns["object_id"].tolist() == list(range(40))
    assert set(made.redshift) <= set(test.redshift) and len(test) == 60 and test.psf is None
    assert "i_sersic_index" in made.measured and made.recipe == test.recipe
    assert not set(test.columns["object_id"]) & set(GalaxySet.open(sky).split(run.SHARES, 3)[0].columns["object_id"])
    rows = {row[0]: row[1:] for row in found.main_table().rows}
    assert rows["eigen-galaxies, in the paper"] == ("0.22", "-") and "eigen-galaxies" in rows

    # All of it once more: nothing is done.
    reproduce(QUICK, tmp_path, settings)
    lines = [line for line in capfd.readouterr().err.splitlines() if re.match(r"\[\d", line)]
    assert lines and all(line.endswith(": done before") for line in lines)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="begun with seed 3: choose another folder"):
        reproduce(QUICK, tmp_path, replace(settings, seed=4))
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def li(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """`hubbleflow reproduce li2024`, with as little as it takes to be measured."""
    folder = tmp_path_factory.mktemp("li")
    words = ("--galaxies", 220, "--minutes", 0.02, "--n", 24, "--steps", 2, "--with", "none")
    done = hubbleflow("reproduce", "li2024", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "reproduce_li2024", done.stdout, done.stderr


def test_reproduce_leaves_what_it_promises(li: tuple[Path, str, str]) -> None:
    folder, said, lines = li
    found = json.loads((folder / "reproduce.json").read_text())
    assert [model["title"] for model in found["models"]] == ["li2024-ddpm (small)", "li2024-cvae (small)"]
    assert found["paper"] == "li2024" and found["scale"] == "small" and found["models"][0]["drawn_in"] == 2
    assert "li2024-ddpm, in the paper" in said and "98.8" in said and said.strip().endswith("reproduce.html")
    assert "li2024-ddpm (small) (batches of 16 at 0.0003, published 32 at 1e-05), li2024-cvae (small) (batches of 32" in said
    assert "Not the published sampler: li2024-ddpm (small) drew in 2 steps" in said
    assert re.findall(r"^\[\d+/10\]", lines, re.M) == [f"[{number}/10]" for number in range(1, 11)]
    made = GalaxySet.open(folder / "li2024-ddpm" / "generated.h5")
    assert len(made) == 24 and 0.001 <= made.redshift.min() < 1 < made.redshift.max() <= 4
    assert made.provenance["model"] == "li2024-ddpm (small)" and "psf" not in made.columns
    assert (folder / "reproduce.md").read_text().endswith(said.rsplit("\n", 3)[0].strip().splitlines()[-1] + "\n")


def test_the_page_stands_alone_and_has_the_papers_figures(li: tuple[Path, str, str]) -> None:
    page = (li[0] / "reproduce.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and page.count("data:image/png;base64,") >= 4
    assert 'src="http' not in page and 'href="http' not in page and "<script" not in page
    assert "li2024-cvae (small)" in page and page.count("<table>") == page.count("</table>") >= 2
    targets, anchors = set(re.findall(r'href="#([^"]+)"', page)), set(re.findall(r'id="([^"]+)"', page))
    assert targets and targets <= anchors
    assert (li[0] / "li2024-cvae" / "report" / "report.html").exists()


def test_a_set_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing.h5"):
        reproduce(QUICK, tmp_path / "out", Settings(data=tmp_path / "missing.h5"))
    assert not list(tmp_path.iterdir())


def test_a_pace_turns_minutes_into_steps(sky: Path, tmp_path: Path) -> None:
    settings = Settings(minutes=2.0, data=sky, pace={"edm": 0.5, "judge": 0.25})
    made = run.Reproduction(QUICK, tmp_path, settings)
    assert (made.recipes()["edm"].steps, made.recipes()["edm"].minutes) == (240, None)
    assert (made.recipes()["judge"].steps, made.recipes()["judge"].minutes) == (480, None)
    assert made._recipe(Contestant("li2024-cvae")).minutes == 2.0


def test_a_model_that_does_not_exist() -> None:
    assert "unknown model 'gan'" in refused("reproduce", "li2024", "--with", "gan")


def test_a_model_that_reads_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'category-cnn' reads galaxies and cannot draw them"):
        reproduce(QUICK, tmp_path, Settings(others=("category-cnn",)))


def test_the_table_of_the_documentation_is_made_by_one_command(tmp_path: Path) -> None:
    document = tmp_path / "papers.md"
    document.write_text((ROOT / "docs" / "papers.md").read_text())
    words = (
        "--document",
        document,
        "--minutes",
        0.02,
        "--galaxies",
        200,
        "--n",
        24,
        "--steps",
        2,
        "--timed",
        0.1,
        "--models",
        "li2024-cvae,edm",
    )
    command = [sys.executable, str(ROOT / "bench" / "papers.py"), *map(str, words)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    written = document.read_text()
    section = written.partition("<!-- redshift -->")[2].partition("<!-- /redshift -->")[0]
    rows = [cells(line)[0] for line in section.splitlines() if line.startswith("|")]
    assert {"real against real", "li2024-cvae (small)", "li2024-cvae, in the paper", "edm"} <= set(rows)
    head = cells(next(line for line in section.splitlines() if "galaxy KL loss" in line))
    assert head[1:8] == [
        "galaxy KL loss",
        "galaxy fitting loss",
        "redshift loss",
        "ellipticity",
        "semi-major axis",
        "Sersic index",
        "isophotal area",
    ]
    assert written.partition("<!-- redshift -->")[0] == (ROOT / "docs" / "papers.md").read_text().partition("<!-- redshift -->")[0]
    assert "<!-- category -->" in written and str(tmp_path) not in written
