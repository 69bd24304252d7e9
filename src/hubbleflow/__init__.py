"""hubbleflow: generate galaxies at any redshift and of any kind, and prove physically that they are right.

    >>> import hubbleflow as hf
    >>> hf.Survey.get("hsc-wide").bands
    ('g', 'r', 'i', 'z', 'y')

The two nouns are :class:`GalaxySet` (an HDF5 file) and :class:`Generator` (a folder); every verb maps those to those. Names are loaded when
first used, so that `import hubbleflow` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubbleflow.errors import InputError as InputError
    from hubbleflow.galaxies import GalaxySet as GalaxySet
    from hubbleflow.generator import Generator as Generator
    from hubbleflow.metrics import evaluate as evaluate
    from hubbleflow.predictor import Predictor as Predictor
    from hubbleflow.survey import Survey as Survey
    from hubbleflow.training import Recipe as Recipe
    from hubbleflow.training import Training as Training

__version__ = "0.1.0"

_HOME = {
    "GalaxySet": "galaxies",
    "Generator": "generator",
    "InputError": "errors",
    "Predictor": "predictor",
    "Recipe": "training",
    "Survey": "survey",
    "Training": "training",
    "evaluate": "metrics",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hubbleflow' has no attribute {name!r}")
    return getattr(import_module(f"hubbleflow.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
