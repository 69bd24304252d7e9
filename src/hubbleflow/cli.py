"""The command line: verbs only. Each reads galaxies or a model, calls one function, and says what came of it.

Exit codes: 0 done; 2 bad input, with one sentence on stderr (--debug shows the traceback); 130 stopped by Ctrl-C; 143 stopped by SIGTERM
(kill, a batch system). However it is stopped, no part of a file is left, nor a worker process. Of several processes that torchrun or
accelerate started together (ranks.py) the first speaks for all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hubbleflow import __version__
from hubbleflow.errors import InputError, Interrupted
from hubbleflow.ranks import Ranks, started

app = typer.Typer(
    name="hubbleflow",
    help="Generate galaxies at any redshift and of any kind, and prove physically that they are right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
importing = typer.Typer(help="Bring somebody's own files in as galaxies.", no_args_is_help=True)
app.add_typer(importing, name="import")

SetPath = Annotated[Path, typer.Argument(metavar="SET.h5", help="an HDF5 file of galaxies")]
OutPath = Annotated[Path, typer.Argument(metavar="OUT.h5", help="the file to write")]
TOGETHER = ("train", "generate")  # verbs that several processes share
LAST_WORD_S = 2.0
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of everything random")]


class Precision(StrEnum):
    """Floating-point types of networks."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class Spacing(StrEnum):
    """Of a movie's frames."""

    lookback = "lookback"
    redshift = "redshift"


def _version(shown: bool) -> None:
    if shown:
        print(f"hubbleflow {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Options of every verb; `--debug` is read in main()."""
    number = started()[1]
    if number > 1 and context.invoked_subcommand not in TOGETHER:
        raise InputError(
            f"{context.invoked_subcommand} is the work of one process, and {number} were started together: only {' and '.join(TOGETHER)} "
            "can be shared; start it without torchrun or accelerate launch"
        )


@app.command()
def simulate(
    out: OutPath,
    n: Annotated[int | None, typer.Option("--n", "-n", help="how many galaxies; 2000, or all that are given")] = None,
    seed: Seed = 1,
    survey: Annotated[
        str,
        typer.Option(help="whose depth, seeing and bands; all get the same galaxies, to i = 23 and fainter: half are below sdss' noise"),
    ] = "hsc-wide",
    image_size: Annotated[int, typer.Option("--image-size", "--size", help="pixels on a side")] = 64,
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", "--catalog", help="a table to draw instead: redshift, g_mag, ..., r_e, n, q, kind"),
    ] = None,
    hst: Annotated[Path | None, typer.Option(help="a folder of HST galaxies (GalSim's RealGalaxyCatalog) to draw instead")] = None,
    structure: Annotated[bool, typer.Option(help="bars, arms, knots, dust, companions")] = True,
    noise: Annotated[bool, typer.Option(help="photon noise, and what is left of the sky")] = True,
    neighbours: Annotated[bool, typer.Option(help="other galaxies that happen to stand there")] = True,
    seeing: Annotated[str, typer.Option(help="varied from pointing to pointing, or median")] = "varied",
    bright_stars: Annotated[bool, typer.Option("--bright-stars", help="a saturated star on 3 % of the stamps, with a mask")] = False,
    workers: Annotated[int | None, typer.Option(help="processes; one a core for more than 10,000 galaxies")] = None,
    dask: Annotated[str | None, typer.Option(help="address of a Dask scheduler whose workers do the work")] = None,
    device: Annotated[str, typer.Option(help="where to render: cpu or cuda")] = "cpu",
) -> None:
    """Draw a mock sky: galaxies with known truth, a catalogue's, or HST's as a survey would see them."""
    if hst is not None:
        from hubbleflow.simulate.hst import simulate_hst

        if catalogue is not None:
            raise InputError("--hst and --catalogue both say what to draw: give one of them.")
        others = {
            "--no-structure": not structure,
            "--no-neighbours": not neighbours,
            "--seeing": seeing != "varied",
            "--bright-stars": bright_stars,
            "--dask": dask is not None,
            "--device": device != "cpu",
        }
        if any(others.values()):
            raise InputError(
                f"--hst does not go with {', '.join(name for name, given in others.items() if given)}: HST's galaxies are drawn as they"
                " are, one a stamp, at the survey's median seeing, by processes of this machine; leave it out."
            )
        workers = 1 if workers is None else workers
        _report(simulate_hst(hst, out, n, seed=seed, survey=survey, image_size=image_size, noise=noise, workers=workers))
        return
    from hubbleflow.simulate import simulate as run

    _report(
        run(
            out,
            n,
            seed=seed,
            survey=survey,
            image_size=image_size,
            catalogue=catalogue,
            structure=structure,
            noise=noise,
            neighbours=neighbours,
            seeing=seeing,
            bright_stars=bright_stars,
            workers=workers,
            dask=dask,
            device=device,
        )
    )


@importing.command("galaxiesml")
def import_galaxiesml(
    source: Path,
    out: OutPath,
    secure: Annotated[bool, typer.Option("--secure", help="only secure spectroscopic redshifts")] = False,
    columns: Annotated[str | None, typer.Option(help="columns to keep, comma-separated; all where not given")] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many galaxies")] = None,
) -> None:
    """GalaxiesML's HDF5 files (Do et al. 2024)."""
    _import("galaxiesml", source, out, secure=secure, columns=_names(columns), limit=limit)


@importing.command("galaxy10")
def import_galaxy10(
    source: Path,
    out: OutPath,
    size: Annotated[int | None, typer.Option(help="stamp size after averaging pixels, e.g. 64")] = None,
    columns: Annotated[str | None, typer.Option(help="columns to keep, comma-separated")] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many galaxies")] = None,
) -> None:
    """Galaxy10 DECaLS (Leung & Bovy 2019); duplicates with conflicting labels are found and reported."""
    _import("galaxy10", source, out, size=size, columns=_names(columns), limit=limit)


@importing.command("images")
def import_images(
    source: Path,
    out: OutPath,
    images: Annotated[str | None, typer.Option(help="key of the images in the npz file")] = None,
    columns: Annotated[str | None, typer.Option(help="keys of columns, comma-separated")] = None,
    survey: Annotated[str | None, typer.Option(help="a known survey's name, or a new one's with --bands")] = None,
    bands: Annotated[str | None, typer.Option(help="bands of the images, comma-separated")] = None,
    category: Annotated[str | None, typer.Option(help="the column that is the kind of galaxy")] = None,
    redshift: Annotated[str | None, typer.Option(help="the column that is the redshift")] = None,
    pixel_scale: Annotated[float | None, typer.Option(help="arcsec a pixel")] = None,
    zero_point: Annotated[float | None, typer.Option(help="AB magnitude of one unit of flux")] = None,
    table: Annotated[Path | None, typer.Option(help="CSV, ECSV or FITS table that goes with a folder of pictures")] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many galaxies")] = None,
) -> None:
    """Stamps in an npz file, or a folder of pictures with a table."""
    _import(
        "images",
        source,
        out,
        images=images,
        columns=_names(columns),
        survey=survey,
        bands=_names(bands),
        category=category,
        redshift=redshift,
        pixel_scale=pixel_scale,
        zero_point=zero_point,
        table=table,
        limit=limit,
    )


@importing.command("fits")
def import_fits(
    source: Path,
    out: OutPath,
    survey: Annotated[str | None, typer.Option(help="a known survey's name")] = None,
    bands: Annotated[str | None, typer.Option(help="extensions to read, comma-separated")] = None,
    table: Annotated[Path | None, typer.Option(help="table with one row a file")] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many galaxies")] = None,
) -> None:
    """FITS cutouts, one HDU a band: a file or a folder of them."""
    _import("fits", source, out, survey=survey, bands=_names(bands), table=table, limit=limit)


@importing.command("scenes")
def import_scenes(
    source: Path,
    out: OutPath,
    survey: Annotated[str | None, typer.Option(help="a known survey's name")] = None,
    size: Annotated[int | None, typer.Option(help="stamp size in pixels")] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many galaxies")] = None,
) -> None:
    """Scenes with several objects (npz): a stamp is cut at every peak."""
    _import("scenes", source, out, survey=survey, size=size, limit=limit)


@app.command()
def split(
    galaxies: SetPath,
    parts: Annotated[list[Path], typer.Argument(metavar="PART.h5...", help="the files to write, one a fraction")],
    fractions: Annotated[str, typer.Option(help="share of each part, comma-separated")] = "0.8,0.2",
    seed: Seed = 0,
) -> None:
    """Split a set at random into disjoint parts, e.g. to train on one and judge by the other."""
    from hubbleflow.asking import parse_fractions
    from hubbleflow.galaxies import GalaxySet

    for path, part in zip(parts, GalaxySet.open(galaxies).split(parse_fractions(fractions, len(parts)), seed), strict=True):
        _report(part.write(path))


@app.command()
def clean(
    galaxies: SetPath,
    out: Annotated[Path, typer.Argument(metavar="CLEAN.h5", help="the file to write")],
    table: Annotated[Path | None, typer.Option(metavar="REMOVED.ecsv", help="list what was left out, and why, one row a galaxy")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="PICTURE.png", help="also draw the first of those left out")] = None,
    min_snr: Annotated[float, typer.Option(help="least signal-to-noise ratio of the central galaxy")] = 10.0,
    max_noise: Annotated[float, typer.Option(help="pixel noise over the set's median")] = 3.0,
    max_sky_colour: Annotated[float, typer.Option(help="what the sky has in one band and not in another, in sigmas")] = 4.0,
    max_one_band_light: Annotated[float, typer.Option(help="share of the pixels that shine in one band alone")] = 0.12,
    max_neighbour_flux: Annotated[float, typer.Option(help="flux of another object over the galaxy's")] = 0.6,
    max_other_light: Annotated[float, typer.Option(help="share of the light that is other objects'")] = 0.5,
    max_companion_flux: Annotated[float, typer.Option(help="as --max-neighbour-flux, in categories of companions")] = 4.0,
    companions: Annotated[str, typer.Option(help="words in the names of such categories, comma-separated")] = "merg,disturb",
    workers: Annotated[int | None, typer.Option(min=1, help="processes; all cores for large sets where not given")] = None,
) -> None:
    """Leave out contaminated, noisy and ambiguous stamps, and say of each why; the set itself stays as it is."""
    from hubbleflow.clean import Limits
    from hubbleflow.clean import clean as run
    from hubbleflow.counting import counting
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.report.colour import sheet as draw

    limits = Limits(
        min_snr=min_snr,
        max_noise=max_noise,
        max_sky_colour=max_sky_colour,
        max_one_band_light=max_one_band_light,
        max_neighbour_flux=max_neighbour_flux,
        max_other_light=max_other_light,
        max_companion_flux=max_companion_flux,
        companions=_names(companions),
    )
    whole = GalaxySet.open(galaxies)
    with counting("looking at stamps", len(whole)) as on_progress:
        found = run(galaxies, out, table, limits, workers, on_progress)
    gone = whole[~found.kept]
    print(f"{out}: {len(whole) - len(gone):,} of {len(whole):,} galaxies; {len(gone):,} left out")
    for reason, number in found.counts.items():
        print(f"  {reason:15}{number:6,}")
    if table is not None:
        print(f"{table}: which, and why")
    if sheet is not None and len(gone):
        draw(gone[:64], sheet, labels=[" ".join(found.why(int(row))) for row in (~found.kept).nonzero()[0][:64]])


@app.command()
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA.h5", help="the galaxies to learn from")],
    model_folder: Annotated[Path, typer.Argument(metavar="MODEL", help="the folder to write")],
    model: Annotated[str, typer.Option(help="which model: a name that 'hubbleflow models' lists, or your own .py file")] = "edm",
    scale: Annotated[
        str, typer.Option(help="paper: the published size; small: one for minutes on a CPU, where the model has one")
    ] = "paper",
    condition: Annotated[str | None, typer.Option(help="columns to condition on, comma-separated: redshift, category, i_mag, ...")] = None,
    minutes: Annotated[float | None, typer.Option(help="budget in minutes")] = None,
    steps: Annotated[int | None, typer.Option(help="budget in steps: reproducible to the bit")] = None,
    batch_size: Annotated[int | None, typer.Option(help="galaxies a step, of all processes together")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr", help="peak learning rate")] = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint")] = False,
    stretch: Annotated[str | None, typer.Option(help="asinh, linear, minmax or none")] = None,
    dropout: Annotated[float | None, typer.Option(help="probability of dropping conditions, for guidance")] = None,
    precision: Annotated[Precision, typer.Option(help="of the network")] = Precision.auto,
    augment: Annotated[bool, typer.Option("--augment/--no-augment", help="flips and quarter turns")] = True,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="leave out galaxies whose conditions are unusable")] = False,
    save_every: Annotated[int | None, typer.Option(help="steps between checkpoints; every minute where not given")] = None,
    sheets: Annotated[bool, typer.Option("--sheets/--no-sheets", help="draw galaxies during training")] = True,
    snapshots: Annotated[
        int, typer.Option(min=0, help="how often to keep averages of the weights, for 'hubbleflow average' to choose among afterwards")
    ] = 0,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="MODEL", help="start from a trained model's weights: its folder, a shipped one's name, or hf://USER/NAME"
        ),
    ] = None,
    argument: Annotated[
        list[str] | None, typer.Option("--argument", "-a", metavar="NAME=VALUE", help="a model's own argument, e.g. width=48")
    ] = None,
) -> None:
    """Train a model on galaxies.

    On several GPUs or machines: torchrun --nproc-per-node 4 -m hubbleflow train ...
    """
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.models import model_of
    from hubbleflow.models.from_file import VARIABLE, file_of
    from hubbleflow.training import Recipe
    from hubbleflow.watch import train as run

    with Ranks.here().same_fate():
        kind = model_of(model)
        recipe = Recipe(
            model=kind.name,
            scale=scale,
            conditions=_names(condition) or None,
            stretch=stretch,
            steps=steps,
            minutes=minutes,
            batch_size=batch_size,
            learning_rate=learning_rate,
            dropout=dropout,
            augment=augment,
            precision=precision.value,
            seed=seed,
            save_every=save_every,
            skip_bad_rows=skip_bad_rows,
            start=start,
            snapshots=snapshots,
            arguments=_arguments(argument or []),
        )
        galaxies = GalaxySet.open(data)
    training = run(galaxies, model_folder, recipe, resume, sheets)
    print(f"{model_folder}: {kind.titled(scale)} after {training.step:,} steps")
    if file_of(kind):
        print(f"to use it: export {VARIABLE}={model}")


@app.command()
def average(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a model's folder, trained with --snapshots")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="the folder to write")],
    length: Annotated[float, typer.Option(help="of the average, as a share of the training (sigma_rel of Karras et al. 2024)")] = 0.1,
    step: Annotated[int | None, typer.Option(help="up to which; the last that was kept where not given")] = None,
) -> None:
    """Average a model's weights over another stretch of its training, after it."""
    from hubbleflow.averages import averaged

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: choose a new folder, so that nothing is overwritten")
    made = averaged(model, length, step)
    made.save(out)
    record = made.training["average"]
    print(f"{out}: {made.title} of {model}, averaged over {length:g} of {record['step']:,} steps, of {record['snapshots']} snapshots")


@app.command()
def generate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a generator: its folder, a shipped one's name, or hf://USER/NAME")],
    out: OutPath,
    n: Annotated[int | None, typer.Option("--n", "-n", help="how many galaxies")] = None,
    redshift: Annotated[str | None, typer.Option(help="0.5, or a range 0.1:2 (uniform), or a list 0.1,0.5,1")] = None,
    category: Annotated[str | None, typer.Option(help="the kind of galaxy, or several, comma-separated")] = None,
    condition: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="any other condition: a value, range A:B or list")
    ] = None,
    like: Annotated[Path | None, typer.Option(metavar="SET.h5", help="take another set's conditions, galaxy by galaxy")] = None,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="with --like: leave out unusable conditions")] = False,
    guidance: Annotated[float, typer.Option(help="1 = as trained; above 1 exaggerates the conditions, or leads away from --guide")] = 1.0,
    guide: Annotated[
        str | None, typer.Option(metavar="MODEL", help="a weaker generator of the same galaxies, whose errors --guidance leads away from")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="of the sampler; edm's are 10, and 20 of a sampler that is not its own")] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="dpm++2m (the default), dpm++3m (of 15 steps and more), unipc, deis, ipndm, heun, euler, edm-stochastic, ancestral; the "
            "papers' DDPMs draw ancestral by default"
        ),
    ] = None,
    seed: Seed = 0,
    extrapolate: Annotated[bool, typer.Option("--extrapolate", help="allow conditions outside the trained range")] = False,
    precision: Annotated[Precision, typer.Option(help="of the network")] = Precision.auto,
    batch_size: Annotated[int, typer.Option(min=1, help="galaxies at a time")] = 64,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...: a GPU where there is one")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="PICTURE.png", help="also draw the first galaxies")] = None,
) -> None:
    """Draw galaxies from a generator.

    On several GPUs or machines: torchrun --nproc-per-node 4 -m hubbleflow generate ... -n 1000000
    """
    from hubbleflow.asking import parse_conditions
    from hubbleflow.counting import counting
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.generator import Generator
    from hubbleflow.precision import best_device
    from hubbleflow.pretrained import find_model
    from hubbleflow.report.colour import sheet as draw

    ranks = Ranks.here()
    with ranks.same_fate():
        where = device or ranks.device or best_device()
        generator = Generator.load(find_model(model), where)
        if guide is not None:
            if guidance == 1:
                raise InputError("--guide has no effect at --guidance 1: try --guidance 1.5")
            generator = generator.guided_by(Generator.load(find_model(guide), where))
        if like is not None and out.exists() and like.exists() and out.samefile(like):
            raise InputError(f"{out} is the set whose conditions are asked for: give the generated one another name")
        if like is not None:
            if n is not None or redshift or category or condition:
                raise InputError("--like takes its conditions from the set: leave out --n, --redshift, --category and --condition")
            values = generator.conditions_like(GalaxySet.open(like), skip_bad_rows)
            if lacking := [name for name in generator.conditions.names if name not in values]:
                print(f"{like} has no {', '.join(lacking)}: drawn as galaxies like its own have them", file=sys.stderr)
        else:
            asked = dict(pair.partition("=")[::2] for pair in condition or [])
            asked |= {name: text for name, text in (("redshift", redshift), ("category", category)) if text is not None}
            values = generator.asked(parse_conditions(asked, n, seed, generator.conditions), n, seed)
    with counting("drawing galaxies", len(next(iter(values.values())))) as on_progress:
        galaxies = generator.generate(
            out,
            values,
            seed,
            steps=steps,
            guidance=guidance,
            sampler=sampler,
            extrapolate=extrapolate,
            precision=precision.value,
            batch_size=batch_size,
            on_progress=on_progress,
            ranks=ranks,
        )
    if not ranks.is_first:
        return
    if sheet is not None:
        draw(galaxies[:64], sheet)
    _report(galaxies)


@app.command()
def evolve(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a generator: its folder, a shipped one's name, or hf://USER/NAME")],
    out: Annotated[Path, typer.Argument(metavar="OUT.mp4", help="a movie, .mp4 or .gif, or a cube of numbers, .fits")],
    seeds: Annotated[int | None, typer.Option(min=1, help="how many galaxies; 8, or one where --seed is given")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="of the first of them, the next ones following; 1")] = None,
    redshift: Annotated[
        str | None, typer.Option(help="from where to where, e.g. 3:0.1; from 99 to 1 % of the trained redshifts, as time goes")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="how many redshifts")] = 60,
    spacing: Annotated[Spacing, typer.Option(help="whether frames are even in lookback time or in redshift")] = Spacing.lookback,
    kind: Annotated[str | None, typer.Option(help="of galaxy, or several, comma-separated, which the galaxies take in turn")] = None,
    population: Annotated[
        Path | None, typer.Option(metavar="SET.h5", help="a measured set to compare with; 400 galaxies are drawn where not given")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="of the sampler")] = None,
    sampler: Annotated[str | None, typer.Option(help="a deterministic one, see generate")] = None,
    fps: Annotated[float, typer.Option(min=1, max=100, help="frames a second")] = 15.0,
    extrapolate: Annotated[bool, typer.Option("--extrapolate", help="allow redshifts outside the trained range")] = False,
    precision: Annotated[Precision, typer.Option(help="of the network")] = Precision.auto,
    batch_size: Annotated[int, typer.Option(min=1, help="images at a time")] = 64,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...: a GPU where there is one")] = None,
) -> None:
    """Watch galaxies, each of one noise, through cosmic time, beside the population; measured frame by frame."""
    from hubbleflow.asking import parse_conditions
    from hubbleflow.counting import counting
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.generator import Generator
    from hubbleflow.movies import Population, asked_redshifts, check_movie_path
    from hubbleflow.movies import evolve as run
    from hubbleflow.precision import best_device
    from hubbleflow.pretrained import find_model
    from hubbleflow.report.evolution import write_evolution
    from hubbleflow.report.evolution_words import summary

    check_movie_path(out)
    generator = Generator.load(find_model(model), device or best_device())
    redshifts = asked_redshifts(generator, redshift, frames, spacing.value)
    first, n = (1 if seed is None else seed), seeds or (8 if seed is None else 1)
    kinds = None
    if kind is not None:  # of a word for several kinds no more than there are galaxies
        kinds = parse_conditions({"category": kind}, None, 0, generator.conditions)["category"][: max(n, kind.count(",") + 1)]
    others = None
    if population is not None:
        sky = GalaxySet.open(population)
        generator.check_survey(sky, "as the population")
        others = Population.measured(sky, redshifts, kinds)
    track = run(
        generator,
        range(first, first + n),
        redshifts,
        kinds,
        steps=steps,
        sampler=sampler,
        extrapolate=extrapolate,
        precision=precision.value,
        batch_size=batch_size,
        progress=True,
    )
    others = others or Population.generated(generator, track, progress=True)
    with counting("drawing frames", frames) as on_progress:
        write_evolution(track, out, others, fps, on_progress)
    print(f"{out}: {summary(track, others)}")


@app.command()
def explore(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a generator: its folder, a shipped one's name, or hf://USER/NAME")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="of this machine; 0 for any that is free")] = 8000,
    host: Annotated[
        str, typer.Option(help="address to listen at; other machines reach the page where it is not this one's own")
    ] = "127.0.0.1",
    steps: Annotated[int | None, typer.Option(min=1, help="of the sampler; a dragged slider takes fewer")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of the first galaxy")] = 1,
    population: Annotated[Path | None, typer.Option(metavar="SET.h5", help="a measured set to compare with")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the page")] = True,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...: a GPU where there is one")] = None,
) -> None:
    """A page in the browser: drag redshift and kind, see galaxies change, measured beside a population."""
    from hubbleflow.explore import explore as run
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.generator import Generator
    from hubbleflow.precision import best_device
    from hubbleflow.pretrained import find_model

    generator = Generator.load(find_model(model), device or best_device())
    sky = GalaxySet.open(population) if population is not None else None
    run(generator, sky, host=host, port=port, steps=steps, seed=seed, browser=browser)


@app.command()
def measure(
    galaxies: SetPath,
    table: Annotated[
        Path | None, typer.Option(metavar="OUT.ecsv", help="also write the whole table: .ecsv, .fits, .csv or .parquet")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; all cores where not given")] = None,
    dask: Annotated[str | None, typer.Option(help="address of a Dask scheduler whose workers do the work")] = None,
    sersic: Annotated[bool, typer.Option("--sersic/--no-sersic", help="fit Sersic profiles")] = True,
    shapes: Annotated[bool, typer.Option("--shapes/--no-shapes", help="measure Gini, M20, concentration, asymmetry, smoothness")] = True,
    force: Annotated[bool, typer.Option("--force", help="measure afresh what has been measured, wholly or in part")] = False,
) -> None:
    """Measure every galaxy of a set, into the file's group measured/; goes on where a killed run ended."""
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.measure import Recipe, distrusted, is_measured, measure_file
    from hubbleflow.tables import check_table_path, write_table

    if table is not None:
        check_table_path(table)
    recipe = Recipe(sersic=sersic, shapes=shapes)
    again = not force and is_measured(GalaxySet.open(galaxies), recipe)
    measured = measure_file(galaxies, workers, recipe=recipe, dask=dask, force=force)
    opened = GalaxySet.open(galaxies)
    if table is not None:
        write_table(opened, table)
    counts = ", ".join(f"{number:,} {what}" for what, number in distrusted(measured.columns).items())
    print(f"{galaxies}: {len(opened):,} galaxies measured in {', '.join(opened.bands)}; not to be trusted: {counts}")
    if again:
        print("they had been measured by this recipe before: --force measures them again")


@app.command()
def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="a model that reads galaxies: its folder, a shipped one's name, or hf://USER/NAME")
    ],
    galaxies: SetPath,
    out: Annotated[Path, typer.Argument(metavar="OUT.ecsv", help="the table to write: .ecsv, .fits, .csv or .parquet")],
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...: a GPU where there is one")] = None,
) -> None:
    """Read every galaxy's redshift (of a density: also its 16, 50 and 84 % quantiles) or class; what the set knows is kept beside it."""
    from hubbleflow.counting import counting
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.precision import best_device
    from hubbleflow.predictor import Predictor
    from hubbleflow.pretrained import find_model
    from hubbleflow.tables import check_table_path, write_table

    check_table_path(out)
    predictor, read = Predictor.load(find_model(model), device or best_device()), GalaxySet.open(galaxies)[:]
    with counting("reading galaxies", len(read)) as on_progress:
        found = predictor.columns(read, on_progress)
    read.columns |= found
    write_table(read, out)
    print(f"{out}: {len(read):,} galaxies read by {predictor.model.name}: {', '.join(found)}")


@app.command()
def evaluate(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="a set (HDF5), or a table: .fits, .ecsv, .csv, .parquet, .h5")],
    generated: Annotated[Path, typer.Argument(metavar="GENERATED", help="another")],
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="the folder to write")],
    redshift_model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="a trained model that reads redshifts, or 'none'; by default one is trained on half of REAL"),
    ] = None,
    category_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="likewise one that tells categories, where both sets have them")
    ] = None,
    judge_steps: Annotated[int, typer.Option(min=1, help="of training those judges")] = 1200,
    survey: Annotated[str | None, typer.Option(help="of tables that name none")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="THEIRS=OURS,...", help="columns of tables under our names, e.g. area=i_isophotal_area")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where what is computed of a set is kept; ~/.cache/hubbleflow where not given")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="keep nothing, take nothing that was kept")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="processes for large sets; all cores where not given")] = None,
    perception: Annotated[
        bool, typer.Option("--perception/--no-perception", help="also distances and scores by a network for photographs: minutes")
    ] = False,
    inception: Annotated[
        Path | None, typer.Option(metavar="WEIGHTS.pth", help="likewise by Inception-v3 with these weights: the papers' FID and IS")
    ] = None,
    training: Annotated[
        Path | None, typer.Option(metavar="SET.h5", help="what GENERATED's generator has learnt from: were galaxies of it copied?")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Judge one set by another: REPORT/report.html and REPORT/metrics.json."""
    from hubbleflow.asking import parse_names
    from hubbleflow.cache import Cache
    from hubbleflow.files import make_folder
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.judge import CategoryJudge, RedshiftJudge
    from hubbleflow.measured_input import open_both
    from hubbleflow.metrics import evaluate as run
    from hubbleflow.perception import perceived
    from hubbleflow.report import write_report

    sky, made, assumed = open_both(real, generated, survey, parse_names(columns))
    learnt = GalaxySet.open(training) if training else None
    make_folder(report)
    kept = Cache.opened(cache, not no_cache)
    seen = perceived(perception, inception, (sky.survey, made.survey))
    # Models that were named are opened before any is trained: what is wrong with them is told at once.
    named = sorted(((RedshiftJudge, redshift_model), (CategoryJudge, category_model)), key=lambda pair: pair[1] is None)
    judges = {kind: kind.of(sky, made, report, model, judge_steps, seed, kept, workers) for kind, model in named}
    judge, sorter = judges[RedshiftJudge], judges[CategoryJudge]
    sky, made = (sorter.read(judge.read(galaxies)) for galaxies in (sky, made))
    found = run(sky, made, seed=seed, features=judge.features, cache=kept, workers=workers, image_features=seen, training=learnt)
    found = replace(found, notes=(*assumed, *filter(None, (judge.note, sorter.note)), *found.notes))
    write_report(found, report)
    print(found.summary())
    if kept.taken:
        print(f"from the cache {kept.folder}: {kept.said()}")
    if kept.trouble:
        print(f"hubbleflow: not everything could be kept: {kept.trouble}", file=sys.stderr)
    print(f"{report / 'report.html'}")


@app.command()
def compare(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT", help="folders that evaluate wrote, or their metrics.json")],
    out: Annotated[
        Path | None, typer.Option(metavar="NAME", help="also write NAME.html, NAME.md, NAME.tex and NAME.json, e.g. leaderboard")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="of a generator; once for each report, in their order")] = None,
    force: Annotated[bool, typer.Option("--force", help="also where the reports were made on different real galaxies")] = False,
) -> None:
    """Rank several generators by their reports on the same real galaxies: a leaderboard."""
    from hubbleflow.report.leaderboard import Leaderboard
    from hubbleflow.report.leaderboard_page import markdown, write

    board = Leaderboard.read(reports, name or (), force)
    written = write(board, out) if out is not None else []
    print(markdown(board), end="")
    if written:
        print(f"\n{', '.join(map(str, written))}")


@app.command()
def info(path: Annotated[Path, typer.Argument(help="an HDF5 file of galaxies, a model's folder, or the name of a shipped model")]) -> None:
    """What a set or a model is, in a few lines."""
    from hubbleflow.describe import describe
    from hubbleflow.pretrained import ON_HUB, find_model, shipped

    named = not path.exists() and (str(path) in shipped() or ON_HUB.fullmatch(str(path)))
    print(describe(find_model(path) if named else path))


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json", help="a list of objects instead of a table")] = False) -> None:
    """List the models that can be trained."""
    import json

    from hubbleflow.model_list import model_rows, print_models

    rows = model_rows()
    if as_json:
        print(json.dumps([row.to_dict() for row in rows], indent=2))
    else:
        print_models(rows)


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="lizarraga2024, li2024 or fan2025; or one of their models")],
    scale: Annotated[str, typer.Option(help="small: for a CPU; paper: the published sizes, for a GPU and the real data")] = "small",
    data: Annotated[
        Path | None, typer.Option(metavar="SET.h5", help="galaxies to learn from; a mock sky is made where none are given")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(metavar="TEST.h5", help="galaxies to judge by; a fifth of the others where not given")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="of training each network; 30 at small scale, the authors' steps at paper scale")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the folder to write; reproduce_PAPER where not given")] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="galaxies that each model draws")] = 2000,
    also: Annotated[
        str,
        typer.Option(
            "--with", help="further models in the same table, or your own .py files; MODEL:asinh is one on another stretch; none for none"
        ),
    ] = "edm",
    steps: Annotated[int | None, typer.Option(help="of the samplers, at most: the papers' own take 1,000")] = None,
    galaxies: Annotated[int, typer.Option(min=1, help="of the mock sky")] = 20_000,
    seed: Seed = 0,
) -> None:
    """Train a paper's models, and set what comes of them beside what it printed; started again, it goes on where it ended."""
    from hubbleflow.reproduce import Settings, find_paper
    from hubbleflow.reproduce import reproduce as run

    found = find_paper(paper)
    others = tuple(name for name in _names(also) if name != "none")
    folder = out or Path(f"reproduce_{found.key}")
    settings = Settings(scale, minutes, n, seed, others, steps, galaxies, data, test)
    print(run(found, folder, settings).markdown())
    print(f"{folder / 'reproduce.html'}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="the folder to write")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="of training the generator")] = 3.0,
    n_train: Annotated[int, typer.Option(min=16, help="mock galaxies to train on")] = 8000,
    n_test: Annotated[int, typer.Option(min=16, help="mock galaxies to judge by; half as many are drawn")] = 1200,
    seed: Seed = 1,
) -> None:
    """The whole road in a few minutes: mock sky, generator, galaxies, verdict."""
    from hubbleflow.demo import demo as run

    report = run(out, minutes, min(1.0, minutes), n_train, n_test, seed)
    print(report.summary())
    print(f"the report is {out / 'report' / 'report.html'}")


def _import(archive: str, source: Path, out: Path, **given: Any) -> None:
    from hubbleflow.datasets import import_archive

    print(import_archive(archive, source, out, progress=True, **given))


def _report(galaxies: Any) -> None:
    from hubbleflow.describe import describe

    print(describe(galaxies.path))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _arguments(pairs: list[str]) -> dict[str, Any]:
    import json

    values = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"--argument {pair!r} is not NAME=VALUE with a number or list as value") from error
    return values


class _Terminated(BaseException):
    """SIGTERM came."""


class _Sigterm:
    """SIGTERM raises `_Terminated`, as Ctrl-C raises KeyboardInterrupt, and ends our worker processes; `came` says whether it did."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGTERM, self._raise)
        sys.unraisablehook = self._lost

    def _raise(self, number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # `timeout`, for one, sends it twice: once is enough
        self.came = True
        for worker in multiprocessing.active_children():
            worker.terminate()  # else we would wait for the end of their tasks
        raise _Terminated

    def _lost(self, lost: Any) -> None:
        # What is raised while a destructor or a weak reference's callback runs is lost: the signal must come again.
        if lost.exc_type is _Terminated:
            signal.signal(signal.SIGTERM, self._raise)
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            sys.__unraisablehook__(lost)


@contextmanager
def _spoken_for(others: bool) -> Iterator[None]:
    """Silence where another process speaks for this one, and time for its last word: when one fails, the launcher ends all."""
    if not others:
        yield
        return
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    try:
        yield
    except SystemExit as end:
        if end.code:
            with suppress(_Terminated):
                time.sleep(LAST_WORD_S)
        raise
    except Exception:
        sys.stderr = sys.__stderr__  # a defect of ours is shown whichever process has it
        raise


def main() -> None:
    """Entry point of the command `hubbleflow`."""
    sigterm = _Sigterm()
    with _spoken_for(started()[0] > 0):
        _run(sigterm)


def _run(sigterm: _Sigterm) -> None:
    debug = "--debug" in sys.argv
    if debug:
        sys.argv = [sys.argv[0], *(word for word in sys.argv[1:] if word != "--debug")]
    try:
        app()
    except InputError as error:
        if sigterm.came:  # its workers had an end, and that was noticed first
            _fail("stopped", 128 + signal.SIGTERM)
        if debug:
            raise
        _fail(str(error), 2)
    except Interrupted as error:
        _fail(str(error), 130)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except _Terminated:
        _fail("stopped", 128 + signal.SIGTERM)
    except BrokenPipeError:
        os._exit(0)  # the reader of our output went away, e.g. `head`


def _fail(sentence: str, code: int) -> None:
    print(f"hubbleflow: {sentence}", file=sys.stderr)
    raise SystemExit(code)
