"""Every model that can be trained: one file each in this folder, found by name.

A subclass of :class:`Model` that has a `name` is a model; dropping its file in is all there is to do.
"""

from __future__ import annotations

import importlib
import pkgutil

from hubbleflow.errors import InputError
from hubbleflow.models.model import GenerativeModel, Model, PredictiveModel, TrainingDefaults, TrainingSet

__all__ = ["GenerativeModel", "Model", "PredictiveModel", "TrainingDefaults", "TrainingSet", "get_model", "model_names"]


def _registered() -> dict[str, type[Model]]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
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
