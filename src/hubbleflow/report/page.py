"""The page of a report: the verdict, and then all that it rests on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from hubbleflow.counting import counting
from hubbleflow.files import atomic_path, make_folder, write_json
from hubbleflow.metrics.evaluate import Report
from hubbleflow.metrics.result import Result
from hubbleflow.metrics.verdict import by_significance
from hubbleflow.report.document import DASH, document, figure, name, number, paragraphs, row, table
from hubbleflow.report.drawing import Drawing
from hubbleflow.report.figures import plots
from hubbleflow.report.heatmap import cells, heat_map, words
from hubbleflow.report.pictures import pictures, worst_figure
from hubbleflow.report.recovered import recovered_table
from hubbleflow.report.table import plus_minus

FAILURES = ("heat_map", "worst")  # figures that belong to the summary
SUMMARY = 8  # metrics in its table


def write_report(report: Report, folder: str | os.PathLike[str], progress: bool = True) -> Path:
    """Write `folder`/metrics.json, `folder`/figures/*.png and `folder`/report.html, and return the page's path.

    Raises:
        InputError: at once, before anything is drawn: `folder` is a file or cannot be written.
    """
    folder = Path(folder)
    make_folder(folder)
    drawings = [*failures(report), *pictures(report), *plots(report)]
    with counting("drawing", len(drawings), "figures", progress) as advance:
        for drawing in drawings:
            drawing.write_png(folder / "figures")
            advance(1)
    write_json(folder / "metrics.json", report.to_dict())
    with atomic_path(folder / "report.html") as temporary:
        temporary.write_text(page(report, drawings), encoding="utf-8")
    return folder / "report.html"


def page(report: Report, drawings: Sequence[Drawing]) -> str:
    """The whole page as text."""
    drawn = [(drawing.name, drawing.title, _figure(report, drawing)) for drawing in drawings]
    first = [section for section in drawn if section[0] in FAILURES]
    summary = [("summary", "What differs most", _summary_table(report))] if any(r.differs for r in report.results.values()) else []
    sections = [*summary, *first, ("counts", "Galaxies", _counts(report)), ("metrics", "Numbers", _metrics_table(report))]
    sections += [section for section in drawn if section[0] not in FAILURES]
    recovered = recovered_table(report)
    sections += [("recovered", "Asked and recovered redshift", recovered)] if recovered else []
    sections += [("detail", "Bin by bin", _details(report)), ("method", "How to read this", _method(report))]
    return document("hubbleflow: generated against real galaxies", "Generated against real galaxies", report.verdict(), sections)


def failures(report: Report) -> Iterator[Drawing]:
    """Where the generator fails, and the galaxies that it fails at."""
    found = cells(report)
    if found is not None:
        yield heat_map(found, report.splits)
    if report.worst.pictures is not None and len(report.worst.pictures):
        yield worst_figure(report, report.worst.pictures)


def _summary_table(report: Report) -> str:
    shown = [result for result in by_significance(report.results.values()) if result.differs][:SUMMARY]
    rows = []
    for result in shown:
        worst = result.worst_cell()
        where = ", ".join(word for word in worst if word != "all") if worst else DASH
        values = (_unbroken(plus_minus(result.value, result.error)), _unbroken(plus_minus(result.floor, result.floor_error)))
        rows.append(row(f"<code>{name(result.name)}</code>", (*values, number(result.z), _probability(result.p_corrected), escape(where))))
    caption = f"The {len(rows)} metrics that are least likely by chance; all are under Numbers, with what they ask."
    return table(("metric", "value", "floor", "z", "p (corrected)", "worst in"), rows, caption)


def _metrics_table(report: Report) -> str:
    head = ("metric", "verdict", "p (corrected)", "z", "value", "floor", "real", "ratio", "better")
    shown = by_significance(report.results.values())
    rows = [_metric_row(result) for result in shown if result.computed]
    left_out = "".join(f"<li><code>{escape(r.name)}</code>: {escape(r.note or '')}</li>" for r in shown if not r.computed)
    caption = (
        "Least likely by chance first. p: probability of so large a distance between two real sets, corrected for all metrics looked at; "
        "value: generated against real (or the generated set's own number, with the real set's beside it); "
        "floor: real against real at the same sizes; errors are one standard deviation; ratio: distance from real over floor."
    )
    numbers = table(head, rows, caption)
    return numbers + (
        f"<details><summary>Not computed ({left_out.count('<li>')})</summary><ul>{left_out}</ul></details>" if left_out else ""
    )


def _metric_row(result: Result) -> str:
    if result.differs is None:
        judged = "no floor"
    elif result.differs:
        judged = '<span class="bad">differs</span>'
    else:
        judged = '<span class="good">within chance</span>' if result.within_floor else "undecided"
    values = (
        judged,
        _probability(result.p_corrected),
        number(result.z),
        _unbroken(plus_minus(result.value, result.error)),
        _unbroken(plus_minus(result.floor, result.floor_error)),
        number(result.real),
        number(result.ratio),
        result.better,
    )
    unit = f" [{escape(result.unit)}]" if result.unit else ""
    note = f" Note: {escape(result.note)}." if result.note else ""
    said = f"<small>{escape(result.description)}{unit}{note}</small>"
    return row(f"<code>{name(result.name)}</code>{said}", values)


def _unbroken(text: str) -> str:
    return text.replace(" ", "&nbsp;")


def _probability(p: float | None) -> str:
    """Nobody knows the tail of a floor's scatter from a few dozen splits further out than this."""
    return "&lt; 1e-6" if p is not None and p < 1e-6 else number(p)


def _counts(report: Report) -> str:
    rows = []
    for which, sample in (("real", report.real), ("generated", report.generated)):
        counts = report.counts(sample)
        flags = ", ".join(f"{bit} {n}" for bit, n in counts["flags"].items()) or "none"
        values = (
            str(counts["n"]),
            str(counts["flagged"]),
            f"{100 * counts['flagged_fraction']:.1f} %",
            f'<span class="words">{escape(flags)}</span>',
        )
        rows.append(row(which, values))
    caption = (
        "Galaxies in both sets. A flagged galaxy has a number that cannot be trusted: "
        "it is left out where that number is needed, and counted here."
    )
    numbers = table(("set", "galaxies", "flagged", "share", "bits set, notes included"), rows, caption)
    return numbers + paragraphs(f"Note: {note}." for note in report.notes)


def _figure(report: Report, drawing: Drawing) -> str:
    tables = {"means": _means_table, "heat_map": _cells_table, "worst": _worst_table}
    extra = tables[drawing.name](report) if drawing.name in tables else ""
    return figure(drawing.html(), f"{drawing.title}, figure", drawing.caption) + extra


def _cells_table(report: Report) -> str:
    found = cells(report)
    if found is None:
        return ""
    rows = [row(name(title), [words(z) for z in line]) for title, line in zip(found.rows, found.z, strict=True)]
    return _unfolding("The numbers of this figure", table(("metric and quantity", *found.bins), rows, "z in each bin"))


def _worst_table(report: Report) -> str:
    worst = report.worst
    rows = []
    for fault in worst.faults:
        between = f"{number(fault.low)} to {number(fault.high)}"
        values = (escape(fault.bin), escape(fault.label), number(fault.value), between, f"{fault.score:+.1f}")
        rows.append(row(f"{fault.row}", values))
    head = ("row of the generated set", "compared with real at", "quantity", "value", "95 % of the real", "deviation")
    caption = "Deviation: from the real median of the bin, in robust standard deviations on that side of it."
    share = (
        f"{worst.beyond} of {worst.scored} generated galaxies deviate by more than any real galaxy does "
        f"(the most unusual real one by {worst.largest_real:.1f})."
    )
    return paragraphs([share]) + _unfolding("The numbers of these galaxies", table(head, rows, caption))


def _means_table(report: Report) -> str:
    rows = []
    for described in report.described.values():
        for which in ("real", "generated"):
            means = described["means"][which]
            means_and_counts = [
                f"{number(m)} ({number(lo)} to {number(hi)}), {n}"
                for m, lo, hi, n in zip(means["mean"], means["low"], means["high"], means["n"], strict=True)
            ]
            rows.append(row(f"{escape(described['label'])}, {which}", means_and_counts))
    numbers = table(("quantity", *report.bins.labels), rows, "Mean (95 % interval), galaxies")
    return _unfolding("The numbers of this figure", numbers)


def _unfolding(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>{content}</details>"


def _details(report: Report) -> str:
    blocks = []
    for result in report.results.values():
        if not result.computed or not result.per_bin or len(result.per_bin["bins"]) < 2:
            continue
        per_bin = result.per_bin
        rows = []
        for line, quantity in enumerate(per_bin["quantities"]):
            texts = []
            for column in range(len(per_bin["bins"])):
                text = number(per_bin["value"][line][column])
                if "real" in per_bin:
                    text += f" (real {number(per_bin['real'][line][column])})"
                elif "floor" in per_bin:
                    text += f" (floor {number(per_bin['floor'][line][column])})"
                texts.append(text)
            rows.append(row(name(quantity), texts))
        numbers = table(("quantity", *per_bin["bins"]), rows, f"{result.name} in each bin")
        blocks.append(_unfolding(f"<code>{name(result.name)}</code>", numbers))
    if not blocks:
        return "<p>There is one bin only.</p>"
    return "<p>A table for each metric, to be unfolded; metrics.json holds the same numbers.</p>" + "".join(blocks)


def _method(report: Report) -> str:
    kind = {
        "redshift": "bins of equal numbers of real galaxies in redshift",
        "category": "categories",
        "all": "one bin",
    }[report.bins.kind]
    sources = "".join(f"<li><code>{escape(r.name)}</code>: {escape(r.source)}</li>" for r in report.results.values() if r.computed)
    return (
        "<p>A value is compared with its floor: the same number between two halves of the real set, at the same sizes. "
        "z is the distance above the floor in units of the floor's scatter from split to split; "
        "below 2 a difference of that size happens between two real sets by chance. "
        "p is the probability of such a z (Student's t), corrected for all metrics of this page by Holm's method: a metric differs where "
        "it is below 1 %, and a perfect generator is found to differ in anything in one report of a hundred at most. "
        "Undecided: beyond z = 2, but not after that correction. "
        "For numbers that describe one set (a redshift loss), the distance is the difference from the real set's own number.</p>"
        f"<p>{report.splits} random splits, seed {report.seed}; compared in {kind}. The same numbers are in metrics.json.</p>"
        f"<details><summary>Sources</summary><ul>{sources}</ul></details>"
    )
