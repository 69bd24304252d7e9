"""Processes started together, by `torchrun` or `accelerate launch`, that share one piece of work.

Each of them runs the same command. The one of rank r takes parts r, r + number, r + 2 number, ... of the work; the first, of rank 0,
speaks and writes for all; and what goes wrong in one ends all of them, with one sentence. A process that was started alone, as nearly all
are, is a crowd of one: nothing is imported for it, and it waits for nobody.

    ranks = Ranks.here()
    ranks.in_turn(parts[ranks.rank :: ranks.number], write)
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(days=1)  # a process may wait while another draws, or writes; of one that died the launcher knows at once
# Where a launcher says how many there are, which of them this is, and which on its machine: torchrun's names, then those of MPIs, which
# `accelerate launch --mpirun_hostfile` uses.
NUMBER = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
LOCAL_RANK = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")

T = TypeVar("T")


def started() -> tuple[int, int]:
    """(rank, number) of this process among those that its launcher started with it, as the environment has them; (0, 1) of one alone.

    A number of processes without a rank on this machine is what a batch system sets for a launcher that is still to come.
    """
    rank, number, local = (_said(names) for names in (RANK, NUMBER, LOCAL_RANK))
    return (rank, number) if rank is not None and number is not None and local is not None and number > 1 else (0, 1)


def _said(names: Iterable[str]) -> int | None:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), None)


@dataclass(frozen=True)
class Ranks:
    """This process among those that were started together with it. All of them must come to the same calls, in the same order.

    Attributes:
        rank: which of them it is, from 0.
        number: how many they are.
        device: this one's own GPU, or the CPU; None for a process alone, which may take what it likes.

    Example:
        >>> alone, taken = Ranks(), []
        >>> alone.in_turn(iter("abc"), taken.append)
        >>> alone.is_first, taken
        (True, ['a', 'b', 'c'])
    """

    rank: int = 0
    number: int = 1
    device: torch.device | None = None

    @classmethod
    def here(cls) -> Ranks:
        """This process, after it has met the others.

        Raises:
            InputError: they cannot be met.
        """
        rank, number = started()
        if number == 1:
            return cls()
        import torch
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        for names, value in ((RANK, rank), (NUMBER, number), (LOCAL_RANK, _said(LOCAL_RANK))):
            os.environ.setdefault(names[0], str(value))  # accelerate knows the names of MPIs on the CPU only
        # Where there is no GPU accelerate has to be told, or else each process takes itself for the only one.
        on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
        try:
            state = PartialState(cpu=on_cpu, timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"the {number} processes that were started together cannot meet: {_first_line(error)}") from error
        if state.num_processes != number:
            raise InputError(f"{number} processes were started together, and accelerate found {state.num_processes}: use torchrun")
        atexit.register(state.destroy_process_group)
        return cls(state.process_index, state.num_processes, torch.device("cpu") if state.device.type == "cpu" else state.device)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0

    def all(self, mine: T) -> list[T]:
        """What each of them has, something small, in the order of their ranks."""
        if self.number == 1:
            return [mine]
        import torch.distributed

        found: list[Any] = [None] * self.number
        with self._others_there():
            torch.distributed.all_gather_object(found, mine)
        return found

    def at_first(self, mine: T) -> list[T]:
        """What each of them has, in the order of their ranks, at the first; nothing at the others."""
        if self.number == 1:
            return [mine]
        import torch.distributed

        found: list[Any] = [None] * self.number if self.is_first else []
        with self._others_there():
            torch.distributed.gather_object(mine, found if self.is_first else None, 0)
        return found

    def sums(self, *mine: float) -> tuple[float, ...]:
        """Each of some numbers summed over all of them: to the same bits at each."""
        if self.number == 1:
            return mine
        import torch

        numbers = torch.tensor(mine, dtype=torch.float64, device=self.device)
        with self._others_there():
            torch.distributed.all_reduce(numbers)
        return tuple(numbers.tolist())

    @contextmanager
    def same_fate(self) -> Iterator[None]:
        """What goes wrong in here in one of them goes wrong in all: they meet at its end. Nothing inside may wait for the others.

        Raises:
            InputError: with the sentence of the first of the others that had something to say.
        """
        if self.number == 1:
            yield
            return
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        sentences = [sentence for sentence in self.all(self._sentence(failure)) if sentence is not None]
        if failure is not None:
            raise failure
        if sentences:
            raise InputError(sentences[0])

    def _sentence(self, failure: Exception | None) -> str | None:
        if failure is None:
            return None
        if isinstance(failure, InputError):
            return str(failure)
        return f"the process of rank {self.rank} failed: {type(failure).__name__}: {_first_line(failure)}"

    def check_same(self, what: str, mine: Callable[[], Any]) -> None:
        """See that all of them have been given the same.

        Raises:
            InputError: naming `what` differs.
        """
        if self.number == 1:
            return
        own = mine()
        if any(other != own for other in self.all(own)):
            raise InputError(
                f"the {self.number} processes that were started together have different {what}: "
                "give them all the same, in folders that they share"
            )

    def in_turn(self, making: Iterator[T], take: Callable[[T], None]) -> None:
        """Have the first of them take what all of them make, a round at a time: the first thing of each, the second of each, ...

        The first makes nothing before it has taken the round before, so that no more than a round is ever in its memory.
        """
        waiting: list[T | None] = []
        while True:
            with self.same_fate():
                for thing in waiting:
                    if thing is not None:
                        take(thing)
                mine = next(making, None)
            if not any(self.all(mine is not None)):
                return
            waiting = self.at_first(mine)

    @contextmanager
    def _others_there(self) -> Iterator[None]:
        """Around what waits for the others."""
        try:
            yield
        except RuntimeError as error:
            raise InputError(f"one of the {self.number} processes has ended before the others: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


ALONE = Ranks()
