"""The papers' systems side by side: one set of galaxies, one budget, one measurement, one judge. It writes the tables of docs/papers.md.

    python bench/papers.py [--minutes 30] [--out runs/papers] [--categories gz2_four_classes.npz] [--parts redshift,category]

Two parts. By redshift, on a mock sky of 25,000 galaxies, of which 20,000 to train on (or --data, e.g. GalaxiesML): lizarraga2024,
li2024-ddpm, li2024-cvae and edm, and the papers' once more on our stretch of the flux (asinh), by the numbers of Li 2024's Table 1 and
Lizarraga 2024's four morphologies. By category, where real pictures of known classes are given: galcatdiff and edm. Every generator
trains for the same minutes and draws 2,000 galaxies (500 by category: there are 700 real ones).

Minutes are those of a machine with nothing else to do: at the start a step of each network is timed (let nothing else run then; or give
one thread, OMP_NUM_THREADS=1, whose seconds of CPU count), and each trains for as many steps as the minutes hold. So the rest may share the
machine, be stopped and started again: what is done is not done again, and with more --minutes the same networks train on.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from in_words import in_words
from pace import paces

from hubbleflow.datasets import import_archive
from hubbleflow.files import atomic_path
from hubbleflow.galaxies import GalaxySet
from hubbleflow.reproduce import PAPERS, SIDE_BY_SIDE, Comparison, Paper, Settings, reproduce
from hubbleflow.reproduce.run import Reproduction
from hubbleflow.simulate import simulate

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "papers.md"
CATEGORIES_DRAWN = 500


def around_section(document: Path, name: str) -> tuple[str, str]:
    """What stands before and after a section of a document, its two comments included: asked at the start of a bench, because one that
    finds no place to write to in the end has run for nothing.
    """
    first, last = (f"<!-- {slash}{name} -->" for slash in ("", "/"))
    whole = document.read_text(encoding="utf-8") if document.is_file() else ""
    before, begun, rest = whole.partition(first)
    _, ended, after = rest.partition(last)
    if not begun or not ended:
        raise SystemExit(f"{document} has no section between {first} and {last}")
    return before + first, last + after


def write_section(document: Path, name: str, text: str) -> None:
    """Replace what stands between the document's two comments of that name."""
    before, after = around_section(document, name)
    with atomic_path(document) as temporary:
        temporary.write_text(f"{before}\n\n{text.strip()}\n\n{after}", encoding="utf-8")


def with_models(paper: Paper, names: str | None) -> tuple[Paper, tuple[str, ...]]:
    """The paper with those of the named models that are its own, and those that are no paper's; by default all of its own, those again
    that it has on asinh, and edm.

    Why again: the published stretch of Lizarraga 2024 and the missing one of Li 2024 are made for galaxies of one brightness, and a
    reader wants to know how much of what goes wrong is the network's.
    """
    stretched = [f"{model}:asinh" for model in paper.models if paper.condition == "redshift"]
    wanted = names.split(",") if names else [*paper.models, "edm", *stretched]
    published = {model for known in PAPERS.values() for model in known.models}
    return replace(paper, models=tuple(m for m in paper.models if m in wanted)), tuple(m for m in wanted if m not in published)


def paced(paper: Paper, settings: Settings, folder: Path, seconds: float) -> dict[str, float]:
    """Seconds a step of each network and of the judge."""
    made = Reproduction(paper, folder, settings).recipes().items()
    recipes = {"judge" if name == "judge" else recipe.model: recipe for name, recipe in made}  # on another stretch it takes no longer
    with TemporaryDirectory() as place:
        return paces(
            lambda: GalaxySet.open(settings.data) if settings.data else simulate(Path(place) / "sky.h5", 600, seed=0),
            recipes,
            folder / "pace.json",
            seconds,
            time.process_time if torch.get_num_threads() == 1 else time.monotonic,
        )


def compare(paper: Paper, arguments: argparse.Namespace, folder: Path, data: Path | None, n: int) -> Comparison:
    """Run one part."""
    paper, others = with_models(paper, arguments.models)
    settings = Settings(
        scale=arguments.scale,
        minutes=arguments.minutes,
        n=n,
        seed=arguments.seed,
        others=others,
        steps=arguments.steps,
        galaxies=arguments.galaxies,
        data=data,
    )
    return reproduce(paper, folder, replace(settings, pace=paced(paper, settings, folder, arguments.timed)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/papers"))
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="whose sections are written")
    parser.add_argument("--minutes", type=float, default=30.0, help="of training each network")
    parser.add_argument("--scale", choices=("small", "paper"), default="small")
    parser.add_argument("--n", type=int, default=2000, help="galaxies that each model draws")
    parser.add_argument("--galaxies", type=int, default=25_000, help="of the mock sky")
    parser.add_argument("--data", type=Path, help="a set with redshifts, instead of the mock sky")
    parser.add_argument("--categories", type=Path, help="an npz of pictures `images` with classes `label`, for galcatdiff")
    parser.add_argument("--steps", type=int, help="of the samplers, at most")
    parser.add_argument("--models", help="only these, comma-separated")
    parser.add_argument("--timed", type=float, default=20.0, help="seconds for which each network's steps are timed, twice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", default="redshift,category", help="redshift, category, or both; the second needs --categories")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if arguments.categories is None:
        parts = [part for part in parts if part != "category"]
    if not parts or set(parts) - {"redshift", "category"}:
        parser.error("nothing to do: --parts takes redshift and category, and category needs --categories")
    for part in parts:
        around_section(arguments.document, part)

    if "redshift" in parts:
        found = compare(SIDE_BY_SIDE, arguments, arguments.out / "redshift", arguments.data, arguments.n)
        write_section(arguments.document, "redshift", found.markdown())
        print("\n".join(found.sentences()))
    if "category" in parts:
        galaxies = arguments.out / "categories.h5"
        if not galaxies.exists():
            import_archive("images", arguments.categories, galaxies, images="images", category="label", survey="sdss-rgb")
        n = min(arguments.n, CATEGORIES_DRAWN)
        found = compare(PAPERS["fan2025"], arguments, arguments.out / "categories", galaxies, n)
        write_section(arguments.document, "category", found.markdown())
        print("\n".join(found.sentences()))


if __name__ == "__main__":
    in_words(main)
