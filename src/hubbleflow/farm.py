"""One function over many tasks: in this process, in several, or on a Dask cluster; results in the order of the tasks.

    with Farm.open(workers=4) as farm:
        for images in farm.map(draw_block, tasks):
            ...

A task is a description that costs little to send (a seed and a block's number, a path and rows); a result is numpy arrays. Only a
few tasks are under way at a time, so neither the tasks nor the results need fit into memory together: a slow consumer slows
the farm. What is computed must depend on the task alone; then neither the number nor the kind of workers changes a bit of it.

Local workers are started afresh ("spawn": a fork of a process that runs torch's threads may hang). They have one thread each,
since there is one of them a core; they do not see the user's script; Ctrl-C is their parent's business; they end with it, however it ends.
SIGTERM ends a worker's task at once and the worker within `GRACE_S`, but never in the middle of a result: half of one would leave the
parent waiting for the other half.
Dask's workers are started by Dask, by its `LocalCluster`, `dask worker` or dask-jobqueue, with hubbleflow installed; its nannies,
too, give each process one thread.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any, Protocol, TypeVar

from hubbleflow.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

AHEAD = 2  # tasks a worker under way or done and not yet taken: enough that none waits for the next
CONNECT_S = 10.0  # how long a Dask scheduler may take to answer
GRACE_S = 2.0  # from SIGTERM to a worker's end: enough to send a result that is on its way
PATIENCE_S = 30.0  # without any Dask worker, after which that is said
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")


class Farm(ABC):
    """Somewhere to run a function over many tasks; open one by `Farm.open`, use it in a `with`."""

    @staticmethod
    def open(workers: int = 1, dask: str | None = None) -> Farm:
        """A farm of this process (`workers` = 1), of that many processes, or of the Dask cluster whose scheduler is at `dask`.

        Raises:
            InputError: `workers` is less than 1, or more than 1 beside `dask`; Dask is not installed, or no scheduler answers.

        Example:
            >>> with Farm.open() as farm:
            ...     list(farm.map(abs, [-1, 2]))
            [1, 2]
        """
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise InputError(f"workers must be at least 1, got {workers!r}")
        if dask is None:
            return Here() if workers == 1 else Processes(workers)
        if workers > 1:
            raise InputError(f"either {workers} workers on this machine or the Dask cluster at {dask} can do the work: choose one of them")
        return DaskCluster(dask)

    @abstractmethod
    def map(self, function: Callable[[T], R], tasks: Iterable[T], ahead: int | None = None) -> Iterator[R]:
        """function(task) for each task, in order.

        An exception of the function is raised here, at its task's turn. However the iteration ends, what has not been started by then
        never is.

        Args:
            function: one that other processes can import by its module's name: no lambda, nothing of the script that is being run.
            tasks: drawn from as they are needed, a few more than have been taken.
            ahead: how many more; a few a worker where not given. Tasks that take very different times want them all.

        Raises:
            InputError: a worker died.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the workers back, after the tasks that they are at; waiting ones are dropped."""

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Here(Farm):
    """This process: each task is done when its result is asked for."""

    def map(self, function: Callable[[T], R], tasks: Iterable[T], ahead: int | None = None) -> Iterator[R]:
        yield from map(function, tasks)

    def close(self) -> None:
        pass


class Processes(Farm):
    """Processes on this machine, started when they are first needed and used again by the next `map`."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)

    def map(self, function: Callable[[T], R], tasks: Iterable[T], ahead: int | None = None) -> Iterator[R]:
        _check_importable(function)

        def submit(task: T) -> _Future[R]:
            with _clean_start():  # the pool starts a process when a task finds none idle
                return self._pool.submit(_work, function, task)

        try:
            yield from _in_order(submit, tasks, lambda: ahead or AHEAD * self.workers, lambda future: future.result())
        except (BrokenProcessPool, _Stopped) as error:
            raise InputError("a worker process was killed (out of memory?): try again with fewer workers") from error

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class DaskCluster(Farm):
    """The workers of a Dask scheduler, however many there are at the time.

    Raises: InputError if Dask is not installed or no scheduler answers at `address` within `CONNECT_S`.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise InputError("a Dask cluster needs Dask, which is not installed: pip install 'hubbleflow[dask]'") from error
        self.address = address
        try:
            self._client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:  # no answer, no such host, no address, no such protocol
            raise InputError(
                f"no Dask scheduler answers at {address!r}: give the address that 'dask scheduler' prints, such as tcp://10.0.0.1:8786"
            ) from error

    def map(self, function: Callable[[T], R], tasks: Iterable[T], ahead: int | None = None) -> Iterator[R]:
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        _check_importable(function)
        try:
            # not pure: a result is wanted from this map, not one that the cluster remembers
            submit = lambda task: self._client.submit(function, task, pure=False)  # noqa: E731
            yield from _in_order(submit, tasks, lambda: ahead or self._ahead(), self._result)
        except KilledWorker as error:
            raise InputError(
                f"workers of the Dask cluster at {self.address} died over one task (out of memory?): give each more memory or less to do"
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise InputError(f"the Dask scheduler at {self.address} went away: start it and run this again") from error

    def _ahead(self) -> int:
        return AHEAD * max(1, sum(self._client.nthreads().values()))

    def _result(self, future: Any) -> Any:
        told = False
        while True:
            try:
                return future.result(timeout=PATIENCE_S)
            except TimeoutError:
                if future.done():  # the function's own, or the result came just now
                    return future.result()
            if not told and not self._client.nthreads():
                told = True
                print(f"the Dask cluster at {self.address} has no workers yet: waiting for them", file=sys.stderr)

    def close(self) -> None:
        self._client.close()


class _Future(Protocol[R_co]):
    def result(self) -> R_co: ...

    def cancel(self) -> Any: ...


def _in_order(
    submit: Callable[[T], _Future[R]], tasks: Iterable[T], ahead: Callable[[], int], result: Callable[[_Future[R]], R]
) -> Iterator[R]:
    waiting: deque[_Future[R]] = deque()
    try:
        for task in tasks:
            waiting.append(submit(task))
            if len(waiting) >= ahead():
                yield result(waiting.popleft())
        while waiting:
            yield result(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()


def cores() -> int:
    """How many cores this process may use.

    >>> cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_importable(function: Callable[..., Any]) -> None:
    # A worker that cannot find the function ends without a word.
    try:
        by_name = b"__main__" not in pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):
        by_name = False
    if not by_name:
        raise TypeError(f"workers import the function by its module's name, which {function!r} has not: put it into a module")


@contextmanager
def _clean_start() -> Iterator[None]:
    """While processes are started: one thread each, no script, no Ctrl-C.

    A spawned process imports its parent's script again, and a script without `if __name__ == "__main__":` would run again in every
    worker. Workers need nothing of it: where no script is seen when they start, none is imported. Numerical libraries read
    the number of their threads when they are loaded, so it must stand in the environment. Ctrl-C goes to all processes of a
    terminal: in a worker that inherits it blocked it does nothing, and here it comes when the start is done.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if hasattr(signal, "pthread_sigmask") else None
    main, environment = sys.modules["__main__"], {name: os.environ.get(name) for name in _THREADS}
    try:
        sys.modules["__main__"] = ModuleType("__main__")
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # a Ctrl-C that came meanwhile is raised here


class _Stopped(BaseException):
    """A worker's task was ended by SIGTERM; no function that catches its own errors must catch this."""


def _begin() -> None:
    """What a worker does first."""
    _end_with_parent()
    signal.signal(signal.SIGTERM, _end_soon)


def _work(function: Callable[[T], R], task: T) -> R:
    """function(task), in a worker: SIGTERM ends it."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        raise _Stopped  # it has come, and this is what had been sent here before
    signal.signal(signal.SIGTERM, _stop)
    try:
        return function(task)
    finally:
        if signal.getsignal(signal.SIGTERM) == _stop:
            signal.signal(signal.SIGTERM, _end_soon)


def _end_soon(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = threading.Timer(GRACE_S, os._exit, (128 + number,))
    end.daemon = True
    end.start()


def _stop(number: int, frame: object) -> None:
    _end_soon(number, frame)
    raise _Stopped


def _end_with_parent() -> None:
    # In a worker. One that waits for a task would wait for ever when its parent was killed.
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
