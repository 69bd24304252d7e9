"""What every page of this package is made of: one HTML file with everything in it, for a browser, a phone, a printer and a screen reader.

No script, no font, no picture from elsewhere: the file can be mailed, archived, and opened in ten years.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

DASH = "-"
CSS = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fdfdfc; --line: #c9c9cf; --soft: #f0f0f2; --good: #17653a;
--bad: #a1330c; } @media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --paper: #17181c; --line: #44464d; --soft: #24262c; --good: #7fd6a2; --bad: #ffab85; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 66rem; margin: 0
auto; padding: 1rem; } h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.verdict { border-left: .3rem solid var(--line); padding: .2rem 1rem; font-size: 1.08rem; overflow-wrap: anywhere; }
.verdict p { margin: .4rem 0; }
.scroll { overflow-x: auto; position: relative; } .scroll:focus-visible, summary:focus-visible, a:focus-visible { outline: 3px solid
#3b8ed0; outline-offset: 2px; } table { border-collapse: collapse; font-size: .87rem; font-variant-numeric:
tabular-nums; width: 100%; } th, td { text-align: right; padding: .25rem .55rem; border-bottom: 1px solid var(--line);
vertical-align: top; white-space: nowrap; } th:first-child { text-align: left; } th small { display: block; font-weight:
400; white-space: normal; min-width: min(19rem, 45vw); } thead th { background: var(--soft); }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
caption { text-align: left; padding: .3rem 0; font-size: .87rem; position: sticky; left: 0; max-width: calc(100vw -
2rem); } figure { margin: 1rem 0; } figure svg, figure img { max-width: 100%; height: auto; } figcaption { font-size:
.87rem; } @media screen and (max-width: 46rem) { figure svg, figure img { max-width: none; width: 46rem; }
  tbody th { white-space: normal; min-width: 6.5rem; } }
.words { white-space: normal; }
.unseen { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0; list-style: none; } a { color: inherit; }
summary { cursor: pointer; } details { margin: .6rem 0; }
@page { margin: 14mm; }
@media print {
  :root { font-size: 9.5pt; --ink: #000; --paper: #fff; --line: #999; --soft: #eee; --good: #000; --bad: #000; color-scheme: light; }
  body { max-width: none; font-size: 1rem; padding: 0; } .scroll { overflow: visible; } nav { display: none; }
  details:not([open]) { display: none; } figure, tr { break-inside: avoid; } h2, caption, thead { break-after: avoid; }
  tbody tr:first-child { break-before: avoid; }
  table { font-size: 8pt; } h2 { margin-top: 1.2rem; } td, th { white-space: normal; padding: .2rem .3rem; } th small { min-width: 8rem; } }
"""


def document(title: str, heading: str, verdict: Sequence[str], sections: Sequence[tuple[str, str, str]]) -> str:
    """The whole page.

    Args:
        title: of the browser's window.
        heading: over the page.
        verdict: sentences it opens with.
        sections: (anchor, heading, HTML) of each; anchor and heading are words, and are escaped here.
    """
    sections = [(escape(anchor), escape(words), content) for anchor, words, content in sections]
    links = "".join(f'<li><a href="#{anchor}">{words}</a></li>' for anchor, words, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{words}</h2>{content}</section>' for anchor, words, content in sections
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>"
        f'<header><h1>{escape(heading)}</h1></header><main><section class="verdict" aria-label="Verdict">{paragraphs(verdict)}</section>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>{body}</main></body></html>\n'
    )


def paragraphs(sentences: Iterable[str]) -> str:
    """Each sentence in a paragraph of its own."""
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def table(head: Sequence[str], rows: Iterable[str], caption: str = "", label: str = "") -> str:
    """A table that a screen reader can walk, which scrolls by itself where it is wide.

    Args:
        head: column titles, words.
        rows: HTML, see :func:`row`.
        caption: words over it.
        label: what a screen reader calls it; the caption's first sentence where not given.
    """
    columns = "".join(f'<th scope="col">{name(title)}</th>' for title in head)
    over = f"<caption>{escape(caption)}</caption>" if caption else ""
    return _scrolling(
        label or caption.split(".")[0], f"<table>{over}<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def row(first: str, cells: Iterable[str]) -> str:
    """A row of a table: what it is called and its cells, all of them HTML.

    Example:
        >>> row("a &amp; b", ["1"])
        '<tr><th scope="row">a &amp; b</th><td>1</td></tr>'
    """
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def name(text: str) -> str:
    """Words as HTML; joined by underscores, they may be broken after each where a column is narrow.

    Example:
        >>> name("w1_<x>")
        'w1_<wbr>&lt;x&gt;'
    """
    return escape(text).replace("_", "_<wbr>")


def figure(picture: str, label: str, caption: str) -> str:
    """A picture (HTML, see :func:`image`) that scrolls by itself where it is wide, over its caption."""
    return f"<figure>{_scrolling(label, picture)}<figcaption>{escape(caption)}</figcaption></figure>"


def image(png: bytes, alt: str) -> str:
    """A PNG within the page; `alt` is what a reader who can't see it must know."""
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alt)}">'


def _scrolling(label: str, content: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def number(value: Any) -> str:
    """Three significant digits, or a dash where there is no number.

    Example:
        >>> number(0.012345), number(1234.5), number(None)
        ('0.0123', '1230', '-')
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.3g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e6 else text
