"""Serve: the application on a port of this machine, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import uvicorn

from hubbleflow.errors import InputError
from hubbleflow.explore.app import application
from hubbleflow.explore.beside import Population
from hubbleflow.explore.frames import Frames

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.generator import Generator

CONNECTIONS = 64  # open at a time; more are answered 503


class Here(Executor):
    """Work that other threads ask for, done one after the other by the thread that calls :meth:`work`.

    Explore draws in the program's first thread. OpenMP gives each thread that computes a team of its own, which it keeps; with two teams
    there are more threads than cores, none of which waits awake any longer, and a small network, a thousand short parallel loops, takes
    much longer.
    """

    def __init__(self) -> None:
        self.asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Ask for fn(*args, **kwargs)."""
        future: Future[Any] = Future()
        self.asked.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let :meth:`work` return, when what was asked for before is done."""
        self.asked.put(None)

    def work(self) -> None:
        """Until there is nothing more to come."""
        while (asked := self.asked.get()) is not None:
            future, made = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(made())
            except BaseException as error:
                future.set_exception(error)
                if not isinstance(error, Exception):
                    raise


def serve(generator: Generator, population: GalaxySet | None, host: str, port: int, steps: int | None, seed: int, browser: bool) -> None:
    """See :func:`hubbleflow.explore.explore`. The port is taken before anything is drawn, so that one that is not free is told at once."""
    with listen(host, port) as listening:
        address, port = listening.getsockname()[:2]
        loopback = ipaddress.ip_address(address).is_loopback
        if not loopback:
            print(f"hubbleflow: warning: whoever can reach {host} can use this page: there is no password", file=sys.stderr)
        if population is not None:
            generator.check_survey(population, "as the population")
        others = Population.measured(population) if population is not None else Population.learnt(generator)
        here = Here()
        app = application(Frames.of(generator, steps, progress=True), others, seed, loopback, here)
        url = page_address(address, port)
        print(f"{url} is the page; Ctrl-C ends it", flush=True)
        if browser:  # the socket listens already: a browser that is quicker than the server waits
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        answer_until_interrupted(server(app), listening, here)


def answer_until_interrupted(answering: uvicorn.Server, listening: socket.socket, here: Here) -> None:
    """Answer from another thread and work in this one, until Ctrl-C or SIGTERM."""

    def answer() -> None:
        try:
            answering.run(sockets=[listening])
        finally:
            here.shutdown()

    thread = threading.Thread(target=answer, name="explore answers")
    alone = threading.current_thread() is threading.main_thread()  # no other is told of signals
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if alone else None
    thread.start()
    try:
        here.work()
    except KeyboardInterrupt:
        answering.should_exit = True
    finally:
        thread.join()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def server(app: FastAPI) -> uvicorn.Server:
    """What answers for an application: quietly, and only so many at a time."""
    return uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, limit_concurrency=CONNECTIONS, ws="none"))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at the first address of a host.

    Raises:
        InputError: it cannot.
    """
    try:
        # A socket that does not say TCP is not known for it to asyncio, which would leave out TCP_NODELAY: 40 ms an answer.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # so that a server that has just ended does not keep its port for a minute
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
        except BaseException:
            listening.close()
            raise
        return listening
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"cannot listen at port {port} of {host} ({getattr(error, 'strerror', None) or error}): give another --port, or --host"
        ) from error


def page_address(address: str, port: int) -> str:
    """What to open in a browser.

    Example:
        >>> page_address("127.0.0.1", 8000), page_address("::1", 80), page_address("0.0.0.0", 8000).startswith("http://0")
        ('http://127.0.0.1:8000', 'http://[::1]:80', False)
    """
    named = ipaddress.ip_address(address)
    host = socket.gethostname() if named.is_unspecified else f"[{address}]" if named.version == 6 else address
    return f"http://{host}:{port}"
