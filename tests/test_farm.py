"""The farm: order, few tasks under way, errors and deaths of workers, in this process, in several and on a Dask cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hubbleflow.errors import InputError
from hubbleflow.farm import AHEAD, Farm, cores

TESTS = Path(__file__).parent


def block(task):
    """Random numbers of a task, the first ones after a pause that turns the order round."""
    seed, pause_s = task
    time.sleep(pause_s)
    return np.random.default_rng(seed).standard_normal(5)


def fail_at_three(task):
    if task == 3:
        raise InputError("galaxy 3 is impossible")
    return task


def die_at_three(task):
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def end_at_three(task):
    if task == 3:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)  # a long task
    return task


def slow_failure(task):
    raise TimeoutError("the function's own")


def threads(_):
    loaded = "torch" in sys.modules
    import torch

    return os.environ["OMP_NUM_THREADS"], torch.get_num_threads(), loaded


def touch(task):
    folder, number = task
    time.sleep(0.05)
    Path(folder, str(number)).touch()


@pytest.fixture(scope="module")
def scheduler():
    """A Dask cluster of two threads of this process, reached through TCP as any other."""
    distributed = pytest.importorskip("distributed", reason="Dask absent: pip install 'hubbleflow[dask]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def processes():
    with Farm.open(workers=2) as farm:
        yield farm


@pytest.fixture(params=["here", "processes", "dask"])
def farm(request):
    if request.param == "here":
        yield Farm.open()
    elif request.param == "processes":
        yield request.getfixturevalue("processes")
    else:
        with Farm.open(dask=request.getfixturevalue("scheduler")) as farm:
            yield farm


def test_results_come_in_the_order_of_the_tasks(farm):
    tasks = [(seed, 0.3 if seed == 0 else 0.0) for seed in range(9)]
    results = list(farm.map(block, tasks))
    assert np.array_equal(results, [block((seed, 0)) for seed in range(9)])
    assert list(farm.map(block, [])) == []


def test_few_tasks_are_under_way(farm):
    drawn = 0

    def tasks():
        nonlocal drawn
        for number in range(40):
            drawn += 1
            yield number

    taken = 0
    for result in farm.map(abs, tasks()):
        assert result == taken
        taken += 1
        assert drawn - taken < AHEAD * 2  # two workers
    assert drawn == taken == 40


def test_an_error_of_the_function_is_raised_at_its_turn(farm):
    taken = []
    with pytest.raises(InputError, match="galaxy 3 is impossible"):
        for result in farm.map(fail_at_three, range(20)):
            taken.append(result)
    assert taken == [0, 1, 2]
    assert list(farm.map(fail_at_three, [4, 5])) == [4, 5]  # and the farm can go on


def test_a_timeout_of_the_functions_own_is_no_patience_of_ours(farm, monkeypatch):
    monkeypatch.setattr("hubbleflow.farm.PATIENCE_S", 0.05)
    with pytest.raises(TimeoutError, match="the function's own"):
        list(farm.map(slow_failure, [1]))
    assert next(farm.map(block, [(1, 0.3)])).shape == (5,)  # longer than our patience


def test_what_is_not_taken_is_not_done(farm, tmp_path):
    results = farm.map(touch, [(str(tmp_path), number) for number in range(60)])
    next(results)
    results.close()
    time.sleep(0.5)
    assert 1 <= len(list(tmp_path.iterdir())) <= 2 * AHEAD + 1


@pytest.mark.parametrize("function", [die_at_three, end_at_three])
def test_a_killed_worker_is_said_in_one_sentence(function):
    with Farm.open(workers=2) as farm, pytest.raises(InputError, match="a worker process was killed .*fewer workers"):
        list(farm.map(function, range(8)))


def test_workers_have_one_thread_and_load_no_torch_of_their_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with Farm.open(workers=2) as farm:
        assert list(farm.map(threads, [0])) == [("1", 1, False)]
    assert os.environ["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize("workers", [0, -2, 1.5, True])
def test_workers_must_be_a_positive_number(workers):
    with pytest.raises(InputError, match="workers must be at least 1"):
        Farm.open(workers)


def test_functions_that_workers_cannot_import_are_refused_at_once(processes):
    with pytest.raises(TypeError, match="put it into a module"):
        list(processes.map(lambda task: task, [1]))


def test_cores_are_those_of_this_process():
    assert 1 <= cores() <= (os.cpu_count() or 1)


# -- Dask --------------------------------------------------------------------------------------------------------------------------
def test_workers_and_dask_exclude_each_other():
    with pytest.raises(InputError, match="choose one of them"):
        Farm.open(workers=2, dask="tcp://127.0.0.1:8786")


def test_no_dask_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'hubbleflow\[dask\]'"):
        Farm.open(dask="tcp://127.0.0.1:8786")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://no.such.host.invalid:8786", "nonsense", "carrier-pigeon://x:1"])
def test_a_scheduler_that_does_not_answer(address, monkeypatch):
    pytest.importorskip("distributed", reason="Dask absent: pip install 'hubbleflow[dask]'")
    monkeypatch.setattr("hubbleflow.farm.CONNECT_S", 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers at"):
        Farm.open(dask=address)


class StartsWorker:
    """A stderr that starts a Dask worker when it is told that there is none."""

    def __init__(self, cluster):
        self.cluster, self.text = cluster, ""

    def write(self, text):
        self.text += text
        if "no workers" in text:
            self.cluster.scale(1)


def test_dask_without_workers_says_what_it_waits_for(monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask absent: pip install 'hubbleflow[dask]'")
    monkeypatch.setattr("hubbleflow.farm.PATIENCE_S", 0.05)
    with distributed.LocalCluster(n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        stderr = StartsWorker(cluster)
        with Farm.open(dask=cluster.scheduler_address) as farm, monkeypatch.context() as context:
            context.setattr(sys, "stderr", stderr)
            assert list(farm.map(abs, [-1, -2])) == [1, 2]
    assert stderr.text.count("has no workers yet") == 1


def test_a_dask_worker_that_dies_over_its_task():
    distributed = pytest.importorskip("distributed", reason="Dask absent: pip install 'hubbleflow[dask]'")
    import dask

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0")
    with cluster, Farm.open(dask=cluster.scheduler_address) as farm:
        assert list(farm.map(threads, [0])) == [("1", 1, False)]
        with pytest.raises(InputError, match="died over one task"):
            list(farm.map(die_at_three, range(5)))


# -- the process as a whole ----------------------------------------------------------------------------------------------------------
SCRIPT = """
import os, sys, time
from test_farm import block
from hubbleflow.farm import Farm
with Farm.open(workers=2) as farm:
    for result in farm.map(block, ((seed, 0.2) for seed in range(1000))):
        print(*farm._pool._processes, flush=True)
"""


def _heed_sigint() -> None:
    """A shell's background jobs ignore SIGINT, and so would the script if the tests run in one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(tmp_path: Path) -> tuple[subprocess.Popen, list[int]]:
    """A script without a main guard that runs a farm; the numbers of its workers, once they work."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        preexec_fn=_heed_sigint,
    )
    assert process.stdout is not None
    while len(workers := process.stdout.readline().split()) < 2:
        pass
    return process, [int(worker) for worker in workers]


def gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_ctrl_c_ends_the_farm_with_one_traceback(tmp_path):
    process, workers = start(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")
    assert all(gone(worker) for worker in workers)


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    process, workers = start(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    assert all(gone(worker) for worker in workers)
