"""`hubbleflow simulate` as a process: options that do not go together, and an end by SIGTERM that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hubbleflow.cli import simulate
from hubbleflow.errors import InputError

POSIX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at in Linux's /proc")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "hubbleflow", "simulate", *map(str, words)]


def refused(*words: object) -> str:
    run = subprocess.run(command(*words), capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and run.stdout == "" and run.stderr.count("\n") == 1, run.stderr
    return run.stderr


def children(pid: int) -> set[int]:
    """The processes that this one has started and that are running."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rsplit(")", 1)[1].split()[:2]
        except (OSError, IndexError):  # it ended just now
            continue
        if int(parent) == pid and state != "Z":
            found.add(int(entry.parent.name))
    return found


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


# -- options -----------------------------------------------------------------------------------------------------------------------
def test_hst_goes_with_no_option_that_it_would_ignore(tmp_path):
    others = ["--no-structure", "--no-neighbours", "--seeing", "median", "--bright-stars", "--dask", "tcp://nowhere:1", "--device", "foo"]
    sentence = refused(tmp_path / "out.h5", "--hst", tmp_path, *others)
    assert "--hst does not go with --no-structure, --no-neighbours, --seeing, --bright-stars, --dask, --device:" in sentence
    with pytest.raises(InputError, match="--hst does not go with --seeing: "):
        simulate(tmp_path / "out.h5", hst=tmp_path, seeing="nonsense")
    with pytest.raises(InputError, match="is not a folder"):  # with those that it heeds it does
        simulate(tmp_path / "out.h5", 2, 3, "hsc-i", 32, hst=tmp_path / "none", noise=False, workers=2)
    assert not list(tmp_path.iterdir())


def test_devices_that_are_not_there(tmp_path):
    assert "choose cpu" in refused(tmp_path / "out.h5", "-n", 2, "--device", "cuda:63")
    assert not list(tmp_path.iterdir())


# -- SIGTERM -----------------------------------------------------------------------------------------------------------------------
@POSIX
@pytest.mark.parametrize(("workers", "group"), [(1, False), (2, False), (2, True)])
def test_sigterm_leaves_neither_files_nor_workers(tmp_path, workers, group):
    """Sent to the process, as `kill` does, or to all of its processes, as batch systems do."""
    process = subprocess.Popen(
        command(tmp_path / "out.h5", "-n", 100_000, "--size", 32, "--workers", workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        # some galaxies are in the file, so all workers are at work
        wait(lambda: any(path.stat().st_size > 5_000_000 for path in tmp_path.glob(".out.*.partial.h5")))
        started = children(process.pid)
        assert len(started) >= workers if workers > 1 else not started
        if group:
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.terminate()
            process.terminate()  # `timeout` does so, too
        out, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 143 and out == ""
    assert errors.rstrip().endswith("hubbleflow: stopped")
    assert "Traceback" not in errors and "resource_tracker" not in errors
    assert not list(tmp_path.iterdir())
    wait(lambda: not any(map(running, started)), 5)


LOST = """
import os, signal, time
from hubbleflow import cli

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)  # what the signal raises here is lost

def verb():
    Last()
    time.sleep(20)

cli.app = verb
cli.main()
"""


@POSIX
def test_sigterm_is_not_lost_in_a_destructor():
    run = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=15)
    assert run.returncode == 143 and run.stderr == "hubbleflow: stopped\n"
