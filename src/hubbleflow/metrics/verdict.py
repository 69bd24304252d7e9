"""The verdict: three plain sentences made of the numbers, and of nothing else.

A metric *differs* where its p, corrected for all metrics that were looked at, is below 1 %
(:mod:`hubbleflow.metrics.corrections`); it is *within* chance where z = (distance - floor) / floor_error < 2, i.e. where
two real halves of the same size differ by as much. What lies between is named as such: one look alone would call it a
difference, and so many looks give some of those by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hubbleflow.metrics.result import LEVEL, SIGMA_OF_A_DIFFERENCE, Result

NAMED, NAMED_OF_A_FAMILY = 6, 3  # metrics named in one sentence (of one family, such as redshift_*); the table has all


def verdict(results: Mapping[str, Result], real: Mapping[str, float], generated: Mapping[str, float]) -> tuple[str, str, str]:
    """What the numbers say: what differs from the real set and by how much, what does not, and how the condition was
    followed.

    Args:
        results: by name, corrected for each other.
        real, generated: counts of the two sets: "n" and "flagged".

    Example:
        >>> from hubbleflow.metrics.corrections import corrected
        >>> close = Result("w1_magnitude", 0.1, 0.02, 0.1, 0.02, "low", distance=0.1, z=0.0, p=0.5)
        >>> far = Result("noise_rms", 0.5, 0.02, 0.1, 0.02, "low", distance=0.5, z=20.0, p=1e-9)
        >>> for sentence in verdict(corrected({"a": close, "b": far}), {"n": 100, "flagged": 3}, {"n": 100, "flagged": 12}):
        ...     print(sentence)
        1 of 2 metrics differs from the real set by more than chance (p < 1 %, corrected for 2 looks): noise_rms (5.0 times its floor).
        1 is within the scatter of real against real (z < 2): w1_magnitude.
        3.0 % of 100 real and 12.0 % of 100 generated galaxies carry flags; no redshifts were read from the images.
    """
    judged = by_significance(result for result in results.values() if result.differs is not None)
    return _outside(judged), _within(judged), _condition(results, real, generated)


def by_significance(results: Iterable[Result]) -> list[Result]:
    """The least likely by chance first; results without a p-value last."""
    return sorted(results, key=lambda r: (2.0 if r.p is None else r.p, -(r.z or 0.0)))


def _outside(judged: list[Result]) -> str:
    if not judged:
        return "No metric could be held against a floor: the sets are too small or lack what is needed (see the notes)."
    bad = [r for r in judged if r.differs]
    number = f"{len(bad) or 'None'} of {_plural(len(judged), 'metric')} {'differs' if len(bad) < 2 else 'differ'}"
    looks = f"p < {100 * LEVEL:g} %" + (f", corrected for {len(judged)} looks" if len(judged) > 1 else "")
    head = f"{number} from the real set by more than chance ({looks})"
    if not bad:
        return f"{head}."
    worst = bad[0].worst_cell()
    where = "" if worst is None or worst[1] == "all" else f"; {bad[0].name} is worst at {worst[1]}"
    return f"{head}: {_some([r.name for r in bad], [f' ({_times(r)})' for r in bad])}{where}."


def _within(judged: list[Result]) -> str:
    if not judged:
        return "Nothing can be said about what agrees."
    good = [r for r in judged[::-1] if r.within_floor]
    between = [r for r in judged if not r.within_floor and not r.differs]
    head = f"{len(good) or 'None'} {_is(len(good) or 1)} within the scatter of real against real (z < {SIGMA_OF_A_DIFFERENCE:g})"
    agree = f"{head}: {_some([r.name for r in good])}" if good else head
    if not between:
        return f"{agree}."
    return f"{agree}; {len(between)} {_is(len(between))} beyond it, but not after the correction: {_some([r.name for r in between])}."


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
