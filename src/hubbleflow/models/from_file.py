"""A user's own model: one .py file with one subclass of Model in it, which has a `name`.

    hubbleflow train SET.h5 MODEL --model my_model.py         the file, named in words
    export HUBBLEFLOW_MODELS=my_model.py                      files and folders, parted as in PATH: found by every command

The file is run, as any Python that its user names. The folder of a trained model is another matter: it may be anybody's, and nothing in
it is ever run, so a file that lies in one is refused even by name.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from hubbleflow.errors import InputError
from hubbleflow.files import content_hash
from hubbleflow.model_folder import WEIGHTS
from hubbleflow.models.model import Model

VARIABLE = "HUBBLEFLOW_MODELS"
PREFIX = "hubbleflow_model_"  # of the modules that such files become


def named_files() -> Iterator[Path]:
    """The files that the environment names; of a folder those that end in .py and do not begin with an underscore.

    Raises:
        InputError: something named does not exist.
    """
    for entry in os.environ.get(VARIABLE, "").split(os.pathsep):
        path = Path(entry).expanduser()
        if not entry:
            continue
        if not path.exists():
            raise InputError(f"{VARIABLE} names {entry}, which does not exist: name .py files, or folders of them, that define models")
        yield from sorted(file for file in path.glob("*.py") if not file.name.startswith("_")) if path.is_dir() else [path]


def load_file(path: str | os.PathLike[str]) -> type[Model]:
    """Run a file and give the model that it defines, once: asked again for the same file, the same class.

    Raises:
        InputError: no such file, one in the folder of a trained model, one that fails, or that does not define one whole model whose name
            is still free.
    """
    path = Path(path).expanduser().resolve()
    if not path.exists():
        raise InputError(f"{path} does not exist: expected a .py file that defines a model")
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{path} is not a Python file: expected a .py file that defines a model")
    if any((folder / WEIGHTS).exists() for folder in path.parents):
        raise InputError(f"{path} lies in the folder of a trained model, in which nothing is ever run: keep your model's file elsewhere")
    name = f"{PREFIX}{path.stem}_{content_hash(str(path))[:8]}"
    if name in sys.modules:
        return _defined(sys.modules[name], path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module, before = importlib.util.module_from_spec(spec), dict(Model.registered)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        kind = _defined(module, path)
        if kind.name in before:
            raise InputError(f"{path} calls its model {kind.name!r}, as another model is called: choose another name")
        return kind
    except BaseException as error:
        del sys.modules[name]
        Model.registered.clear()
        Model.registered.update(before)
        if isinstance(error, InputError) or not isinstance(error, Exception):
            raise
        raise InputError(f"{path} cannot be run: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}") from error


def _defined(module: ModuleType, path: Path) -> type[Model]:
    found = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Model) and kind.__module__ == module.__name__ and kind.__dict__.get("name")
    ]
    if len(found) != 1:
        raise InputError(
            f"{path} defines {len(found)} models, expected one: a subclass of GenerativeModel or PredictiveModel with a `name`"
        )
    kind = found[0]
    if inspect.isabstract(kind) or not hasattr(kind, "defaults"):
        lacking = sorted(kind.__abstractmethods__) or ["defaults"]
        raise InputError(f"model {kind.name!r} of {path} is not whole: it must define {', '.join(lacking)}")
    return kind


def file_of(kind: type[Model]) -> Path | None:
    """The user's file that defines a model; None for those of this package."""
    if not kind.__module__.startswith(PREFIX):
        return None
    return Path(inspect.getfile(kind))


def code_hash(kind: type[Model]) -> str:
    """Of the text of a user's file, "" for a model of this package: a network that was edited is another one."""
    file = file_of(kind)
    return content_hash(file.read_text(encoding="utf-8")) if file else ""
