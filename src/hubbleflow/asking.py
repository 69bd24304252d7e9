"""What a user asks for in words: "0.5", "0.1:2", "0.1,0.5,1", "spiral,elliptical" -> values, one a galaxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hubbleflow.conditions import Conditions
from hubbleflow.errors import InputError


def parse_conditions(texts: Mapping[str, str], n: int | None, seed: int, conditions: Conditions) -> dict[str, Any]:
    """Condition name -> values. A range A:B is drawn uniformly, n times; a list is repeated in turn to n. A category may be named
    without its capitals and with hyphens for spaces; a word that several have in common means them all.

    Raises:
        InputError: a text that is none of these, a range without n, or an unknown condition.

    Example:
        >>> from hubbleflow.conditions import Condition
        >>> known = Conditions((Condition("redshift", "log1p", 0.0, 4.0),))
        >>> parse_conditions({"redshift": "0.1,0.5"}, 4, 0, known)["redshift"].tolist()
        [0.1, 0.5, 0.1, 0.5]
    """
    if n is not None and n < 1:
        raise InputError(f"the number of galaxies must be at least 1, got {n}")
    by_name = {column.name: column for column in conditions.columns}
    values: dict[str, Any] = {}
    for number, (name, text) in enumerate(sorted(texts.items())):
        if name not in by_name:
            raise InputError(f"this generator is not conditioned on {name!r}: it knows {', '.join(by_name) or 'no condition'}")
        if by_name[name].is_category:
            found: np.ndarray = np.array([kind for word in text.split(",") for kind in _classes(word, by_name[name].classes)])
        elif ":" in text:
            if n is None:
                raise InputError(f"a range of {name} needs --n: how many galaxies to draw between {text.replace(':', ' and ')}")
            ends = _numbers(name, text, ":")
            if len(ends) != 2 or not np.isfinite(ends).all():
                raise InputError(f"{name} {text!r} is not a range: give two finite ends, like 0.1:2")
            low, high = ends
            if not low <= high:
                raise InputError(f"{name} {text} runs backwards: give the smaller value first")
            found = np.random.default_rng([seed, 3, number]).uniform(low, high, n)
        else:
            found = np.array(_numbers(name, text, ","))
        if n is not None and n < len(found):
            raise InputError(f"{len(found)} values of {name} are asked for and only {n} galaxies: give --n {len(found)} or more")
        values[name] = np.resize(found, n or len(found))
    return values


def _classes(word: str, classes: tuple[str, ...]) -> list[str]:
    """The categories that a word means: the one of that name, whatever its capitals and hyphens, or all that have the word in their names.

    "round-smooth" is "Round Smooth", "spiral" is every kind of spiral; an unknown word comes back as it is.
    """
    plain = lambda text: text.strip().casefold().replace("-", " ").replace("_", " ")  # noqa: E731
    same = [name for name in classes if plain(name) == plain(word)]
    within = [name for name in classes if f" {plain(word)} " in f" {plain(name)} "]
    return same or within or [word.strip()]


def _numbers(name: str, text: str, separator: str) -> list[float]:
    try:
        return [float(word) for word in text.split(separator)]
    except ValueError as error:
        raise InputError(f"{name} {text!r} is not a number, a range like 0.1:2 or a list like 0.1,0.5,1") from error


def parse_names(text: str | None) -> dict[str, str]:
    """ "area=i_isophotal_area,e=i_ellipticity" -> {"area": "i_isophotal_area", "e": "i_ellipticity"}; {} for None.

    Raises:
        InputError: a part that is not THEIRS=OURS, or two for one column of ours.
    """
    names: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in (text or "").split(","))):
        theirs, equals, ours = (word.strip() for word in pair.partition("="))
        if not (theirs and equals and ours):
            raise InputError(f"--columns {pair!r} is not THEIRS=OURS: a column of the table, and the name that it has here")
        if ours in names.values():
            raise InputError(f"--columns names two columns {ours}: leave one of them out")
        names[theirs] = ours
    return names


def parse_fractions(text: str, parts: int) -> list[float]:
    """ "0.8,0.2" -> [0.8, 0.2].

    Raises:
        InputError: not as many numbers as parts.
    """
    fractions = _numbers("--fractions", text, ",")
    if len(fractions) != parts:
        raise InputError(f"--fractions {text} has {len(fractions)} shares for {parts} files: give one a file")
    return fractions
