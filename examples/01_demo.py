"""The whole road in ten calls: a mock sky, a generator, galaxies at chosen redshifts, and a verdict.

New here: everything. `hubbleflow demo` is the same at its full size.

    python examples/01_demo.py [--out FOLDER] [--minutes 1]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hubbleflow.metrics import evaluate
from hubbleflow.report import sheet, write_report
from hubbleflow.simulate import simulate
from hubbleflow.training import Recipe, Training


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/01_demo"))
    parser.add_argument("--minutes", type=float, default=1.0, help="of training")
    parser.add_argument("--n", type=int, default=2000, help="mock galaxies")
    arguments = parser.parse_args()
    out = arguments.out

    sky = simulate(out / "sky.h5", n=arguments.n, seed=1)  # galaxies with known truth, on disk
    learn, test = sky.split([0.8, 0.2], seed=1)

    training = Training(learn, out / "model", Recipe(minutes=arguments.minutes, seed=1), resume=True)
    for step in training.run():  # training yields; what to show is up to you
        if step.number % 50 == 0:
            print(f"step {step.number}: loss {step.loss:.3f}")
    generator = training.averaged()

    made = generator.sample(generator.conditions_like(test), seed=1, extrapolate=True)  # the test set's redshifts
    sheet(made[:32], out / "generated.png")
    report = evaluate(test, made, seed=1)
    write_report(report, out / "report")
    print(report.summary())


if __name__ == "__main__":
    main()
