"""Cosmic time: galaxies of held noise drawn through redshift, measured in every frame, beside a mock sky of known evolution.

New here: `evolve`. A deterministic sampler turns noise and redshift into a galaxy; with the noise held and the redshift moved, one galaxy
changes as the population does. The movie shows six of them with their tracks in brightness, colour and size; the numbers say how smoothly
they go and whether they evolve as the mock sky, whose galaxies were drawn one by one from its own laws.

    python examples/08_evolve.py [MODEL] [--out FOLDER] [--minutes 3] [--frames 48]

MODEL is the folder of a generator of HSC galaxies given redshift; where none is named one is trained, for some minutes. By hand:

    hubbleflow simulate sky.h5 --n 4000 && hubbleflow simulate test.h5 --n 1500 --seed 2 && hubbleflow measure test.h5
    hubbleflow train sky.h5 generator --minutes 3
    hubbleflow evolve generator evolve.gif --seeds 6 --redshift 2:0.1 --frames 48 --population test.h5
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hubbleflow.counting import counting
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.measure import Recipe as MeasureRecipe
from hubbleflow.measure import measure_file
from hubbleflow.movies import Population, evolve, frame_redshifts, smoothness, trends, write_cube
from hubbleflow.report.evolution import write_evolution
from hubbleflow.report.evolution_words import summary
from hubbleflow.simulate import simulate
from hubbleflow.training import Recipe
from hubbleflow.watch import train


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="the folder of a generator; one is trained where not given")
    parser.add_argument("--out", type=Path, default=Path("runs/08_evolve"))
    parser.add_argument("--minutes", type=float, default=3.0, help="of training")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--galaxies", type=int, default=4000, help="of the mock sky to learn from")
    parser.add_argument("--steps", type=int, help="of the sampler")
    arguments = parser.parse_args()
    out = arguments.out

    if arguments.model is not None:
        generator = Generator.load(arguments.model)
    else:
        sky = simulate(out / "sky.h5", arguments.galaxies, seed=1)
        generator = train(sky, out / "generator", Recipe(minutes=arguments.minutes, seed=1), resume=True).averaged()

    # Another mock sky, measured as the frames will be: what evolution should look like.
    simulate(out / "test.h5", max(200, arguments.galaxies * 3 // 8), seed=2)
    measure_file(out / "test.h5", recipe=MeasureRecipe(sersic=False, shapes=False))

    redshifts = frame_redshifts(2.0, 0.1, arguments.frames)  # evenly spaced in lookback time, from the past to the present
    population = Population.measured(GalaxySet.open(out / "test.h5"), redshifts)
    track = evolve(generator, range(1, 7), redshifts, steps=arguments.steps, progress=True)

    with counting("drawing frames", track.frames) as on_progress:
        write_evolution(track, out / "evolve.gif", population, fps=12, on_progress=on_progress)
    write_cube(track, out / "evolve.fits")
    print(summary(track, population))

    jump = smoothness(track).light
    print(f"\nthe largest change is {jump.value:.2f} of the galaxy's own light, in seed {jump.seed}")
    for trend in trends(track, population):
        if trend.quantity.unit == "kpc":
            print(f"sizes change by {trend.track_slope:+.2f} kpc a Gyr of lookback time, the sky's by {trend.population_slope:+.2f}")


if __name__ == "__main__":
    main()
