"""A bar on stderr that counts: the one that everything shows which takes more than two seconds.

with counting("measuring", len(galaxies)) as advance:
    for block in blocks:
        ...
        advance(len(block))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def counting(description: str, total: int | None, unit: str = "galaxies", shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield the function to tell how many more are done; without a terminal only the bar's last state is printed.

    Args:
        description: what is being done.
        total: how many there are; None where that is not known.
        unit: what is counted.
        shown: whether there is a bar at all.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task(description, total=total)
        yield lambda number: bar.advance(task, number)
