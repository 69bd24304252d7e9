"""What a large mock sky costs: time, peak memory and file size of `hubbleflow simulate`.

    python bench/simulate.py [--n 100000] [--workers N] [--out FOLDER]

The command runs in a process of its own; memory is the peak of that process and of the largest worker it started, times the workers.
The file is removed afterwards.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from in_words import in_words

from hubbleflow.farm import cores

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peak import peaks_mib


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--out", type=Path, default=Path("runs/simulate"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "sky.h5"
    words = ("simulate", path, "--n", arguments.n, "--workers", arguments.workers)
    start = time.perf_counter()
    own, child = peaks_mib(*words)
    seconds = time.perf_counter() - start
    total = own + child * (arguments.workers if arguments.workers > 1 else 0)
    print(f"{arguments.n:,} galaxies, {arguments.workers} worker(s): {seconds:.0f} s, {1e3 * seconds / arguments.n:.2f} ms a galaxy")
    print(f"memory: {own:.0f} MiB here and {child:.0f} MiB a worker, {total:.0f} MiB in all; file {path.stat().st_size / 2**30:.2f} GiB")
    path.unlink()


if __name__ == "__main__":
    in_words(main)
