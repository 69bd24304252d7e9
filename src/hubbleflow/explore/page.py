"""The page: markup, style and script as one HTML text, and the policy that lets a browser run these and nothing else.

No font, picture or script comes from elsewhere; style and script are allowed by their SHA-256 alone, so that not even what found its way
into the markup could run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from hubbleflow.explore.controls import controls, redshift_table
from hubbleflow.explore.frames import MOST_GALAXIES, Frames
from hubbleflow.report.document import CSS


@dataclass(frozen=True)
class Page:
    """What a browser gets.

    Attributes:
        html: the whole page.
        policy: its Content-Security-Policy.
    """

    html: str
    policy: str

    @classmethod
    def of(cls, frames: Frames, seed: int = 1, population: str = "") -> Page:
        """The page of a generator.

        Args:
            frames: what draws.
            seed: of the first galaxy.
            population: what it is compared with, in words.
        """
        folder = files(__package__)
        markup, style, script = (folder.joinpath(f"page.{ending}").read_text("utf-8") for ending in ("html", "css", "js"))
        style = CSS + style
        known = json.dumps(knowledge(frames, seed, population)).replace("<", "\\u003c")  # else a name could end the element
        parts = {"title": escape(frames.generator.title), "style": style, "known": known, "script": script}
        return cls(re.sub(r"{{(\w+)}}", lambda place: parts[place[1]], markup), policy(style, script))


def policy(style: str, script: str) -> str:
    """Nothing is allowed but this style, this script, and asking this server.

    Example:
        >>> policy("", "").split("; ")[1]
        "script-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    digest = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()  # noqa: E731
    return (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; style-src 'sha256-{digest(style)}'; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def knowledge(frames: Frames, seed: int, population: str) -> dict[str, Any]:
    """What the script has to know, JSON-able."""
    generator, survey = frames.generator, frames.generator.survey
    n = generator.training.get("n")
    return {
        "title": generator.title,
        "about": f"{generator.n_parameters:,} parameters{f', trained on {n:,} galaxies' if n else ''}, {survey.name}",
        "bands": ", ".join(survey.rgb) if len(set(survey.rgb)) > 1 else survey.rgb[0],
        "size": generator.image_size,
        "scale": survey.pixel_scale_arcsec,
        "controls": controls(generator),
        "times": redshift_table(generator),
        "steps": frames.steps,
        "draft": frames.draft_steps,
        "most_steps": frames.most_steps,
        "most": MOST_GALAXIES,
        "seed": seed,
        "population": population,
    }
