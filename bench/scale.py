"""A test set as large as GalaxiesML's, measured: 40,914 five-band 64-px galaxies, everything, on all cores. Time and memory.

    python bench/scale.py [--n 40914] [--workers N] [--out runs/scale]

The mock sky (HSC Wide, with neighbours) is drawn once and kept; `hubbleflow measure` runs in a process of its own. Memory is the peak of
that process and of its largest worker, times the workers.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import h5py
from in_words import in_words
from peak import peaks_mib

from hubbleflow.farm import cores
from hubbleflow.galaxies import GalaxySet
from hubbleflow.simulate import simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=40_914)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--out", type=Path, default=Path("runs/scale"))
    asked = parser.parse_args()
    path = asked.out / f"sky_{asked.n}.h5"
    if not path.exists():
        asked.out.mkdir(parents=True, exist_ok=True)
        simulate(path, asked.n, seed=1, workers=asked.workers)
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    own, child = peaks_mib("measure", path, "--workers", asked.workers, "--force")
    seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    total = own + child * (asked.workers if asked.workers > 1 else 0)
    with h5py.File(path) as file:
        columns = len(file["measured"])
    rows = len(GalaxySet.open(path).measured["flag"])
    print(f"{rows:,} of {asked.n:,} galaxies, {columns} columns, {asked.workers} worker(s): {seconds / 60:.1f} min")
    print(f"CPU: {cpu / 60:.1f} min, {1e3 * cpu / asked.n:.1f} ms a galaxy (what free cores would need; others may share this machine)")
    print(f"memory: {own:.0f} MiB here, {child:.0f} MiB a worker, {total:.0f} MiB in all")


if __name__ == "__main__":
    in_words(main)
