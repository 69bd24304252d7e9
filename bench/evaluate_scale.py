"""The verdict on sets as large as GalaxiesML's test set: wall time with measurements cached, the slowest metrics, peak memory.

    python bench/evaluate_scale.py [--n 2000] [--n 40914] [--workers N] [--out runs/evaluate_scale] [--judge-steps 1200] [--keep-cache]

For each n two mock skies (HSC Wide, five bands, 64 px) are drawn once and kept. `hubbleflow evaluate` runs twice with a cache of its own:
the first run fills it (its time is printed, too), the second is the one that counts. Each runs in a process of its own, and memory is the
largest sum over it and its workers of their proportional shares (what several map is counted once).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from in_words import in_words

from hubbleflow.farm import cores
from hubbleflow.simulate import simulate

SLOWEST = 10
EVERY_S = 1.0  # between two looks at the memory
RUN = """
import json, sys
from pathlib import Path
import hubbleflow.metrics.evaluate
from hubbleflow.cli import main

module, took = sys.modules["hubbleflow.metrics.evaluate"], {}
whole = module.judge_all

def timed(*arguments):
    judged = whole(*arguments)
    took.update({name: seconds for name, (_, seconds) in judged.items()})
    return judged

module.judge_all, seconds = timed, Path(sys.argv.pop(1))
sys.argv[0] = "hubbleflow"
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
seconds.write_text(json.dumps(took))
"""


def memory_mib(root: int) -> float:
    """Proportional share of memory of a process and of all that it has started, now."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
    family = {root}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    total = 0
    for member in family:
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def run(seconds: Path, words: list[object]) -> tuple[float, float, dict[str, float], str]:
    """Wall time, peak memory, seconds of every metric, and what was printed."""
    peak, over = [0.0], threading.Event()
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", RUN, str(seconds), *map(str, words)], stdout=subprocess.PIPE, text=True)

    def watch() -> None:
        while not over.wait(EVERY_S):
            peak[0] = max(peak[0], memory_mib(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said, _ = process.communicate()
    over.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"evaluate ended with {process.returncode}")
    return time.perf_counter() - began, peak[0], json.loads(seconds.read_text()), said


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, action="append")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--out", type=Path, default=Path("runs/evaluate_scale"))
    parser.add_argument("--judge-steps", type=int, default=1200)
    parser.add_argument("--keep-cache", action="store_true", help="the first run may take what an earlier bench has left")
    asked = parser.parse_args()
    for n in asked.n or [2000, 40_914]:
        paths = [asked.out / f"{which}_{n}.h5" for which in ("real", "generated")]
        for seed, path in enumerate(paths, 1):
            if not path.exists():
                simulate(path, n, seed=seed, workers=asked.workers)
        cache = asked.out / f"cache_{n}"
        if not asked.keep_cache:
            shutil.rmtree(cache, ignore_errors=True)
        words = [
            "evaluate",
            *paths,
            asked.out / f"report_{n}",
            "--cache",
            cache,
            "--workers",
            asked.workers,
            "--judge-steps",
            asked.judge_steps,
        ]
        first, _, _, _ = run(asked.out / "seconds.json", words)
        wall, peak, took, said = run(asked.out / "seconds.json", words)
        kept = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 2**20
        print(f"{n:,} against {n:,}, {asked.workers} worker(s)")
        what = "first run" if asked.keep_cache else "first run, with measuring and training the judges"
        print(f"{what}: {first / 60:.1f} min; cache {kept:.0f} MiB")
        print(f"second run: {wall / 60:.1f} min, {len(took)} metrics {sum(took.values()) / 60:.1f} min of one worker, peak {peak:.0f} MiB")
        print(next((line for line in said.splitlines() if line.startswith("from the cache")), "nothing came from the cache"))
        print(f"\n| slowest metrics | s |\n|{'-' * 28}|{'-' * 8}|")
        for name in sorted(took, key=lambda name: -took[name])[:SLOWEST]:
            print(f"| {name:26} | {took[name]:6.1f} |")
        print(flush=True)


if __name__ == "__main__":
    in_words(main)
