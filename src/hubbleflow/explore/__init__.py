"""Explore: a generator as a page in the browser. Drag redshift and kind, and galaxies of held noise change.

`frames` draws, `controls` says what can be asked, `beside` measures and compares with a population, `downloads` makes files, `page` is what
the browser gets, `app` answers it, `guard` refuses others, `serve` listens. FastAPI and uvicorn, an extra, are imported by the last three
alone; `app.application(Frames.of(generator))` is an ASGI application, to be served by other means as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.generator import Generator


def explore(
    generator: Generator,
    population: GalaxySet | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    steps: int | None = None,
    seed: int = 1,
    browser: bool = True,
) -> None:
    """Serve a generator's page until Ctrl-C; its address is printed.

    Args:
        generator: what draws.
        population: a measured set to compare with.
        host: a name or address of this machine; other machines reach the page where it is not loopback.
        port: 0 for any that is free.
        steps: of the sampler; the model's default where None.
        seed: of the first galaxy.
        browser: whether to open the page.

    Raises:
        InputError: FastAPI or uvicorn is not installed; the port is taken; the population is of another survey or not measured.
    """
    try:
        from hubbleflow.explore.serve import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "uvicorn", "starlette", "pydantic"):
            raise
        raise InputError(f"explore needs {error.name}, which is not installed: pip install 'hubbleflow[explore]'") from error
    serve(generator, population, host, port, steps, seed, browser)
