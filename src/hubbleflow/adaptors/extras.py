"""The packages that extras bring, imported where they are first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hubbleflow.errors import InputError


def imported(package: str, extra: str) -> Any:
    """A package that the core does without.

    Raises:
        InputError: it is not installed; the sentence says how to.

    Example:
        >>> imported("a_package_of_nobodys", "galsim")
        Traceback (most recent call last):
        hubbleflow.errors.InputError: this needs a_package_of_nobodys, which is not installed: pip install 'hubbleflow[galsim]'
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(f"this needs {package}, which is not installed: pip install 'hubbleflow[{extra}]'") from error
