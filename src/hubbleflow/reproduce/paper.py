"""What the papers trained, asked for, and printed: the numbers that a run of ours is set beside, each with its place in its paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hubbleflow.errors import InputError

REAL = "real"  # stands for the real galaxies among the rows of a table


@dataclass(frozen=True)
class Column:
    """A number that models are compared by.

    Attributes:
        metric: its name in metrics.json; "" where this package does not compute it.
        title: over the column.
        published: a model's name, or "real" -> what the paper printed.
        note: what a reader must know, one sentence.
    """

    metric: str
    title: str
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """A published comparison.

    Attributes:
        key: its name here.
        citation: authors, year, journal or archive.
        models: its generators, by their names here.
        judge: the network that reads galaxies in it, trained beside them.
        condition: what the galaxies are asked for: "redshift" or "category".
        asked: how that is chosen: "test" (the test set's own), "uniform" (over `between`) or "equal" (as many of each category).
        between: redshifts of "uniform".
        columns: of its table.
        source: where the published numbers stand; "" where there are none.
        remarks: sentences about what is compared.
        figures: of each model's report, that its figures correspond to.
    """

    key: str
    citation: str
    models: tuple[str, ...]
    judge: str
    condition: Literal["redshift", "category"]
    asked: Literal["test", "uniform", "equal"]
    columns: tuple[Column, ...]
    between: tuple[float, float] = (0.001, 4.0)
    source: str = ""
    remarks: tuple[str, ...] = ()
    figures: tuple[str, ...] = ("side_by_side", "redshift", "histograms", "means")

    @property
    def published(self) -> bool:
        """Whether it printed any number."""
        return any(column.published for column in self.columns)


LI_TABLE = (
    Column(
        "galaxy_kl",
        "galaxy KL loss",
        {"li2024-cvae": 0.23, "li2024-ddpm": 0.22},
        "eq. 2; here with the semi-major axis as fourth parameter, natural logarithms and redshift bins of equal numbers",
    ),
    Column(
        "galaxy_fitting_loss_li2024",
        "galaxy fitting loss",
        {REAL: 4.92, "li2024-cvae": 10.2, "li2024-ddpm": 5.32},
        "eq. 3, mean ln |ERRCXY_IMAGE|: the mark is the real galaxies' own value, not zero",
    ),
    Column(
        "redshift_loss",
        "redshift loss",
        {REAL: 0.072, "li2024-cvae": 0.59, "li2024-ddpm": 0.62},
        "eq. 4 with gamma = 0.15: the mark is the real galaxies' own value, which depends on the judge and on the redshifts",
    ),
)
LI_IMAGES = (
    Column("", "IS", {REAL: 1.72, "li2024-cvae": 1.55, "li2024-ddpm": 1.87}, "needs Inception's weights, which are not at hand"),
    Column("", "FID", {REAL: 1.70, "li2024-cvae": 123.0, "li2024-ddpm": 98.8}, "needs Inception's weights, which are not at hand"),
)
LI_FINDING = (
    Column(
        "noise_correlation",
        "sky correlation",
        note="no number in the paper, which says: 'the CVAE produces structure and correlated pixels in the background'",
    ),
)
MORPHOLOGIES = (
    Column("w1_ellipticity", "ellipticity"),
    Column("w1_major_axis", "semi-major axis"),
    Column(
        "w1_sersic_index", "Sersic index", note="here a Sersic profile is fitted; the published code's index is a function of ellipticity"
    ),
    Column("w1_isophotal_area", "isophotal area"),
)
W1 = (
    "Ellipticity, semi-major axis, Sersic index and isophotal area: Wasserstein-1 distance from the real distribution at each redshift, in "
    "units of the real galaxies' standard deviation"
)
BOTH_SIDES = (
    "Real and generated galaxies are measured by the same steps, without a PSF, inverse variances or masks, which generated ones lack"
)

PAPERS = {
    paper.key: paper
    for paper in (
        Paper(
            "lizarraga2024",
            "Lizarraga et al. 2024, 'Learning the Evolution of Physical Structure of Galaxies via Diffusion Models'",
            ("lizarraga2024",),
            "li2024-redshift-cnn",
            "redshift",
            "test",
            (*MORPHOLOGIES, Column("redshift_loss", "redshift loss"), Column("redshift_spearman", "rank correlation of redshifts")),
            remarks=(
                "The paper prints no table: it compares histograms (figure 3), means per redshift bin (figure 4) and redshifts read from "
                "the images (figure 2), which stand below",
                W1,
                BOTH_SIDES,
            ),
        ),
        Paper(
            "li2024",
            "Li et al. 2024, 'Using Galaxy Evolution as Source of Physics-Based Ground Truth for Generative Models'",
            ("li2024-ddpm", "li2024-cvae"),
            "li2024-redshift-cnn",
            "redshift",
            "uniform",
            (*LI_TABLE, *LI_IMAGES, *LI_FINDING),
            source="Li et al. 2024, Table 1",
            remarks=(
                "The galaxies are asked for at redshifts drawn uniformly from 0.001 to 4, as in the paper, while the real ones are the "
                "test set's, of which few lie beyond z = 1.5: single numbers of both (galaxy fitting loss, redshift loss) are of different "
                "redshifts, and the tables per bin are the fairer comparison",
                BOTH_SIDES,
            ),
        ),
        Paper(
            "fan2025",
            "Fan et al. 2025, 'Category-based Galaxy Image Generation via Diffusion Models' (GalCatDiff)",
            ("galcatdiff",),
            "category-cnn",
            "category",
            "equal",
            (
                Column("category_colour", "colour"),
                Column("category_size", "size"),
                Column("category_colour_ks", "colour, KS"),
                Column("category_size_ks", "size, KS"),
                Column(
                    "category_accuracy",
                    "recognised",
                    note="share of galaxies that a classifier, trained on the real ones, takes for what they are",
                ),
            ),
            remarks=(
                "Its abstract and captions are known here, its tables are not: nothing below is set beside a published number, and none of "
                "its tables is claimed to be reproduced",
                "Colour and size: distance between the real and generated distributions within each category (Wasserstein-1 in units of "
                "the real scatter; Kolmogorov-Smirnov), averaged over categories; the formulas are this package's",
                BOTH_SIDES,
            ),
            figures=("side_by_side", "histograms", "means"),
        ),
    )
}

SIDE_BY_SIDE = Paper(
    "papers",
    "Li et al. 2024 and Lizarraga et al. 2024",
    ("lizarraga2024", "li2024-ddpm", "li2024-cvae"),
    "li2024-redshift-cnn",
    "redshift",
    "test",
    (*LI_TABLE, *MORPHOLOGIES, *LI_FINDING),
    source="Li et al. 2024, Table 1 (trained on GalaxiesML, at redshifts uniform in 0.001-4)",
    remarks=("All models are asked for the test set's redshifts, so that real and generated galaxies are of the same ones", W1, BOTH_SIDES),
)


def find_paper(name: str) -> Paper:
    """The paper of that key, or that trained the model of that name.

    Raises:
        InputError: there is none; the sentence lists those there are.

    Example:
        >>> find_paper("li2024-cvae").key
        'li2024'
    """
    for paper in PAPERS.values():
        if name in (paper.key, *paper.models) or (name == paper.judge and name.startswith(paper.key)):
            return paper
    raise InputError(f"no paper {name!r} is known: choose one of {', '.join(PAPERS)}")
