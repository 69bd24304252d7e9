"""Two sides of a comparison made alike: measured by one recipe where that can be done, and told where they differ and it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Recipe
from hubbleflow.measured_table import MeasuredTable

if TYPE_CHECKING:
    from hubbleflow.metrics.result import Result
    from hubbleflow.metrics.streaming import Streaming

Galaxies = GalaxySet | MeasuredTable

# What sets that bring no measurements are measured by. No Sersic fit: the sky's sets ship their PSF and a generator's do not, so that one
# would be fitted with the PSF and the other with a guess of it. Where both bring the columns, they are compared.
RECIPE = Recipe(sersic=False, shapes=False)


def survey_notes(real: Galaxies, generated: Galaxies) -> tuple[str, ...]:
    """In what the two differ before anything is measured: bands, pixels, flux, stamps; a sentence each.

    Raises:
        InputError: they have no band in common.
    """
    ours, theirs = real.survey, generated.survey
    if not set(ours.bands) & set(theirs.bands):
        raise InputError(
            f"the real set has bands {', '.join(ours.bands)} and the generated one {', '.join(theirs.bands)}: none in common to compare"
        )
    notes = []
    if ours.bands != theirs.bands:
        notes.append(
            f"the real set has bands {', '.join(ours.bands)}, the generated one {', '.join(theirs.bands)}: "
            "only those in common are compared"
        )
    if ours.pixel_scale_arcsec != theirs.pixel_scale_arcsec:
        scales = [f"{s.pixel_scale_arcsec} arcsec" if s.pixel_scale_arcsec else "an unknown scale" for s in (ours, theirs)]
        notes.append(f"pixels are {scales[0]} in the real set and {scales[1]} in the generated one: sizes in pixels do not mean the same")
    if (ours.unit, ours.zero_point) != (theirs.unit, theirs.zero_point):
        notes.append(
            f"flux is in {ours.unit} (zero point {ours.zero_point}) in the real set, "
            f"{theirs.unit} ({theirs.zero_point}) in the generated one"
        )
    if isinstance(real, MeasuredTable) or isinstance(generated, MeasuredTable):
        return tuple(notes)
    if real.images.shape[2:] != generated.images.shape[2:]:
        shapes = ["x".join(map(str, s.images.shape[2:])) for s in (real, generated)]
        notes.append(
            f"stamps are {shapes[0]} px in the real set and {shapes[1]} px in the generated one: areas are cut off at different limits"
        )
    return tuple(notes)


def measured_alike(real: Galaxies, generated: Galaxies, streaming: Streaming) -> tuple[Galaxies, Galaxies, tuple[str, ...]]:
    """Both sets with columns of one recipe."""
    if isinstance(real, MeasuredTable) or isinstance(generated, MeasuredTable):
        return _beside_a_table(real, generated, streaming)
    notes: tuple[str, ...] = ()
    if real.measured and generated.measured and real.recipe != generated.recipe:
        notes = ("the two sets had been measured by different recipes, so both were measured again",)
        real, generated = streaming.measured(real, "real", RECIPE), streaming.measured(generated, "generated", RECIPE)
    real = real if real.measured else streaming.measured(real, "real", RECIPE)
    generated = generated if generated.measured else streaming.measured(generated, "generated", RECIPE)
    if real.recipe != generated.recipe:  # one brought columns of another recipe than ours of today
        notes = ("one set had been measured by another recipe than this version's, so both were measured again",)
        real, generated = streaming.measured(real, "real", RECIPE), streaming.measured(generated, "generated", RECIPE)
    return real, generated, (*notes, *_psf_notes(real, generated))


def _psf_notes(real: GalaxySet, generated: GalaxySet) -> tuple[str, ...]:
    """That Sersic profiles are not alike where one side's were fitted through its PSF and the other's through a guess."""
    fitted = all(f"{galaxies.survey.reference_band}_sersic_index" in galaxies.measured for galaxies in (real, generated))
    if not fitted or (real.psf is None) == (generated.psf is None):
        return ()
    names = ("real", "generated") if generated.psf is None else ("generated", "real")
    return (
        f"the {names[0]} set brings its PSF and the {names[1]} one does not: Sersic profiles were fitted through it on one side, through "
        "the survey's stated seeing on the other, and differ by that, too; to compare them, measure both without",
    )


def _beside_a_table(real: Galaxies, generated: Galaxies, streaming: Streaming) -> tuple[Galaxies, Galaxies, tuple[str, ...]]:
    """A table can't be measured again: the other side is measured for the columns that it has, and what is not known of it is said."""
    sides, names = (real, generated), ("real", "generated")
    band, found = real.survey.reference_band, [galaxies.measured for galaxies in sides if isinstance(galaxies, MeasuredTable)]
    sersic = any(f"{band}_sersic_index" in measured for measured in found)
    shapes = any(f"{band}_asymmetry" in measured for measured in found)
    recipe = replace(RECIPE, sersic=sersic, shapes=shapes)
    alike = [
        galaxies if galaxies.measured or isinstance(galaxies, MeasuredTable) else streaming.measured(galaxies, which, recipe)
        for galaxies, which in zip(sides, names, strict=True)
    ]
    notes: tuple[str, ...] = (f"the {tables_among(real, generated)} set came as a table: nothing that needs images was compared",)
    known = [[galaxies.recipe.get(key) for key in ("recipe", "recipe_number")] for galaxies in alike]
    if known[0] != known[1] or None in known[0]:
        notes += ("the two sets were not measured by one recipe, as far as is known: differences may be those of the measurements",)
    return alike[0], alike[1], notes


def tables_among(real: Galaxies, generated: Galaxies) -> str:
    """Which sides are tables: "real", "generated", "real and the generated", or ""."""
    sides = (("real", real), ("generated", generated))
    return " and the ".join(which for which, galaxies in sides if isinstance(galaxies, MeasuredTable))


def without_images(result: Result, tables: str) -> Result:
    """Why there is no value, where images are wanted and there are none to give: not for want of a network."""
    wants = not result.computed and any(word in (result.note or "") for word in ("image", "redshift model"))
    return replace(result, note=f"{result.note}; the {tables} set is a table and has no images") if wants else result
