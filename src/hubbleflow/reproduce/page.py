"""The page of a reproduction: tables and the papers' figures in one HTML file that needs no other."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from hubbleflow.report.page import CSS
from hubbleflow.reproduce.comparison import Comparison, Entry

FIGURES = {
    "side_by_side": "Real galaxies and those drawn, at the same redshift or of the same kind",
    "redshift": "Redshift read from the images (Lizarraga 2024, figure 2; Li 2024, figure 14)",
    "histograms": "Distributions of what was measured (Lizarraga 2024, figure 3)",
    "means": "Means per bin with 95 % intervals (Lizarraga 2024, figure 4; Li 2024, figure 12)",
}


def page(comparison: Comparison, folder: Path) -> str:
    """The page's text; figures are taken from the models' reports in `folder`."""
    paper = comparison.paper
    verdict = "".join(f"<p>{escape(sentence)}</p>" for sentence in comparison.sentences())
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes())
    tables = [(f"table-{number}", table.title, table.html()) for number, table in enumerate(comparison.tables())]
    models = [(entry.name, entry.title, _figures(entry, comparison, folder)) for entry in comparison.entries]
    sections = [tables[0], ("notes", "What this is", f"<ul>{notes}</ul>"), *tables[1:], *models]
    links = "".join(f'<li><a href="#{escape(name)}">{escape(title)}</a></li>' for name, title, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{escape(name)}"><h2 id="{escape(name)}">{escape(title)}</h2>{content}</section>'
        for name, title, content in sections
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>hubbleflow: {escape(paper.key)} reproduced</title><style>{CSS}</style></head><body>"
        f"<header><h1>{escape(paper.citation)}: reproduced</h1></header><main>"
        f'<section class="verdict" aria-label="Verdict">{verdict}</section><nav aria-label="Sections"><ul>{links}</ul></nav>{body}'
        "</main></body></html>\n"
    )


def _figures(entry: Entry, comparison: Comparison, folder: Path) -> str:
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in entry.report["verdict"])
    blocks = []
    for name in comparison.paper.figures:
        path = folder / entry.name / "report" / "figures" / f"{name}.png"
        if path.exists():
            data, words = base64.b64encode(path.read_bytes()).decode(), f"{FIGURES[name]}: {entry.title}"
            picture = f'<img src="data:image/png;base64,{data}" alt="{escape(words)}">'
            scroll = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(words)}">{picture}</div>'
            blocks.append(f"<figure>{scroll}<figcaption>{escape(words)}</figcaption></figure>")
    return said + "".join(blocks)
