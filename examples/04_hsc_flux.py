"""Real flux: a generator conditioned on measured brightness and size, judged against galaxies it has never seen.

New here: measured columns as conditions, and `evaluate` on real HSC galaxies. 600 galaxies at HSC Wide depth (one band, linear flux) are
measured; 480 teach the generator, the other 120 say what to ask for and then judge what was drawn, with the noise floor beside every
number. 120 galaxies make a coarse judge: differences smaller than the floor cannot be seen.

    python examples/04_hsc_flux.py [hsc_wide_deep_64.npz] [--out FOLDER] [--steps 2500]

The same by hand (the archive does not state the band; i, the band of HSC's sharpest images, is our reading):

    hubbleflow import images hsc_wide_deep_64.npz hsc.h5 --images wide --survey hsc-i
    hubbleflow measure hsc.h5
    hubbleflow split hsc.h5 train.h5 test.h5 --fractions 0.8,0.2 --seed 1
    hubbleflow train train.h5 generator --condition i_mag,i_half_light_radius --steps 2500 --seed 1 --skip-bad-rows
    hubbleflow generate generator generated.h5 --like test.h5 --skip-bad-rows --extrapolate
    hubbleflow evaluate test.h5 generated.h5 report
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hubbleflow.counting import counting
from hubbleflow.datasets import import_archive
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import measure_file, trusted
from hubbleflow.metrics import evaluate
from hubbleflow.report import sheet, write_report
from hubbleflow.training import Recipe
from hubbleflow.watch import train

# Noise levels of the run whose figures docs/results.md states. The default has since become wider, for bright galaxies: leave them out
# for that.
NOISE_LEVELS = {"p_mean": 0.0, "p_std": 1.4, "sigma_max": 60.0}

ASKED = ("i_mag", "i_half_light_radius")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, default=Path("../shared/data/hsc_two_depths/hsc_wide_deep_64.npz"))
    parser.add_argument("--out", type=Path, default=Path("runs/04_hsc_flux"))
    parser.add_argument("--steps", type=int, default=2500, help="of training the generator")
    arguments = parser.parse_args()
    out = arguments.out

    print(import_archive("images", arguments.source, out / "hsc.h5", images="wide", survey="hsc-i"))
    measure_file(out / "hsc.h5")
    galaxies = GalaxySet.open(out / "hsc.h5")
    real, held_out = galaxies.split([0.8, 0.2], seed=1)
    # A galaxy whose brightness could not be measured cannot teach or be asked for; it stays in the judging set, flagged.
    real = real[trusted(real.measured["flag"])]

    recipe = Recipe(model="edm", conditions=ASKED, steps=arguments.steps, seed=1, arguments=NOISE_LEVELS, skip_bad_rows=True)
    generator = train(real, out / "generator", recipe, resume=True).averaged()

    askable = held_out[trusted(held_out.measured["flag"])]
    values = generator.conditions_like(askable)
    with counting("drawing galaxies", len(askable)) as on_progress:
        made = generator.generate(out / "generated.h5", values, seed=1, extrapolate=True, on_progress=on_progress)
    measured = measure_file(out / "generated.h5")

    report = evaluate(held_out, GalaxySet.open(out / "generated.h5"), seed=1)
    write_report(report, out / "report")

    order = np.argsort(values["i_mag"])[:: max(1, len(askable) // 16)][:16]
    pairs = GalaxySet.concatenate(
        [_plain(askable[order[:8]]), _plain(made[order[:8]]), _plain(askable[order[8:]]), _plain(made[order[8:]])]
    )
    labels = [f"i = {values['i_mag'][row]:.1f}, {values['i_half_light_radius'][row]:.1f} px" for row in order]
    sheet(pairs, out / "sheets" / "side_by_side.png", columns=8, labels=[*labels[:8], *labels[:8], *labels[8:], *labels[8:]])

    for name in ASKED:
        good = np.isfinite(measured.columns[name])
        difference = measured.columns[name][good] - values[name][good]
        print(
            f"{name:20} asked and measured: correlation {np.corrcoef(measured.columns[name][good], values[name][good])[0, 1]:.3f}, ", end=""
        )
        print(
            f"median difference {np.median(difference):+.3f}, scatter {1.4826 * np.median(np.abs(difference - np.median(difference))):.3f}"
        )
    print(report.summary())


def _plain(galaxies: GalaxySet) -> GalaxySet:
    """Images and survey alone, so that real and generated galaxies can stand on one sheet."""
    return GalaxySet(galaxies.images, galaxies.survey)


if __name__ == "__main__":
    main()
