"""Where trained models come from: a folder of one's own, the shelf inside this package, or the Hugging Face hub.

    "runs/model"          a folder, as `hubbleflow train` writes it; taken first, whatever it is called
    "hsc"                 a model that ships with the package: the folder `pretrained/hsc` beside this file, weights in float16
    "hf://USER/NAME"      a repository of the hub, downloaded once into the hub's own cache; needs `pip install 'hubbleflow[huggingface]'`

Of a repository only config, weights, card and log are fetched: whatever else lies there, a pickle say, never comes here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hubbleflow.errors import InputError
from hubbleflow.model_folder import CARD, CONFIG, LOG, STATE, WEIGHTS

SHELF = Path(__file__).parent
HUB = "hf://"
ON_HUB = re.compile(r"hf:/+(.*)")  # one slash is left where the name has been through a Path
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def shipped(shelf: Path = SHELF) -> tuple[str, ...]:
    """Names of the models that ship with the package: every folder on the shelf that holds a config and weights."""
    if not shelf.is_dir():
        return ()
    return tuple(sorted(path.name for path in shelf.iterdir() if (path / CONFIG).exists() and (path / WEIGHTS).exists()))


def find_model(name: str | os.PathLike[str], shelf: Path = SHELF, *, hub: bool = False, revision: str | None = None) -> Path:
    """The folder of the model that is called `name`.

    Args:
        name: a folder, a shipped model's name, or hf://USER/NAME.
        shelf: where the shipped models are.
        hub: take USER/NAME for a repository of the hub too, where there is no such folder. Not at the command line: a folder's name
            mistyped should not ask the network.
        revision: of a repository: a branch, tag or commit.

    Raises:
        InputError: there is no such model; the sentence lists those that ship. Or it could not be downloaded.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> find_model(folder) == Path(folder)
        True
    """
    text = os.fspath(name)
    if named := ON_HUB.fullmatch(text):
        return download(named[1], revision)
    if Path(text).is_dir():
        return Path(text)
    if text in shipped(shelf):
        return shelf / text
    if Path(text).exists():
        raise InputError(f"{text} is a file: expected the folder of a trained model, as 'hubbleflow train' writes it")
    if hub and REPOSITORY.fullmatch(text):
        return download(text, revision)
    known = ", ".join(shipped(shelf)) or "there is none in this version"
    raise InputError(
        f"{text} does not exist: expected the folder of a trained model, as 'hubbleflow train' writes it, the name of one that ships with"
        f" hubbleflow ({known}), or {HUB}USER/NAME"
    )


def download(repository: str, revision: str | None = None) -> Path:
    """The folder of a repository of the hub, downloaded where the hub's cache does not have it.

    Raises:
        InputError: huggingface_hub is not installed, there is no such repository or revision, or no network and nothing cached.
    """
    with _hub_errors(f"cannot fetch {HUB}{repository}") as hub:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=[CONFIG, WEIGHTS, CARD, LOG]))


def upload(folder: str | os.PathLike[str], repository: str, *, kind: str = "model", private: bool = False, token: str | None = None) -> str:
    """Put a folder's files into a repository of the hub, which is made where there is none; returns its address.

    Args:
        folder: everything in it is uploaded, but for a training's state and its TensorBoard.
        repository: USER/NAME.
        kind: "model" or "dataset".
        private: of a repository that is made.
        token: of the hub's user; the one of `hf auth login` where None.

    Raises:
        InputError: huggingface_hub is not installed, nobody is logged in, or the hub says no.
    """
    with _hub_errors(f"cannot write {HUB}{repository}") as hub:
        api = hub.HfApi(token=token)
        place = api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        message, left = "Upload by hubbleflow", [STATE, "tensorboard/*", ".*"]
        api.upload_folder(repo_id=repository, repo_type=kind, folder_path=folder, commit_message=message, ignore_patterns=left)
        return str(place)


@contextmanager
def _hub_errors(what: str) -> Iterator[Any]:
    """huggingface_hub, whose errors become one sentence."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(f"{what}: huggingface_hub is not installed; pip install 'hubbleflow[huggingface]'") from error
    try:
        yield huggingface_hub
    except (OSError, ValueError, huggingface_hub.errors.HTTPError) as error:  # the network, a missing repository, a name
        said = " ".join([line for line in str(error).splitlines() if line.strip()][:2]) or type(error).__name__
        raise InputError(f"{what} ({said.rstrip('.')}): check its name and the network") from error
