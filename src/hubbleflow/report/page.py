"""The page: one HTML file with everything in it, for a browser, a phone, a printer and a screen reader.

No script, no font, no picture from elsewhere: the file can be mailed, archived, and opened in ten years. It opens with
the verdict.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from hubbleflow.files import atomic_path, make_folder, write_json
from hubbleflow.metrics.evaluate import Report, progress_bar
from hubbleflow.metrics.result import Result
from hubbleflow.report.drawing import Drawing
from hubbleflow.report.figures import plots
from hubbleflow.report.pictures import pictures

CSS = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fdfdfc; --line: #c9c9cf; --soft: #f0f0f2; --good: #17653a;
--bad: #a1330c; } @media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --paper: #17181c; --line: #44464d; --soft: #24262c; --good: #7fd6a2; --bad: #ffab85; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 66rem; margin: 0
auto; padding: 1rem; } h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.verdict { border-left: .3rem solid var(--line); padding: .2rem 1rem; font-size: 1.08rem; overflow-wrap: anywhere; }
.verdict p { margin: .4rem 0; }
.scroll { overflow-x: auto; } .scroll:focus-visible, summary:focus-visible, a:focus-visible { outline: 3px solid
#3b8ed0; outline-offset: 2px; } table { border-collapse: collapse; font-size: .87rem; font-variant-numeric:
tabular-nums; width: 100%; } th, td { text-align: right; padding: .25rem .55rem; border-bottom: 1px solid var(--line);
vertical-align: top; white-space: nowrap; } th:first-child { text-align: left; } th small { display: block; font-weight:
400; white-space: normal; min-width: 11rem; } thead th { background: var(--soft); }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
caption { text-align: left; padding: .3rem 0; font-size: .87rem; position: sticky; left: 0; max-width: calc(100vw -
2rem); } figure { margin: 1rem 0; } figure svg, figure img { max-width: 100%; height: auto; } figcaption { font-size:
.87rem; } @media (max-width: 46rem) { figure svg, figure img { max-width: none; width: 46rem; } }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0; list-style: none; } a { color: inherit; }
summary { cursor: pointer; } details { margin: .6rem 0; }
@media print {
  :root { --ink: #000; --paper: #fff; --line: #999; --soft: #eee; --good: #000; --bad: #000; color-scheme: light; }
  body { max-width: none; font-size: 10pt; padding: 0; } .scroll { overflow: visible; } nav { display: none; } figure,
  tr { break-inside: avoid; } td, th { white-space: normal; } }
"""


def write_report(report: Report, folder: str | os.PathLike[str], progress: bool = True) -> Path:
    """Write `folder`/metrics.json, `folder`/figures/*.png and `folder`/report.html, and return the page's path.

    Raises:
        InputError: at once, before anything is drawn: `folder` is a file or cannot be written.
    """
    folder = Path(folder)
    make_folder(folder)
    drawings = [*pictures(report), *plots(report)]
    with progress_bar("drawing", "figures", len(drawings), progress) as advance:
        for drawing in drawings:
            drawing.write_png(folder / "figures")
            advance(1)
    write_json(folder / "metrics.json", report.to_dict())
    with atomic_path(folder / "report.html") as temporary:
        temporary.write_text(page(report, drawings), encoding="utf-8")
    return folder / "report.html"


def page(report: Report, drawings: Sequence[Drawing]) -> str:
    """The whole page as text."""
    sections = [("metrics", "Numbers", _metrics_table(report)), ("counts", "Galaxies", _counts(report))]
    sections += [(drawing.name, drawing.title, _figure(report, drawing)) for drawing in drawings]
    sections += [("detail", "Bin by bin", _details(report)), ("method", "How to read this", _method(report))]
    links = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{content}</section>' for name, title, content in sections
    )
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in report.verdict())
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>hubbleflow: generated against real galaxies</title><style>{CSS}</style></head><body>"
        "<header><h1>Generated against real galaxies</h1></header><main>"
        f'<section class="verdict" aria-label="Verdict">{sentences}</section>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>{body}</main></body></html>\n'
    )


def _metrics_table(report: Report) -> str:
    head = ("metric", "value", "floor", "real", "better", "ratio to floor", "z", "verdict")
    shown = sorted(report.results.values(), key=lambda r: (not r.computed, -(r.z if r.z is not None else -math.inf)))
    rows = [_metric_row(result) for result in shown if result.computed]
    left_out = "".join(f"<li><code>{escape(r.name)}</code>: {escape(r.note or '')}</li>" for r in shown if not r.computed)
    table = _table(
        "Furthest from real first. Value: generated against real (or the generated set's own number, with the real set's beside it); "
        "floor: real against real at the same sizes; errors are one standard deviation.",
        head,
        rows,
    )
    return table + (f"<details><summary>Not computed ({left_out.count('<li>')})</summary><ul>{left_out}</ul></details>" if left_out else "")


def _metric_row(result: Result) -> str:
    judged = {
        True: '<span class="good">within chance</span>',
        False: '<span class="bad">differs</span>',
        None: "no floor",
    }
    cells = (
        _plus_minus(result.value, result.error),
        _plus_minus(result.floor, result.floor_error),
        number(result.real),
        result.better,
        number(result.ratio),
        number(result.z),
        judged[result.within_floor],
    )
    unit = f" [{escape(result.unit)}]" if result.unit else ""
    note = f" Note: {escape(result.note)}." if result.note else ""
    words = f"<small>{escape(result.description)}{unit}{note}</small>"
    name = f'<th scope="row"><code>{escape(result.name)}</code>{words}</th>'
    return f"<tr>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _table(caption: str, head: Sequence[str], rows: Sequence[str]) -> str:
    columns = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    label = escape(caption.split(".")[0])
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _counts(report: Report) -> str:
    rows = []
    for name, sample in (("real", report.real), ("generated", report.generated)):
        counts = report.counts(sample)
        flags = ", ".join(f"{bit} {n}" for bit, n in counts["flags"].items()) or "none"
        cells = (counts["n"], counts["flagged"], f"{100 * counts['flagged_fraction']:.1f} %")
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{c}</td>" for c in cells)}<td>{escape(flags)}</td></tr>')
    table = _table(
        "Galaxies in both sets. A flagged galaxy has a number that cannot be trusted: "
        "it is left out where that number is needed, and counted here.",
        ("set", "galaxies", "flagged", "share", "bits set, notes included"),
        rows,
    )
    return table + "".join(f"<p>Note: {escape(note)}.</p>" for note in report.notes)


def _figure(report: Report, drawing: Drawing) -> str:
    extra = _means_table(report) if drawing.name == "means" else ""
    label = escape(drawing.title)
    scroll = f'<div class="scroll" tabindex="0" role="region" aria-label="{label}, figure">{drawing.html()}</div>'
    return f"<figure>{scroll}<figcaption>{escape(drawing.caption)}</figcaption></figure>{extra}"


def _means_table(report: Report) -> str:
    rows = []
    for described in report.described.values():
        for which in ("real", "generated"):
            means = described["means"][which]
            cells = [
                f"{number(m)} ({number(lo)} to {number(hi)}), {n}"
                for m, lo, hi, n in zip(means["mean"], means["low"], means["high"], means["n"], strict=True)
            ]
            rows.append(f'<tr><th scope="row">{escape(described["label"])}, {which}</th>{"".join(f"<td>{c}</td>" for c in cells)}</tr>')
    table = _table("Mean (95 % interval), galaxies", ("quantity", *report.bins.labels), rows)
    return f"<details><summary>The numbers of this figure</summary>{table}</details>"


def _details(report: Report) -> str:
    blocks = []
    for result in report.results.values():
        if not result.computed or not result.per_bin or len(result.per_bin["bins"]) < 2:
            continue
        per_bin = result.per_bin
        rows = []
        for line, quantity in enumerate(per_bin["quantities"]):
            cells = []
            for column in range(len(per_bin["bins"])):
                text = number(per_bin["value"][line][column])
                if "real" in per_bin:
                    text += f" (real {number(per_bin['real'][line][column])})"
                elif "floor" in per_bin:
                    text += f" (floor {number(per_bin['floor'][line][column])})"
                cells.append(f"<td>{text}</td>")
            rows.append(f'<tr><th scope="row">{escape(quantity)}</th>{"".join(cells)}</tr>')
        table = _table(f"{result.name} in each bin", ("quantity", *per_bin["bins"]), rows)
        blocks.append(f"<details><summary><code>{escape(result.name)}</code></summary>{table}</details>")
    return "".join(blocks) or "<p>There is one bin only.</p>"


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
        "For numbers that describe one set (a redshift loss), the distance is the difference from the real set's own number.</p>"
        f"<p>{report.splits} random splits, seed {report.seed}; compared in {kind}. The same numbers are in metrics.json.</p>"
        f"<details><summary>Sources</summary><ul>{sources}</ul></details>"
    )


def number(value: Any) -> str:
    """Three significant digits, or a dash where there is no number.

    Example:
        >>> number(0.012345), number(1234.5), number(None)
        ('0.0123', '1230', '-')
    """
    if value is None or not math.isfinite(value):
        return "-"
    text = f"{value:.3g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e6 else text


def _plus_minus(value: float | None, error: float | None) -> str:
    return number(value) if value is None or error is None or not math.isfinite(error) else f"{number(value)} &plusmn; {number(error)}"
