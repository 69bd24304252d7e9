"""Leaderboards: the rule that ranks, what is refused, and the four files."""

from __future__ import annotations

import copy
import json
import math
import re
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics import evaluate
from hubbleflow.report.leaderboard import Contender, Leaderboard
from hubbleflow.report.leaderboard_page import html, latex, markdown, sentences, tables, to_dict, write
from hubbleflow.report.table import Table
from hubbleflow.survey import Survey

BAND = Survey.get("hsc-i")


def metric(distance: float | None, floor: float | None = 0.1, error: float = 0.02, **more: Any) -> dict[str, Any]:
    z = None if distance is None or floor is None else (distance - floor) / 0.05
    judged = {
        "z": z,
        "p": None if z is None else 0.5,
        "within_floor": None if z is None else z < 2,
        "differs": None if z is None else z > 4,
    }
    value = {"value": distance, "error": error, "distance": distance, "floor": floor, "floor_error": 0.05, "better": "low", "unit": ""}
    return value | judged | more


def report(name: str, metrics: dict[str, Any], n: int = 100, sky: str = "a" * 64, **more: Any) -> dict[str, Any]:
    generated = {"n": n, "flagged": 3, "flagged_fraction": 0.03, "content_hash": "b" * 64, "recipe": "r", "model": name}
    real = {"n": 400, "flagged": 4, "flagged_fraction": 0.01, "content_hash": sky, "recipe": "r"}
    return {"format": 1, "real": real, "generated": generated, "metrics": metrics, "notes": []} | more


def board(*reports: dict[str, Any], **more: Any) -> Leaderboard:
    contenders = (Contender(found["generated"]["model"], Path(f"report_{place}"), found) for place, found in enumerate(reports))
    return Leaderboard(tuple(contenders), **more)


def saved(folder: Path, name: str, content: dict[str, Any]) -> Path:
    (folder / name).mkdir()
    (folder / name / "metrics.json").write_text(json.dumps(content))
    return folder / name


NEAR = {"w1_size": metric(0.1), "w1_magnitude": metric(0.4), "noise_rms": metric(0.2)}
FAR = {"w1_size": metric(0.8), "w1_magnitude": metric(0.4), "noise_rms": metric(0.1)}


# -- the rule -----------------------------------------------------------------------------------------------------------------------------
def test_score_is_the_mean_logarithm_of_distance_over_floor():
    first, second = board(report("far", FAR), report("near", NEAR)).standings()
    assert (first.contender.name, first.rank, second.contender.name, second.rank) == ("near", 1, "far", 2)
    assert first.score == pytest.approx(np.log([1, 4, 2]).mean()) and second.score == pytest.approx(np.log([8, 4, 1]).mean())
    assert first.error == pytest.approx(np.mean([0.02 / 0.1, 0.02 / 0.4, 0.02 / 0.2]))
    assert (first.judged, first.within, first.differ) == (3, 1, 1) and (second.within, second.differ) == (1, 2)


def test_only_metrics_that_all_have_are_counted():
    more = NEAR | {"redshift_loss": metric(9.0), "condition_spearman": metric(None, None), "novelty_a": metric(0.3, 0.0)}
    one = board(report("near", more), report("far", FAR | {"w1_other": metric(0.2)}))
    assert one.ranked_by() == ["w1_size", "w1_magnitude", "noise_rms"]
    assert one.standings()[0].score == board(report("near", NEAR), report("far", FAR)).standings()[0].score
    left_out = next(note for note in one.notes() if note.startswith("not in the score"))
    assert {"redshift_loss", "novelty_a", "w1_other"} <= set(re.split(r"[ ,]+", left_out))


def test_a_distance_of_zero_counts_as_a_tenth_of_the_floor():
    zero = board(report("a", {"m_x": metric(0.0)}), report("b", {"m_x": metric(0.005)})).standings()
    assert [standing.score for standing in zero] == pytest.approx([math.log(0.1)] * 2) and [s.rank for s in zero] == [1, 1]


def test_all_within_chance_are_nearest_and_else_the_least_distance():
    one = board(report("near", NEAR), report("far", FAR))
    assert [contender.name for contender in one.nearest("w1_size")] == ["near"]
    assert [contender.name for contender in one.nearest("w1_magnitude")] == ["near", "far"]  # equal
    chance = board(report("a", {"m_x": metric(0.11)}), report("b", {"m_x": metric(0.05)}), report("c", {"m_x": metric(0.9)}))
    assert [contender.name for contender in chance.nearest("m_x")] == ["a", "b"]


def test_a_comparison_that_should_be_high_is_turned_round():
    one = board(*(report(name, {"coverage": metric(value, 0.8, better="high")}) for name, value in (("a", 0.2), ("b", 0.4))))
    assert [standing.score for standing in one.standings()] == pytest.approx([math.log(2), math.log(4)])
    assert [contender.name for contender in one.nearest("coverage")] == ["a", "b"]  # both within chance: z < 2
    far = board(*(report(n, {"c_x": metric(v, 0.8, better="high", within_floor=False)}) for n, v in (("a", 0.2), ("b", 0.4))))
    assert [contender.name for contender in far.nearest("c_x")] == ["b"]
    described = board(*(report(n, {"c_x": metric(v, 0.1, better="high", real=0.9)}) for n, v in (("a", 0.2), ("b", 0.4))))
    assert described.standings()[0].contender.name == "a"  # of a number of one set the distance from the real set's counts


def test_without_a_floor_the_better_way_decides():
    values = [{"c_x": metric(None, None, value=value, better="high")} for value in (0.2, 0.9)]
    one = board(report("a", values[0]), report("b", values[1]))
    assert [contender.name for contender in one.nearest("c_x")] == ["b"]
    assert one.ranked_by() == [] and "cannot be ranked" in sentences(one)[0] and "nan" not in markdown(one)


# -- words --------------------------------------------------------------------------------------------------------------------------------
def test_sentences_say_who_by_how_much_and_where_not():
    said = sentences(board(report("far", FAR), report("near", NEAR)))
    assert said[0] == "near is nearest to the real galaxies: mean ln(distance / floor) is 0.69 ± 0.12 over 3 metrics, far 1.155 ± 0.092."
    assert said[1] == "Within the scatter of real against real (z < 2): near in 1 of 3 metrics, far in 1 of 3 metrics."
    assert said[2] == "near is not the nearest in noise_rms (far)."


def test_generators_within_the_errors_are_called_level():
    close = {name: found | {"error": 0.1} for name, found in NEAR.items()}
    said = sentences(board(report("far", FAR), report("near", close)))
    assert said[1] == "Within the errors, near and far are level."


def test_what_a_reader_must_know_is_noted():
    judged = [report("a", NEAR, n=n, notes=[f"redshifts read by {who}", "something else"]) for n, who in ((100, "x"), (900, "y"))]
    notes = " ".join(board(judged[0], {**judged[1], "generated": judged[1]["generated"] | {"model": "b"}}).notes())
    assert "100 of a, 900 of b" in notes and "a: redshifts read by x; b: redshifts read by y" in notes and "something else" not in notes
    assert board(report("a", NEAR), report("b", FAR)).notes() == []


# -- tables -------------------------------------------------------------------------------------------------------------------------------
def test_families_stand_together_and_lone_metrics_at_the_end():
    metrics = {name: metric(0.2, unit="mag" if name == "w1_a" else "") for name in ("flag_x", "w1_a", "noise_a", "w1_b", "noise_b")}
    metrics |= {f"redshift_{number}": metric(0.2) for number in range(6)}
    found = tables(board(report("a", metrics), report("b", metrics)))
    assert [table.title for table in found] == ["Ranking", "W1", "Noise", "Redshift (1 of 2)", "Redshift (2 of 2)", "Other metrics"]
    assert found[1].head == ("", "w1_a (mag)", "w1_b") and len(found[3].head) == len(found[4].head) == 4
    assert [row[0] for row in found[1].rows] == ["real against real", "a", "b"]


def test_cells_are_value_error_and_z_and_the_nearest_is_marked():
    more = {"w1_size": metric(0.8), "w1_magnitude": metric(0.4, z=None), "noise_rms": metric(0.1, real=0.25, value=0.35)}
    one = board(report("near", NEAR), report("far", more | {"redshift_x": metric(None)}))
    found = {table.title: table for table in tables(one)}
    assert found["W1"].rows[1] == ("near", "0.100 ± 0.020 (z 0.0)", "0.400 ± 0.020 (z 6.0)")
    assert found["W1"].rows[2][2] == "0.400 ± 0.020 (z ∞)"  # a file has no infinity: it says null
    assert found["W1"].best == {(1, 0), (1, 1), (2, 1)}
    other = found["Other metrics"]
    assert other.rows[0] == ("real galaxies", "-") or other.rows[0][0] == "real against real"
    assert "redshift_x" not in " ".join(other.head)


def test_li_2024s_figure_5_is_the_log_ratio_of_the_kl_losses():
    def with_kl(name: str, distance: float, cells: list[float | None], bins: tuple[str, ...] = ("z 0-1", "z 1-2")) -> dict[str, Any]:
        per_bin = {"bins": list(bins), "edges": [0.0, 1.0, 2.0], "quantities": ["i_ellipticity"], "value": [cells], "error": [[0.0, 0.02]]}
        return report(name, {"galaxy_kl": metric(distance, per_bin=per_bin)})

    cvae, ddpm = with_kl("cvae", 0.4, [0.1, 0.8]), with_kl("ddpm", 0.2, [0.3, 0.2])
    table = tables(board(cvae, ddpm))[-1]
    assert table.title == "ddpm against cvae" and table.head == ("", "z 0-1", "z 1-2")
    (first, second), error = table.rows[0][1:], math.hypot(0.02 / 0.2, 0.02 / 0.8)
    assert float(first) == pytest.approx(math.log(3), abs=0.006)
    assert second == f"{-math.log(4):.2f} ± {error:.2f}"
    assert "Li et al. 2024, fig. 5" in table.caption
    other = with_kl("other", 0.9, [0.1, None])
    assert tables(board(ddpm, other))[-1].rows[0][2] == "-"
    assert tables(board(ddpm, with_kl("b", 0.9, [0.1, 0.1], ("z 0-1", "z 1-3"))))[-1].title != "ddpm against b"


def test_latex_has_booktabs_and_no_bare_specials():
    text = latex(board(report("50 % & co_1", NEAR), report("x#2 {y} \\z", FAR)))
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == text.count(r"\begin{tabular}") == 3
    for tabular in re.findall(r"\\begin\{tabular\}\{(l+r+)\}\n(.*?)\\end\{tabular\}", text, flags=re.DOTALL):
        rows = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 3 and {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(tabular[0]) - 1}
    assert r"50 \% \& co\_1" in text and r"x\#2 \{y\} \textbackslash{}z" in text
    assert r"\textbf{\boldmath 0.69 $\pm$ 0.12}" in text
    assert text.isascii()
    assert not re.search(r"(?<!\\)[%#_]", text.split("\n", 1)[1])


def test_markdown_columns_stand_in_line_whatever_the_names_are():
    text = markdown(board(report("a|b", NEAR), report("c", FAR)))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert r"a\|b" in text and all(line.endswith("|") for line in lines)
    assert "**0.69 ± 0.12** |" in text


def test_html_is_marked_for_eyes_and_for_ears():
    text = Table("T", ("", "x"), (("a <b>", "1 & 2"), ("c", "3")), best=frozenset({(0, 0)})).html()
    assert (
        '<td><strong>1 &amp; 2</strong><span class="unseen"> (best)</span></td>' in text and "a &lt;b&gt;" in text and "<td>3</td>" in text
    )


# -- reading ------------------------------------------------------------------------------------------------------------------------------
def test_names_come_from_the_option_the_report_or_the_folder(tmp_path):
    a, b = (saved(tmp_path, name, report(name, NEAR)) for name in ("one", "two"))
    nameless = copy.deepcopy(report("three", FAR))
    del nameless["generated"]["model"]
    c = saved(tmp_path, "my_run", nameless)
    inner = saved(saved(tmp_path, "edm_3h", nameless), "report", nameless)
    assert [x.name for x in Leaderboard.read([a, b / "metrics.json", c, inner]).contenders] == ["one", "two", "my_run", "edm_3h"]
    assert [x.name for x in Leaderboard.read([a, b], ["x", "y"]).contenders] == ["x", "y"]
    twice = [x.name for x in Leaderboard.read([a, a, b]).contenders]
    assert len(set(twice)) == 3 and twice[2] == "two" and all("one" in name for name in twice[:2])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "isn't JSON"),
        ("[1, 2]", "no metrics of a real and a generated set"),
        ('{"metrics": {}}', "no metrics of a real and a generated set"),
    ],
)
def test_what_is_no_report_is_one_sentence(tmp_path, content, sentence):
    good = saved(tmp_path, "good", report("good", NEAR))
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(InputError, match=sentence):
        Leaderboard.read([good, tmp_path / "bad.json"])
    with pytest.raises(InputError, match="holds no report"):
        Leaderboard.read([good, tmp_path / "nowhere"])
    with pytest.raises(InputError, match="two reports at least, got 1"):
        Leaderboard.read([good])
    with pytest.raises(InputError, match="got 1 names for 2 reports"):
        Leaderboard.read([good, good], ["x"])


def test_different_real_sets_are_refused_unless_forced(tmp_path):
    one, other = saved(tmp_path, "one", report("one", NEAR)), saved(tmp_path, "other", report("other", FAR, sky="c" * 64))
    with pytest.raises(InputError, match="different real sets .*aaaaaaaa.*cccccccc.*--force"):
        Leaderboard.read([one, other])
    forced = Leaderboard.read([one, other], force=True)
    assert len(forced.standings()) == 2 and "different real sets" in markdown(forced) and "different real sets" in html(forced)
    old = report("old", NEAR)
    del old["real"]["content_hash"]
    with pytest.raises(InputError, match="old doesn't say on which real set .*--force"):
        Leaderboard.read([one, saved(tmp_path, "old", old)])
    measured = report("measured", NEAR)
    measured["real"]["recipe"] = "another"
    with pytest.raises(InputError, match="different measurements of the real set"):
        Leaderboard.read([one, saved(tmp_path, "measured", measured)])


# -- the command, on reports as evaluate writes them --------------------------------------------------------------------------------------
def galaxies(n: int, seed: int, shift: float = 0.0, model: str = "") -> GalaxySet:
    rng = np.random.default_rng(seed)
    z = rng.uniform(0, 1, n)
    measured = {"i_mag": 20 + z + rng.normal(shift, 0.5, n), "i_ellipticity": rng.beta(2, 3 + 4 * shift, n), "flag": np.zeros(n, int)}
    images = rng.normal(0, 0.05, (n, 1, 16, 16)).astype(np.float32)
    return GalaxySet(images, BAND, {"redshift": z}, measured=measured, provenance={"model": model} if model else {})


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    real, other = galaxies(300, 1), galaxies(300, 9)
    for name, sky, made in (
        ("good", real, galaxies(150, 2, model="flow")),
        ("poor", real, galaxies(150, 3, 0.8, model="cvae")),
        ("elsewhere", other, galaxies(150, 2, model="flow")),
    ):
        saved(folder, name, evaluate(sky, made, progress=False, splits=6).to_dict())
    return folder


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "hubbleflow", "compare", *words], capture_output=True, text=True, cwd=cwd, timeout=120)


def test_command_writes_all_four_and_prints_the_markdown(folders):
    done = command("poor", "good", "--out", "boards/leaderboard", cwd=folders)
    assert done.returncode == 0, done.stderr
    paths = [folders / "boards" / f"leaderboard{ending}" for ending in (".html", ".md", ".tex", ".json")]
    assert all(path.is_file() for path in paths) and len(list((folders / "boards").iterdir())) == 4
    assert done.stdout.startswith(paths[1].read_text())
    assert done.stdout.startswith("flow is nearest to the real galaxies")
    entry = json.loads(paths[3].read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert [(g["name"], g["rank"]) for g in entry["generators"]] == [("flow", 1), ("cvae", 2)]
    assert entry["generators"][1]["metrics"]["w1_magnitude"]["differs"] and entry["real"]["n"] == 300
    assert entry["metrics"]["w1_magnitude"] == {"family": "w1", "ranked_by": True, "nearest": ["flow"]}
    page = paths[0].read_text()
    assert "flow against cvae" in page and "http" not in page and "<script" not in page
    assert all(escape(sentence) in page for sentence in entry["sentences"])


def test_command_refuses_and_forces(folders):
    refused = command("good", "elsewhere", cwd=folders)
    assert refused.returncode == 2 and refused.stdout == "" and refused.stderr.count("\n") == 1
    forced = command("good", "elsewhere", "--force", "--name", "A", "--name", "B", cwd=folders)
    assert forced.returncode == 0 and "different real sets" in forced.stdout and "| A " in forced.stdout
    assert not list(folders.glob("*.html"))  # nothing is written where no --out is given


def test_same_reports_same_bytes(folders, tmp_path):
    read = Leaderboard.read([folders / "good", folders / "poor"])
    first, again = write(read, tmp_path / "a.html"), write(read, tmp_path / "b")
    assert [path.name for path in first] == ["a.html", "a.md", "a.tex", "a.json"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert to_dict(read)["generators"][0]["score"] == read.standings()[0].score
