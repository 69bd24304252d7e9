"""Peak memory of a `hubbleflow` command, which runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys

RUN = """
import resource, sys
from hubbleflow.cli import main
sys.argv = ["hubbleflow", *sys.argv[1:]]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print("PEAK", peaks[0], peaks[1])
"""


def peaks_mib(*words: object) -> tuple[float, float]:
    """Run it; peak resident memory of its process and of the largest process that this started, MiB."""
    run = subprocess.run([sys.executable, "-c", RUN, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    own, child = (int(kib) / 1024 for kib in run.stdout.split("PEAK")[1].split())
    return own, child
