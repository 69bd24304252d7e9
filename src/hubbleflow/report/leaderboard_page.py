"""A leaderboard as words and tables: a page, Markdown, LaTeX and JSON, all of the same numbers."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path, without_nan, write_json
from hubbleflow.metrics.galaxy_kl import log_ratio
from hubbleflow.report.document import DASH, document, number
from hubbleflow.report.leaderboard import Leaderboard, Standing, family
from hubbleflow.report.table import Table, plus_minus

COLUMNS = 5  # of metrics in one table: what a page of paper holds
ENDINGS = (".html", ".md", ".tex", ".json")
SCORE = "mean ln(distance / floor)"
READING = (
    "The score is the mean, over the metrics that every generator has, of ln(distance / floor): the distance from the real galaxies over "
    "that of real galaxies from each other at the same sizes (the other way round where high is better). 0 is as near as they are, 0.69 "
    "twice as far. Its error is what it would be if the errors of all metrics went up and down together.",
    "Cells are value ± error, and z: how far the distance lies above its floor, in units of the floor's scatter. Below 2 it is chance. "
    "Bold: the nearest to the real galaxies; all that are within chance count as nearest, for they cannot be told apart.",
    "Differ: metrics in which the generated galaxies differ from the real ones by more than chance (p < 1 %, corrected for all metrics of "
    "the report).",
)


def write(board: Leaderboard, out: str | os.PathLike[str]) -> list[Path]:
    """Write `out`.html, .md, .tex and .json, and return their paths.

    Raises:
        InputError: one of them cannot be written.
    """
    stem = str(out)
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    paths = [Path(stem + ending) for ending in ENDINGS]
    for path, text in zip(paths, (html(board), markdown(board), latex(board)), strict=False):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_json(paths[-1], to_dict(board))
    return paths


def html(board: Leaderboard) -> str:
    """One self-contained page."""
    sections = [(f"table-{place}", table.title, table.html()) for place, table in enumerate(tables(board))]
    notes = [("notes", "Notes", _list(board.notes()))] if board.notes() else []
    sections = [sections[0], *notes, *sections[1:], ("reading", "How to read this", _list(READING))]
    return document("hubbleflow: leaderboard", "Which generator is nearest to the real galaxies?", sentences(board), sections)


def markdown(board: Leaderboard) -> str:
    """Tables that can be read as they are, and the words that belong to them."""
    first, *others = tables(board)
    lists = ["\n".join(f"- {text}" for text in texts) for texts in (board.notes(), READING) if texts]
    blocks = [*sentences(board), first.markdown(), *lists]
    for table in others:
        blocks += [f"**{table.title}**" + (f" ({table.caption.rstrip('.')})" if table.caption else ""), table.markdown()]
    return "\n\n".join(blocks) + "\n"


def latex(board: Leaderboard) -> str:
    """A table environment for each table; they need the package booktabs."""
    head = "% Written by hubbleflow compare. Needs \\usepackage{booktabs}."
    return "\n\n".join([head, *(table.latex(f"tab:leaderboard-{place}") for place, table in enumerate(tables(board)))]) + "\n"


def to_dict(board: Leaderboard) -> dict[str, Any]:
    """JSON-able: the content of the .json file."""
    counted = set(board.ranked_by())
    generators = [
        {
            "name": standing.contender.name,
            "report": str(standing.contender.place),
            "rank": standing.rank,
            "score": standing.score,
            "score_error": standing.error,
            "within_chance": standing.within,
            "differ": standing.differ,
            "judged": standing.judged,
            "generated": standing.contender.report["generated"],
            "metrics": {
                name: {key: value for key, value in found.items() if key != "per_bin"}
                for name in board.metrics()
                if (found := standing.contender.metric(name))
            },
        }
        for standing in board.standings()
    ]
    metrics = {
        name: {"family": family(name), "ranked_by": name in counted, "nearest": [contender.name for contender in board.nearest(name)]}
        for name in board.metrics()
    }
    content = {"format": 1, "score": SCORE, "real": board.contenders[0].report["real"], "generators": generators, "metrics": metrics}
    return without_nan(content | {"sentences": sentences(board), "notes": board.notes()})


def sentences(board: Leaderboard) -> list[str]:
    """Who is nearest by the rule, whether by more than the errors, who is within chance how often, and where the first is not ahead."""
    standings, counted = board.standings(), board.ranked_by()
    if not counted:
        return ["These generators cannot be ranked: there is no metric that all of them have a distance and a positive floor of."]
    first, *others = standings
    follow = ", ".join(f"{standing.contender.name} {_score(standing)}" for standing in others)
    said = [f"{first.contender.name} is nearest to the real galaxies: {SCORE} is {_score(first)} over {len(counted)} metrics, {follow}."]
    level = [s.contender.name for s in others if s.score - first.score <= math.hypot(s.error, first.error)]
    if level:
        said.append(f"Within the errors, {first.contender.name} and {' and '.join(level)} are level.")
    within = ", ".join(f"{standing.contender.name} in {standing.within} of {standing.judged} metrics" for standing in standings)
    said.append(f"Within the scatter of real against real (z < 2): {within}.")
    behind: dict[str, list[str]] = {}
    for name in board.metrics():
        nearest = board.nearest(name)
        if first.contender not in nearest and first.contender.metric(name):
            behind.setdefault(" and ".join(contender.name for contender in nearest), []).append(name)
    parts = [f"{', '.join(names)} ({who})" for who, names in behind.items()]
    name = first.contender.name
    said.append(f"{name} is not the nearest in {'; '.join(parts)}." if parts else f"No other is nearer than {name} in any metric.")
    return said


def tables(board: Leaderboard) -> list[Table]:
    """The ranking, a table a family of metrics, and Li 2024's log ratios."""
    return [_ranking(board.standings()), *_families(board), *_log_ratios(board)]


def _ranking(standings: Sequence[Standing]) -> Table:
    rows = []
    for standing in standings:
        generated = standing.contender.report["generated"]
        share = f"{100 * generated['flagged_fraction']:.1f} %" if generated.get("flagged_fraction") is not None else DASH
        counts = (f"{standing.within} of {standing.judged}", str(standing.differ), str(generated.get("n", DASH)), share)
        rows.append((standing.contender.name, str(standing.rank), _score(standing), *counts))
    best = frozenset((line, 1) for line, standing in enumerate(standings) if standing.rank == 1 and math.isfinite(standing.score))
    return Table(
        "Ranking",
        ("", "rank", SCORE, "within chance", "differ", "galaxies", "flagged"),
        tuple(rows),
        f"{SCORE}: 0 is as near to the real galaxies as they are to each other.",
        best,
    )


def _families(board: Leaderboard) -> list[Table]:
    found = [(name, list(members)) for name, members in groupby(board.metrics(), family)]
    groups = [(name, members) for name, members in found if len(members) > 1]
    single = [member for _, members in found if len(members) == 1 for member in members]
    made = []
    for name, members in [*groups, *([("other metrics", single)] if single else [])]:
        number_of = -(-len(members) // COLUMNS)
        width = -(-len(members) // number_of)  # five and one would be three and three
        for place in range(number_of):
            title = f"{name} ({place + 1} of {number_of})" if number_of > 1 else name
            made.append(_family(board, title, members[place * width : (place + 1) * width]))
    return made


def _family(board: Leaderboard, title: str, names: Sequence[str]) -> Table:
    contenders = [standing.contender for standing in board.standings()]
    first = {name: next(found for contender in contenders if (found := contender.metric(name))) for name in names}
    rows = []
    if any(found.get("real") is not None for found in first.values()):
        rows.append(("real galaxies", *(number(found.get("real")) for found in first.values())))
    rows.append(("real against real", *(plus_minus(found.get("floor"), found.get("floor_error")) for found in first.values())))
    above = len(rows)
    rows += [(contender.name, *(_cell(contender.metric(name)) for name in names)) for contender in contenders]
    best = {
        (above + line, place)
        for place, name in enumerate(names)
        for line, contender in enumerate(contenders)
        if contender in board.nearest(name)
    }
    head = ("", *(f"{name} ({found['unit']})" if found.get("unit") else name for name, found in first.items()))
    return Table(title[:1].upper() + title[1:], head, tuple(rows), "Value ± error, and z.", frozenset(best))


def _cell(found: dict[str, Any]) -> str:
    if not found:
        return DASH
    z = found.get("z")
    if z is None:  # infinite, in a file that knows no infinity, or there is no floor
        words = " (z ∞)" if None not in (found.get("distance"), found.get("floor")) and found.get("within_floor") is False else ""
    else:
        words = f" (z {z:z.1f})"
    return plus_minus(found["value"], found["error"]) + words


def _score(standing: Standing) -> str:
    return plus_minus(standing.score, standing.error)


def _log_ratios(board: Leaderboard) -> list[Table]:
    """Li et al. 2024, fig. 5, of the first against each of the others, where both were compared in the same bins."""
    first, *others = [standing.contender for standing in board.standings()]
    made = []
    for other in others:
        try:
            found = log_ratio(first.metric("galaxy_kl"), other.metric("galaxy_kl"))
        except InputError:  # one of them has no such table, or of other bins: a ranking needs none
            continue
        pairs = [
            [(value, error) for value, error in zip(*lines, strict=True)] for lines in zip(found["value"], found["error"], strict=True)
        ]
        rows = tuple((quantity, *(plus_minus(*pair) for pair in line)) for quantity, line in zip(found["quantities"], pairs, strict=True))
        caption = f"ln of the galaxy KL loss of {first.name} over that of {other.name} in each bin: below 0 the former is nearer"
        made.append(Table(f"{first.name} against {other.name}", ("", *found["bins"]), rows, f"{caption} (Li et al. 2024, fig. 5)."))
    return made


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
