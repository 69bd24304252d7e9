"""Every model that can be trained: one file each in this folder, found by name.

A subclass of :class:`Model` that has a `name` is a model; dropping its file in is all there is to do. A user's own need not even be
dropped in: see :mod:`hubbleflow.models.from_file`.
"""

from __future__ import annotations

import importlib
import pkgutil

from hubbleflow.errors import InputError
from hubbleflow.models.from_file import load_file, named_files
from hubbleflow.models.model import DensityModel, GenerativeModel, Model, PredictiveModel, TrainingDefaults, TrainingSet

__all__ = [
    "DensityModel",
    "GenerativeModel",
    "Model",
    "PredictiveModel",
    "TrainingDefaults",
    "TrainingSet",
    "get_model",
    "model_names",
    "model_of",
]


def _registered() -> dict[str, type[Model]]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    for path in named_files():
        load_file(path)
    return Model.registered


def model_names() -> tuple[str, ...]:
    """Names of all models, sorted."""
    return tuple(sorted(_registered()))


def get_model(name: str) -> type[Model]:
    """The model class of that name.

    Raises:
        InputError: no model has that name; the sentence lists those that exist.
    """
    models = _registered()
    if name not in models:
        raise InputError(f"unknown model {name!r}: choose one of {', '.join(sorted(models))}")
    return models[name]


def model_of(text: str) -> type[Model]:
    """The model that a user names: a registered one's name, or the path of a .py file that defines one.

    Raises:
        InputError: see :func:`get_model` and :func:`hubbleflow.models.from_file.load_file`.
    """
    if not text.endswith(".py"):
        return get_model(text)
    _registered()  # so that the file cannot take the name of a model that is there
    return load_file(text)
