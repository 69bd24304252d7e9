"""The page of a reproduction: tables and the papers' figures in one HTML file that needs no other."""

from __future__ import annotations

from html import escape
from pathlib import Path

from hubbleflow.report.document import document, figure, image, paragraphs
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
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes())
    first, *tables = [(f"table-{number}", table.title, table.html()) for number, table in enumerate(comparison.tables())]
    models = [(entry.name, entry.title, _figures(entry, comparison, folder)) for entry in comparison.entries]
    sections = [first, ("notes", "What this is", f"<ul>{notes}</ul>"), *tables, *models]
    return document(f"hubbleflow: {paper.key} reproduced", f"{paper.citation}: reproduced", comparison.sentences(), sections)


def _figures(entry: Entry, comparison: Comparison, folder: Path) -> str:
    blocks = [paragraphs(entry.report["verdict"])]
    for name in comparison.paper.figures:
        path = folder / entry.name / "report" / "figures" / f"{name}.png"
        if path.exists():
            words = f"{FIGURES[name]}: {entry.title}"
            blocks.append(figure(image(path.read_bytes(), words), words, words))
    return "".join(blocks)
