"""What a path holds, in a few lines: a set of galaxies or a trained model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import distrusted
from hubbleflow.trained import TrainedModel

COLUMNS_SHOWN = 12


def describe(path: str | os.PathLike[str]) -> str:
    """A few lines about a set (an HDF5 file) or a model (a folder).

    Raises:
        InputError: there is nothing at the path, or it is neither.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give an HDF5 file of galaxies or the folder of a model")
    return describe_model(TrainedModel.load(path), path) if path.is_dir() else describe_set(GalaxySet.open(path))


def describe_set(galaxies: GalaxySet) -> str:
    """Lines about a set: how many, which survey, ranges of what is known."""
    survey, size = galaxies.survey, galaxies.image_size
    scale = f" at {survey.pixel_scale_arcsec:g} arcsec a pixel" if survey.pixel_scale_arcsec else ""
    zero_point = f", AB zero point {survey.zero_point:g}" if survey.zero_point is not None else ""
    lines = [
        f"{galaxies.path or 'set'}: {len(galaxies):,} galaxies of {survey.name}",
        f"  images      {len(survey.bands)} x {size} x {size} ({', '.join(survey.bands)}){scale}, {survey.unit}{zero_point}",
    ]
    known = np.isfinite(galaxies.redshift)
    if known.any():
        z = galaxies.redshift[known]
        lines.append(
            f"  redshift    {z.min():.3f} to {z.max():.3f}, median {np.median(z):.3f}"
            + ("" if known.all() else f", {int((~known).sum())} unknown")
        )
    if "category" in galaxies.columns:
        names, counts = np.unique(galaxies.category, return_counts=True)
        lines.append("  category    " + ", ".join(f"{name or 'unknown'} {count}" for name, count in zip(names, counts, strict=True)))
    planes = [name for name in ("psf", "ivar", "mask") if getattr(galaxies, name) is not None]
    if planes:
        lines.append(f"  with        {', '.join(planes)}")
    others = [name for name in galaxies.columns if name not in ("redshift", "category")]
    more = f" and {len(others) - COLUMNS_SHOWN} more" if len(others) > COLUMNS_SHOWN else ""
    lines.append(f"  columns     {', '.join(others[:COLUMNS_SHOWN])}{more}")
    if galaxies.measured:
        # As `hubbleflow measure` counts them: bits that are mere notes are not meant.
        doubtful = ", ".join(f"{number:,} {what}" for what, number in distrusted(galaxies.measured).items())
        lines.append(f"  measured    {len(galaxies.measured)} columns" + (f"; not to be trusted: {doubtful}" if doubtful else ""))
    notes = galaxies.provenance.get("notes", [])
    lines += [f"  note        {note}" for note in notes if isinstance(notes, list) and isinstance(note, str)]
    return "\n".join(lines)


def describe_model(trained: TrainedModel, path: Path) -> str:
    """Lines about a model: which, how large, what it was trained on and can be asked for."""
    survey, training, size = trained.survey, trained.training, trained.image_size
    steps = f"{trained.progress.get('steps', '?')} steps of {training['batch_size']}, seed {training['seed']}"
    lines = [
        f"{path}: {trained.title} ({trained.model.paper}), {trained.n_parameters:,} parameters",
        f"  images      {len(survey.bands)} x {size} x {size} of {survey.name} ({', '.join(survey.bands)}), {survey.unit}",
        f"  trained on  {training['n']:,} galaxies (data {training['data_hash'][:12]}), {steps}",
        f"  stretch     {trained.stretch.name}",
    ]
    for column in trained.conditions.columns:
        what = ", ".join(column.classes) if column.is_category else f"{column.low:.4g} to {column.high:.4g}"
        lines.append(f"  condition   {column.name}: {what}")
    return "\n".join(lines)
