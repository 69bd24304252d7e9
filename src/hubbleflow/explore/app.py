"""The application: what the page asks, and what it is answered.

    GET  /          the page
    POST /draw      pictures, as bytes: (n, y, x, 4) 8-bit red, green, blue, opacity, the uppermost row first
    POST /measure   one galaxy's measured values beside the population, as JSON
    POST /fits      the galaxies themselves, in linear flux
    POST /png       their pictures

What is posted is `{"seeds": [1, 2], "conditions": {"redshift": 0.5}, "steps": 8}`; `steps` may be left out. Whatever is wrong with it is
said in one sentence, `{"error": "..."}`, with a status of 400 and more. All work is done by one thread, in order, and at most a few
requests wait for it: whoever comes later is told so (503).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from hubbleflow.errors import InputError
from hubbleflow.explore.beside import Population, beside
from hubbleflow.explore.downloads import fits_bytes, png_bytes
from hubbleflow.explore.frames import MOST_GALAXIES, Frames
from hubbleflow.explore.guard import Guard, sentence
from hubbleflow.explore.page import Page
from hubbleflow.files import without_nan

MOST_WAITING = 8  # requests, those of several windows together
Answer = TypeVar("Answer")
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class Asked(BaseModel):
    """What is posted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    seeds: list[Seed] = Field(min_length=1, max_length=MOST_GALAXIES)
    conditions: dict[str, float | str] = Field(default_factory=dict)
    steps: int | None = None


class Worker:
    """One thread that works, its own where none is given, and a short queue before it: torch has all cores already."""

    def __init__(self, thread: Executor | None = None) -> None:
        self.thread = thread or ThreadPoolExecutor(1, thread_name_prefix="explore")
        self.waiting = 0

    async def do(self, work: Callable[[], Answer]) -> Answer:
        """Do it when its turn comes.

        Raises:
            HTTPException: too many are waiting.
        """
        if self.waiting >= MOST_WAITING:
            raise HTTPException(503, f"{self.waiting} requests are waiting already: ask again later")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, work)
        finally:
            self.waiting -= 1


def application(
    frames: Frames, population: Population | None = None, seed: int = 1, loopback: bool = True, thread: Executor | None = None
) -> FastAPI:
    """The server of one generator.

    Args:
        frames: what draws.
        population: what galaxies are compared with.
        seed: of the page's first galaxy.
        loopback: refuse requests that are not for this machine.
        thread: what draws and measures, one request after the other; a thread of its own where not given.
    """
    page = Page.of(frames, seed, population.name if population is not None else "")
    worker = Worker(thread)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        worker.thread.shutdown(wait=False, cancel_futures=True)

    # FastAPI's own documentation pages fetch scripts from elsewhere.
    app = FastAPI(title="hubbleflow explore", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, policy=page.policy, loopback=loopback)
    app.add_exception_handler(InputError, _bad_input)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _refused)

    @app.get("/")
    async def whole_page() -> HTMLResponse:
        return HTMLResponse(page.html)

    @app.post("/draw")
    async def draw(asked: Asked) -> Response:
        def work() -> bytes:
            return frames.pictures(frames.images(asked.seeds, asked.conditions, asked.steps)).tobytes()

        return Response(await worker.do(work), media_type="application/octet-stream")

    @app.post("/measure")
    async def measure(asked: Asked) -> JSONResponse:
        if len(asked.seeds) != 1:
            raise InputError(f"one galaxy is measured at a time, and {len(asked.seeds)} are asked for")
        return JSONResponse(
            await worker.do(lambda: without_nan(beside(frames.galaxies(asked.seeds, asked.conditions, asked.steps), population)))
        )

    @app.post("/fits")
    async def fits(asked: Asked) -> Response:
        def work() -> bytes:
            return fits_bytes(frames.galaxies(asked.seeds, asked.conditions, asked.steps), frames)

        return Response(await worker.do(work), media_type="application/fits")

    @app.post("/png")
    async def png(asked: Asked) -> Response:
        def work() -> bytes:
            galaxies = frames.galaxies(asked.seeds, asked.conditions, asked.steps)
            return png_bytes(galaxies, frames.pictures(np.asarray(galaxies.images)))

        return Response(await worker.do(work), media_type="image/png")

    return app


async def _bad_input(request: Request, error: Exception) -> JSONResponse:
    return sentence(422, str(error))


async def _bad_request(request: Request, error: Exception) -> JSONResponse:
    """Pydantic's first complaint as a sentence."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return sentence(422, "the request is not JSON")
    place = ".".join(str(part) for part in first["loc"][1:] if part not in ("float", "str")) or "the request"
    came = "" if first["type"] in ("missing", "extra_forbidden") else f", got {str(first['input'])[:60]}"
    return sentence(422, f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}{came}")


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return sentence(error.status_code, str(error.detail))
