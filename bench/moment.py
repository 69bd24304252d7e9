"""From `import hubbleflow` to galaxies, and what many of them cost: time, memory, disk. It writes a table of docs/performance.md.

    python bench/moment.py MODEL [--n 20000] [--cores 2] [--out runs/moment]

MODEL is a trained generator: its folder, or the name of one that ships. Everything runs in processes of its own, with --cores threads.

First, --rounds times, what a newcomer types: sixteen galaxies at redshift 0.5. The first time, files may have to come from the disk: it
stands beside the median of the others. Then `hubbleflow generate MODEL OUT.h5 --n N`, at conditions drawn from those of the training set,
streamed to a file that is removed afterwards. Times are wall-clock: let nothing else run. A million galaxies are not drawn, but scaled from
these, start of the process included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from in_words import in_words
from papers import around_section, write_section
from peak import peaks_mib

from hubbleflow.pretrained import find_model

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
DRAWN, REDSHIFT = 16, 0.5
MILLION = 1_000_000
# The clock is the machine's, the same in every process.
MOMENT = f"""
import json, sys, time
started = float(sys.argv[2])
import hubbleflow
imported = time.clock_gettime(time.CLOCK_MONOTONIC)
generator = hubbleflow.Generator.from_pretrained(sys.argv[1])
opened = time.clock_gettime(time.CLOCK_MONOTONIC)
assert len(generator.sample(redshift=[{REDSHIFT}] * {DRAWN})) == {DRAWN}
drawn = time.clock_gettime(time.CLOCK_MONOTONIC)
print("MOMENT", json.dumps({{"start": imported - started, "open": opened - imported, "draw": drawn - opened}}))
"""


@dataclass(frozen=True)
class Moment:
    """Seconds: until `import hubbleflow` is done, of opening the generator (torch is loaded here), of drawing."""

    start: float
    open: float
    draw: float

    @property
    def after_import(self) -> float:
        return self.open + self.draw

    @property
    def whole(self) -> float:
        return self.start + self.after_import


@dataclass(frozen=True)
class Stream:
    """What a file of n galaxies took."""

    n: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    bytes_: int


def moment(model: str) -> Moment:
    """Sixteen galaxies in a fresh process."""
    command = [sys.executable, "-c", MOMENT, model, str(time.clock_gettime(time.CLOCK_MONOTONIC))]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Moment(**json.loads(run.stdout.split("MOMENT")[1]))


def stream(model: str, n: int, path: Path) -> Stream:
    """n galaxies into a file, by the command line."""
    path.unlink(missing_ok=True)
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    own, child = peaks_mib("generate", model, path, "--n", n)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = path.stat().st_size
    path.unlink()
    return Stream(n, seconds, cpu, own + child, size)


def table(moments: list[Moment], drawn: Stream, cores: int) -> str:
    """Two tables: the first sixteen, and the many."""
    later = moments[1:] or moments
    rows = {
        "process start to `import hubbleflow` done": lambda one: one.start,
        "`Generator.from_pretrained(MODEL)`": lambda one: one.open,
        f"`.sample(redshift=[{REDSHIFT}] * {DRAWN})`": lambda one: one.draw,
        f"after `import hubbleflow` to {DRAWN} galaxies": lambda one: one.after_import,
        f"process start to {DRAWN} galaxies": lambda one: one.whole,
    }
    text = [f"Seconds, {cores} cores:", "", f"| | first time | median of {len(later)} more |", "|---|---|---|"]
    text += [f"| {what} | {of(moments[0]):.2f} | {median(of(one) for one in later):.2f} |" for what, of in rows.items()]
    scale = MILLION / drawn.n
    hours, cpu_hours = scale * drawn.seconds / 3600, scale * drawn.cpu_seconds / 3600
    gib, kib_each = drawn.bytes_ / 2**30, drawn.bytes_ / drawn.n / 1024
    text += ["", f"`hubbleflow generate` on {cores} cores:", "", f"| | {drawn.n:,} galaxies, measured | a million, scaled from it |"]
    text += ["|---|---|---|"]
    text += [
        f"| wall-clock | {drawn.seconds:.0f} s ({drawn.n / drawn.seconds:.1f} galaxies/s) | {hours:.2f} h |",
        f"| cores held | {drawn.seconds * cores / 3600:.3f} core-hours | {hours * cores:.2f} core-hours |",
        f"| CPU time | {drawn.cpu_seconds / 3600:.3f} core-hours | {cpu_hours:.2f} core-hours |",
        f"| peak resident memory | {drawn.peak_mib:.0f} MiB | the same: a batch at a time is in memory |",
        f"| on disk | {gib:.2f} GiB ({kib_each:.0f} KiB a galaxy) | {scale * gib:.0f} GiB |",
    ]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a generator's folder, or the name of one that ships")
    parser.add_argument("--n", type=int, default=20_000, help="galaxies streamed to a file")
    parser.add_argument("--rounds", type=int, default=4, help="of the first sixteen")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/moment"))
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    find_model(given.model)  # says so, if there is none
    around_section(given.document, "moment")
    os.environ["OMP_NUM_THREADS"] = str(given.cores)  # what the processes started from here read
    given.out.mkdir(parents=True, exist_ok=True)
    moments = []
    for _ in range(given.rounds):
        moments.append(moment(given.model))
        print(json.dumps(asdict(moments[-1])), file=sys.stderr, flush=True)
    drawn = stream(given.model, given.n, given.out / "galaxies.h5")
    write_section(given.document, "moment", table(moments, drawn, given.cores))
    print(given.document)


if __name__ == "__main__":
    in_words(main)
