"""The verdict: three plain sentences made of the numbers, and of nothing else.

A metric is *within* chance where z = (distance - floor) / floor_error < 2, i.e. where two real halves of the same size
differ by as much. The score is conservative (1.3 % of 1,080 comparisons of mock real sets with each other exceed 2, 0.2
% exceed 3), but with twenty metrics one may be outside by chance alone, so the first sentence says how many were looked
at.
"""

from __future__ import annotations

from collections.abc import Mapping

from hubbleflow.metrics.result import SIGMA_OF_A_DIFFERENCE, Result

NAMED, NAMED_OF_A_FAMILY = 6, 3  # metrics named in one sentence (of one family, such as redshift_*); the table has all


def verdict(results: Mapping[str, Result], real: Mapping[str, float], generated: Mapping[str, float]) -> tuple[str, str, str]:
    """What the numbers say: what agrees with the real set, what does not and by how much, and how the condition was
    followed.

    Args:
        results: by name.
        real, generated: counts of the two sets: "n" and "flagged".

    Example:
        >>> close = Result("w1_magnitude", 0.1, 0.02, 0.1, 0.02, "low", distance=0.1, z=0.0)
        >>> far = Result("noise_rms", 0.5, 0.02, 0.1, 0.02, "low", distance=0.5, z=20.0)
        >>> for sentence in verdict({"a": close, "b": far}, {"n": 100, "flagged": 3}, {"n": 100, "flagged": 12}):
        ...     print(sentence)
        1 of 2 metrics is within the scatter of real against real (z < 2): w1_magnitude.
        1 is not: noise_rms (5.0 times its floor).
        3.0 % of 100 real and 12.0 % of 100 generated galaxies carry flags; no redshifts were read from the images.
    """
    judged = [result for result in results.values() if result.within_floor is not None]
    return _within(judged), _outside(judged), _condition(results, real, generated)


def _within(judged: list[Result]) -> str:
    if not judged:
        return "No metric could be held against a floor: the sets are too small or lack what is needed (see the notes)."
    good = sorted((r for r in judged if r.within_floor), key=lambda r: r.z or 0.0)
    number = f"{len(good)} of {_plural(len(judged), 'metric')} {_is(len(good))}"
    head = f"{number} within the scatter of real against real (z < {SIGMA_OF_A_DIFFERENCE:g})"
    return f"{head}: {_some([r.name for r in good])}." if good else f"{head}."


def _outside(judged: list[Result]) -> str:
    bad = sorted((r for r in judged if not r.within_floor), key=lambda r: -(r.z or 0.0))
    if not bad:
        return "None is outside." if judged else "Nothing can be said about what differs."
    worst = bad[0].worst_cell()
    where = "" if worst is None or worst[1] == "all" else f"; {bad[0].name} is worst at {worst[1]}"
    return f"{len(bad)} {_is(len(bad))} not: {_some([r.name for r in bad], [f' ({_times(r)})' for r in bad])}{where}."


def _condition(results: Mapping[str, Result], real: Mapping[str, float], generated: Mapping[str, float]) -> str:
    shares = [f"{100 * counts['flagged'] / max(counts['n'], 1):.1f} % of {counts['n']}" for counts in (real, generated)]
    flagged = f"{shares[0]} real and {shares[1]} generated galaxies carry flags"
    followed = results.get("redshift_spearman")
    if followed is None or not followed.computed:
        return f"{flagged}; no redshifts were read from the images."
    return f"{flagged}; asked and read redshifts have rank correlation {followed.value:.2f} (real set {followed.real:.2f})."


def _times(result: Result) -> str:
    if result.ratio is None:
        return f"z = {result.z:.1f}"
    return f"{result.ratio:.{0 if result.ratio >= 10 else 1}f} times its floor"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _some(names: list[str], words: list[str] | None = None) -> str:
    """The first few names (with words after each), not all of one family."""
    shown: list[str] = []
    families: list[str] = []
    for name, said in zip(names, words or [""] * len(names), strict=True):
        family = name.split("_")[0]
        if len(shown) < NAMED and families.count(family) < NAMED_OF_A_FAMILY:
            shown.append(name + said)
            families.append(family)
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
