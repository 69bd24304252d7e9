"""Processes started together: the same galaxies whatever their number, one training, and nobody left waiting."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.ranks import LOCAL_RANK, NUMBER, RANK, Ranks, started
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training, weights_hash

SMALL = {"width": 8, "multipliers": [1]}
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")  # on CPUs too, docs/ranks.md


def launched(*command: Sequence[object]) -> list[SimpleNamespace]:
    """What came of Python commands that were started as a launcher starts them, one a process, each to know of the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    others = {"WORLD_SIZE": len(command), "LOCAL_WORLD_SIZE": len(command), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank, words in enumerate(command):
        said = {name: str(value) for name, value in {**others, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": 1}.items()}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, *map(str, words)], env={**os.environ, **said}, **pipes))
    try:
        ends = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    return [SimpleNamespace(code=process.returncode, out=out, err=err) for process, (out, err) in zip(started, ends, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a small sky and a model."""
    folder, rng = tmp_path_factory.mktemp("ranks"), np.random.default_rng(0)
    images = rng.normal(size=(24, 5, 16, 16)).astype("f4")
    columns = {"redshift": np.linspace(0.1, 2, 24), "category": np.array(["spiral", "elliptical"] * 12)}
    sky = GalaxySet(images, Survey.get("hsc-wide"), columns).write(folder / "sky.h5")
    list(Training(sky, folder / "model", Recipe(steps=2, conditions=("redshift", "category"), arguments=SMALL)).run())
    return folder


# -- alone --------------------------------------------------------------------------------------------------------------------------


def test_alone_nothing_is_imported_and_nothing_waits() -> None:
    code = "import sys; from hubbleflow.ranks import Ranks; Ranks.here().sums(1.0); assert not {'torch', 'accelerate'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"})
    alone = Ranks()
    assert alone.all("a") == alone.at_first("a") == ["a"] and alone.sums(0.5, 2.0) == (0.5, 2.0)
    with pytest.raises(KeyError), alone.same_fate():
        raise KeyError


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, (3, 8)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, (0, 1)),  # a batch system, which has started nothing yet
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}, (1, 2)),
    ],
)
def test_who_was_started_together_stands_in_the_environment(monkeypatch: pytest.MonkeyPatch, said: dict, found: tuple[int, int]) -> None:
    for name in (*NUMBER, *RANK, *LOCAL_RANK):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert started() == found


def test_shares_of_the_batches_are_the_whole(folder: Path) -> None:
    generator = Generator.load(folder / "model")
    values = generator.draw_conditions(7, seed=1)
    whole = list(generator.draw(values, 1, steps=1, batch_size=2))
    parts = [list(generator.draw(values, 1, steps=1, batch_size=2, share=(rank, 3))) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 1, 1]
    for number, (images, columns) in enumerate(whole):
        theirs, beside = parts[number % 3][number // 3]
        assert np.array_equal(images, theirs) and all(np.array_equal(columns[name], beside[name]) for name in columns)


# -- generating ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_draw_the_galaxies_of_one(folder: Path, tmp_path: Path, launcher: tuple[str, ...]) -> None:
    words = [
        "--condition",
        "redshift=0.2:1.5",
        "-n",
        "11",
        "--steps",
        "2",
        "--seed",
        "4",
        "--batch-size",
        "3",
    ]  # torchrun takes --n as its own
    command = [sys.executable, "-m", *launcher, "-m", "hubbleflow", "generate", str(folder / "model"), str(tmp_path / "two.h5"), *words]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("11 galaxies of hsc-wide") == 1 and run.stderr.count("11/11 galaxies") == 1
    made, generator = GalaxySet.open(tmp_path / "two.h5"), Generator.load(folder / "model")
    alone = generator.generate(tmp_path / "one.h5", {"redshift": made.redshift, "category": made.category}, 4, steps=2, batch_size=3)
    assert np.array_equal(made.images[:], alone.images[:])
    assert made.columns["object_id"].tolist() == list(range(11)) and made.provenance == alone.provenance
    assert set(made.columns) == set(alone.columns) and all(np.array_equal(made.columns[name], alone.columns[name]) for name in made.columns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.h5", "two.h5"]


def test_what_goes_wrong_in_one_ends_all_with_one_sentence(folder: Path, tmp_path: Path) -> None:
    out, missing = tmp_path / "out.h5", folder / "nothing"
    words = [("-m", "hubbleflow", "generate", model, out, "--n", 9) for model in (folder / "model", missing)]
    far = (*words[0], "--redshift", 7)
    for commands, sentence in ((words, f"{missing} does not exist"), ([far, far], "outside the trained range")):
        one, two = launched(*commands)
        assert (one.code, two.code) == (2, 2), f"{one.err}\n{two.err}"
        assert sentence in one.err and one.err.count("hubbleflow: ") == 1 and "Traceback" not in one.err
        assert two.out + two.err == ""
    assert not out.exists()


def test_other_verbs_are_not_shared(folder: Path) -> None:
    environment = {**os.environ, "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    command = [sys.executable, "-m", "hubbleflow", "info", str(folder / "model")]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 2 and "info is the work of one process, and 2 were started together" in run.stderr


TOGETHER = """
import sys
from pathlib import Path
from hubbleflow.errors import InputError
from hubbleflow.generator import Generator
from hubbleflow.ranks import Ranks

ranks, folder, taken = Ranks.here(), Path(sys.argv[1]), []
assert ranks.number == 2 and str(ranks.device) == "cpu"
assert ranks.all(f"of {ranks.rank}") == ["of 0", "of 1"] and ranks.sums(ranks.rank, 0.1) == (1.0, 0.2)
ranks.in_turn(iter("ace" if ranks.is_first else "bd"), taken.append)
assert taken == (list("abcde") if ranks.is_first else [])

def refused(do):
    try:
        with ranks.same_fate():
            do()
    except (InputError, ZeroDivisionError) as error:
        return f"{type(error).__name__}: {error}"

said = "ZeroDivisionError: division by zero"
assert refused(lambda: 1 / (1 - ranks.rank)) == (f"InputError: the process of rank 1 failed: {said}" if ranks.is_first else said)
try:
    ranks.check_same("things", lambda: ranks.rank)
except InputError as error:
    assert "have different things" in str(error)

def spoil(thing):
    if thing == "c":
        raise InputError("the disk is full")

try:
    ranks.in_turn(iter("ace" if ranks.is_first else "bd"), spoil)
except InputError as error:
    assert str(error) == "the disk is full"
generator = Generator.load(folder / "model")
asked = generator.draw_conditions(3)
try:
    generator.generate(folder, asked, ranks=ranks)
except InputError as error:
    assert "it is a folder" in str(error)
assert len(generator.generate(folder / "three.h5", asked, steps=1, batch_size=2, ranks=ranks)) == (3 if ranks.is_first else 0)
"""


def test_two_processes_meet_and_share_their_fate(folder: Path) -> None:
    ran = launched(*[("-c", TOGETHER, folder)] * 2)
    assert [process.code for process in ran] == [0, 0], ran[0].err + ran[1].err


# -- training -----------------------------------------------------------------------------------------------------------------------

TRAINER = """
import json, sys, time
import torch
from pathlib import Path
from hubbleflow.errors import InputError
from hubbleflow.files import content_hash
from hubbleflow.galaxies import GalaxySet
from hubbleflow.ranks import started
from hubbleflow.training import Recipe, Training

folder, (rank, number), said = Path(sys.argv[1]), started(), {}
sky = GalaxySet.open(folder / "sky.h5")
recipe = dict(conditions=("redshift", "category"), arguments=json.loads(sys.argv[2]), batch_size=5, snapshots=2)

def run(training, stop_after=None):
    steps = []
    for step in training.run():
        steps.append([step.number, step.loss, step.learning_rate, step.progress])
        if step.number == stop_after and rank == number - 1:
            training.stop()
    weights = {**training.online.state_dict(), **{"average." + name: tensor for name, tensor in training.average.state_dict().items()}}
    return [steps, content_hash(*(weights[name].numpy().tobytes() for name in sorted(weights)))]

said["whole"] = run(Training(sky, folder / "whole", Recipe(steps=21, **recipe)))
said["stopped"] = run(Training(sky, folder / "parts", Recipe(steps=21, **recipe)), 8)
said["resumed"] = run(Training(sky, folder / "parts", Recipe(steps=21, **recipe), resume=True))
clock = time.monotonic
time.monotonic = lambda: clock() * (1 + rank)  # the second process believes its time to go by twice as fast
said["minutes"] = run(Training(sky, folder / "minutes", Recipe(minutes=1 / 60, **recipe)))
time.monotonic = clock
try:
    Training(sky, folder / "few", Recipe(steps=1, **{**recipe, "batch_size": 1}))
except InputError as error:
    said["few"] = str(error)
(folder / f"said_{rank}.json").write_text(json.dumps(said))
"""


def test_two_processes_train_one_model(folder: Path) -> None:
    ran = launched(*[("-c", TRAINER, folder, json.dumps(SMALL))] * 2)
    assert [process.code for process in ran] == [0, 0], ran[0].err + ran[1].err
    assert not [process.err for process in ran if "Warning" in process.err or "strides" in process.err]
    one, two = (json.loads((folder / f"said_{rank}.json").read_text()) for rank in (0, 1))
    assert one == two, "losses, learning rates, steps and weights are the same in both"
    (whole, weights), (before, _), (after, resumed) = one["whole"], one["stopped"], one["resumed"]
    assert [step[0] for step in before] == list(range(1, 10)), "told after step 8, both go through step 9"
    assert before + after == whole and resumed == weights and weights_hash(folder / "parts") == weights_hash(folder / "whole")
    progress = [step[3] for step in one["minutes"][0]]
    assert progress.index(1.0) == len(progress) - 1
    assert "a batch of 1 galaxies is too small for 2 processes to share: give --batch-size 2 or more" in one["few"]
    assert [json.loads(line)["step"] for line in (folder / "parts" / "log.jsonl").read_text().splitlines()] == [20, 21]
    assert len(list((folder / "parts" / "averages").iterdir())) == 2
    assert np.isfinite(Generator.load(folder / "parts").sample(n=2, steps=2).images).all()
