"""Train what ships with the package on a mock sky of HSC Wide: the generator `hsc`, `hsc-student`, which draws in one evaluation of the
network, and the redshift reader `hsc-redshift`.

    python training/hsc.py --minutes 120                   # again after a stop: it goes on where it ended
    python training/hsc.py --start hsc --minutes 120       # from the weights that ship, on another sky (another --seed)
    python training/hsc.py --only hsc-student --start hsc --minutes 120   # a student of the weights that ship
    python training/hsc.py --ship                          # into src/hubbleflow/pretrained, in float16

The generator is told all of a galaxy's numbers (brightness, four colours, size, Sersic index, axis ratio, position angle) and each band's
seeing beside its redshift and kind; at the user's, those that are not asked for come from its prior (docs/decisions/0013-prior.md). The
minutes are the generator's; its mean galaxy has a twelfth of that beforehand, the reader a sixth, the student a half. It trains anywhere:
on a GPU where there is one, in as many threads as there are (OMP_NUM_THREADS), in several processes (docs/ranks.md; `--` keeps torchrun
from what is ours):

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -- training/hsc.py --n 120000 --start hsc --seed 6 --minutes 120

Which length of averaging is best is chosen at the end from the snapshots (--length). How good it is says bench/quality.py, on galaxies
that it has not seen, which are left in test.h5: docs/hsc.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile

from hubbleflow.averages import averaged
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.measure import measure_file
from hubbleflow.model_folder import CARD, CONFIG, LOG
from hubbleflow.predictor import Predictor
from hubbleflow.pretrained import SHELF, find_model
from hubbleflow.ranks import Ranks
from hubbleflow.simulate import simulate
from hubbleflow.simulate.numbers import NUMBERS, seeing_of, with_numbers
from hubbleflow.trained import TrainedModel
from hubbleflow.training import Recipe
from hubbleflow.watch import train

NAME, MEAN, READER, STUDENT = "hsc", "hsc-mean", "hsc-redshift", "hsc-student"
SNAPSHOTS = 20
TEST_SEED = 2  # of the galaxies to judge by, whatever was learned from
EVERY = 15  # galaxies of a pointing's 256, so that 4,000 come from some 230 pointings
LARGEST_BYTES = 12 * 2**20
ABOUT = """
Ships with hubbleflow, under its licence (BSD-3-Clause). Trained by `training/hsc.py` on a mock sky of HSC Wide, not on HSC's images: it is
as right as that sky is (docs/universe.md). How good it is, on galaxies it has not seen: docs/hsc.md.
"""


@dataclass(frozen=True)
class Road:
    """Where everything of one training lies.

    Attributes:
        out: folder.
        n, n_test: mock galaxies to learn from and to judge by.
        seed: of the sky, and of training.
    """

    out: Path
    n: int
    n_test: int
    seed: int

    def sky(self) -> GalaxySet:
        """Galaxies to learn from, with their numbers as columns."""
        return with_numbers(self._made(self.out / "sky.h5", self.n, self.seed))

    def test(self) -> GalaxySet:
        """Others, measured: one in so many of a sky, so that they have been seen in all its pointings, whose seeing differs."""
        path = self.out / "test.h5"
        if not path.exists():
            whole = self.out / "test_sky.h5"
            self._made(whole, EVERY * self.n_test, TEST_SEED)[::EVERY].write(path)
            whole.unlink()
        if not GalaxySet.open(path).measured:
            measure_file(path)
        return GalaxySet.open(path)

    def _made(self, path: Path, n: int, seed: int) -> GalaxySet:
        return GalaxySet.open(path) if path.exists() else simulate(path, n, seed=seed)


def recipes(road: Road, sky: GalaxySet, minutes: float, start: str | None) -> dict[str, Recipe]:
    """How each is trained, in this order: the mean galaxy first, as a generator is to draw around one that stands still; the student after
    the generator, from its weights.
    """
    around = Recipe(
        conditions=("redshift", "category", *NUMBERS, *seeing_of(sky)),
        minutes=minutes,
        seed=road.seed,
        snapshots=SNAPSHOTS,
        dropout=0.02,
        start=str(road.out / MEAN),
        # The numbers say how bright a galaxy is: what is left is seen in less noise than where redshift alone is asked.
        arguments={"p_mean": -0.8, "sigma_max": 80.0},
    )
    mean = {"minutes": minutes / 12, "batch_size": 128, "learning_rate": 2e-3, "snapshots": 0, "start": start}
    return {
        READER: Recipe(model="redshift-density", conditions=("redshift",), minutes=minutes / 6, seed=road.seed),
        MEAN: replace(around, **mean, arguments={**around.arguments, "mean_alone": True}),
        NAME: around,
        STUDENT: replace(around, model="consistency", minutes=minutes / 2, start=str(road.out / NAME), snapshots=0),
    }


def ship(road: Road, only: str | None, length: float | None) -> None:
    """Write all, or one, in float16 onto the package's shelf."""
    found: dict[str, TrainedModel] = {}
    if only in (None, NAME):
        found[NAME] = averaged(road.out / NAME, length) if length is not None else Generator.load(road.out / NAME)
    if only in (None, STUDENT):
        found[STUDENT] = Generator.load(road.out / STUDENT)
    if only in (None, READER):
        found[READER] = Predictor.load(road.out / READER)
    for name, trained in found.items():
        folder = trained.save_pretrained(SHELF / name)
        copyfile(road.out / name / LOG, folder / LOG)
        with open(folder / CARD, "a") as card:
            card.write(ABOUT)
        size = sum(path.stat().st_size for path in folder.iterdir())
        if size > LARGEST_BYTES:
            raise SystemExit(f"{folder} has {size / 2**20:.1f} MiB: at most {LARGEST_BYTES / 2**20:.0f} may ship")
        print(f"{folder}: {size / 2**20:.1f} MiB", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/hsc"))
    parser.add_argument("--n", type=int, default=60_000, help="mock galaxies to learn from")
    parser.add_argument("--n-test", type=int, default=4_000, help="others to judge by")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=(NAME, STUDENT, READER), help="this one alone")
    parser.add_argument("--start", help="a generator whose weights this one starts from, or the student's teacher")
    parser.add_argument("--ship", action="store_true", help="write it into the package instead of training")
    parser.add_argument("--length", type=float, help="of the weights' average that is shipped (see `hubbleflow average`)")
    given = parser.parse_args()
    if given.seed == TEST_SEED:
        parser.error(f"--seed {TEST_SEED} is that of the galaxies to judge by: choose another")
    try:
        go(given)
    except InputError as error:
        parser.error(str(error))


def go(given: argparse.Namespace) -> None:
    """Train, or ship."""
    if given.start:
        find_model(given.start)  # says so before an hour of sky, if there is none
    given.out.mkdir(parents=True, exist_ok=True)
    road = Road(given.out, given.n, given.n_test, given.seed)
    if given.ship:
        ship(road, given.only, given.length)
    else:
        ranks = Ranks.here()
        with ranks.same_fate():
            if ranks.is_first:
                road.sky(), road.test()
        sky = road.sky()
        for name, recipe in recipes(road, sky, given.minutes, given.start).items():
            asked = given.only in (None, name) or (given.only == NAME and name == MEAN)
            if given.only == STUDENT and given.start:
                recipe = replace(recipe, start=given.start)
            done = {
                MEAN: road.out / NAME,
                STUDENT: road.out / STUDENT,
            }  # of a generator that has gone on since, a student is to be asked for
            if asked and not (name != given.only and name in done and (done[name] / CONFIG).exists()):
                train(sky, road.out / name, recipe, resume=True)


if __name__ == "__main__":
    main()
