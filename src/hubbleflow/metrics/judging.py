"""All metrics of a report, on all cores: the same numbers whatever the number of workers.

The two tables (which may be gigabytes: features of many thousand images) are written once to a temporary file that the workers map into
their memory, so that they are held once, however many workers there are. A metric's splits depend on the seed and its name alone.
"""

from __future__ import annotations

import mmap
import pickle
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hubbleflow.cache import farm_for
from hubbleflow.counting import counting
from hubbleflow.farm import Farm, Here
from hubbleflow.metrics.bins import Bins
from hubbleflow.metrics.metric import Metric, all_metrics
from hubbleflow.metrics.result import Result
from hubbleflow.metrics.sample import Sample
from hubbleflow.metrics.splits import judge

OBJECTS, BUFFERS = "objects", "buffers"  # names of the files
ALIGNED = 64  # bytes: where arrays begin

Judged = tuple[Result, float]


def judge_all(
    metrics: Sequence[Metric],
    real: Sample,
    generated: Sample,
    bins: Bins,
    seed: int,
    splits: int,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Judged]:
    """Result, and seconds it took, of every metric, by name and in the metrics' order.

    Args:
        workers: processes for large sets; None takes all cores.
        progress: whether to show a bar on stderr.

    Raises:
        InputError: a worker was killed.
    """
    # costly ones first: none is left for one worker alone at the end
    order = sorted(metrics, key=lambda metric: metric.splits is None and metric.largest is None)
    found: dict[str, Judged] = {}
    with counting("judging", len(metrics), "metrics", progress) as advance:
        each = _each(order, (real, generated, bins), seed, splits, farm_for(len(real) + len(generated), workers))
        for metric, judged in zip(order, each, strict=True):
            found[metric.name] = judged
            advance(1)
    return {metric.name: found[metric.name] for metric in metrics}


@dataclass(frozen=True)
class _Task:
    folder: str
    metric: str
    seed: int
    splits: int


Tables = tuple[Sample, Sample, Bins]


def _each(metrics: Sequence[Metric], tables: Tables, seed: int, splits: int, farm: Farm) -> Iterator[Judged]:
    if isinstance(farm, Here):
        for metric in metrics:
            yield _timed(metric, tables, seed, splits)
        return
    with _shared(tables) as folder, farm:
        yield from farm.map(_judge, (_Task(folder, metric.name, seed, splits) for metric in metrics), ahead=len(metrics))


def _timed(metric: Metric, tables: Tables, seed: int, splits: int) -> Judged:
    began = time.perf_counter()
    return judge(metric, *tables, seed, splits), time.perf_counter() - began


@contextmanager
def _shared(tables: Tables) -> Iterator[str]:
    """A folder from which workers take the tables: what pickle makes of them, and beside it their arrays' bytes."""
    with tempfile.TemporaryDirectory(prefix="hubbleflow-") as folder:
        buffers: list[pickle.PickleBuffer] = []
        objects = pickle.dumps(tables, protocol=5, buffer_callback=buffers.append)
        ends = []
        with open(Path(folder, BUFFERS), "wb") as file:
            for buffer in buffers:
                file.write(bytes(-file.tell() % ALIGNED))
                begin = file.tell()
                file.write(buffer.raw())
                ends.append((begin, file.tell()))
            file.write(bytes(1))  # an empty file cannot be mapped
        Path(folder, OBJECTS).write_bytes(pickle.dumps((objects, ends)))
        yield folder


@lru_cache(maxsize=1)
def _tables(folder: str) -> Tables:
    """In a worker: the tables, their arrays where they lie in the file; what a metric writes into them is seen by nobody else."""
    objects, ends = pickle.loads(Path(folder, OBJECTS).read_bytes())
    with open(Path(folder, BUFFERS), "rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    return pickle.loads(objects, buffers=[mapped[begin:end] for begin, end in ends])


@lru_cache(maxsize=1)
def _metrics() -> dict[str, Metric]:
    return {metric.name: metric for metric in all_metrics()}


def _judge(task: _Task) -> Judged:
    return _timed(_metrics()[task.metric], _tables(task.folder), task.seed, task.splits)
