"""The leaderboard: several generators, each judged against the same real galaxies, beside each other.

Read from their reports (metrics.json); no galaxy is looked at again. The rank rests on

    score = 1/M sum_i ln(max(distance_i, floor_i / 10) / floor_i)

over the M metrics that every generator has a distance and a floor of: 0 is as near to the real galaxies as they are to
each other, ln 2 = 0.69 twice as far. (The tenth of a floor is there for a distance of exactly zero, whose logarithm
would outweigh all others.) For a comparison that should be high (a coverage) it is floor over distance. Every metric
counts alike, so that a family of many metrics counts much: the families stand below for readers who weigh otherwise.
The score's error is the mean of error_i / distance_i, which is what it would be if all errors went up and down
together: not more than that.

Two reports can stand beside each other where they were made on the same real galaxies, measured in the same way; ln
(distance / floor) of the same generator grows with the number of galaxies drawn (a floor falls as 1/sqrt(m)), so where
the numbers differ the page says so.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hubbleflow.errors import InputError

LEAST = 0.1  # of a floor: what a distance of zero counts as


@dataclass(frozen=True)
class Contender:
    """A generator and what was found of it.

    Attributes:
        name: in the tables.
        place: where its report was read.
        report: the content of metrics.json.
    """

    name: str
    place: Path
    report: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str], name: str = "") -> Contender:
        """Read a report: its folder, or its metrics.json.

        Raises:
            InputError: there is none, or the file is no report.
        """
        path = Path(path)
        file = path / "metrics.json" if path.is_dir() else path
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path} holds no report: expected a folder with metrics.json, as evaluate writes it") from error
        except ValueError as error:
            raise InputError(f"{file} is no report: it isn't JSON; give what evaluate wrote") from error
        if not isinstance(report, dict) or not {"metrics", "real", "generated"} <= set(report):
            raise InputError(f"{file} is no report: it has no metrics of a real and a generated set; give what evaluate wrote")
        folder = file.resolve().parent
        called = name or report["generated"].get("model") or (folder.parent.name if folder.name == "report" else folder.name)
        return cls(called, path, report)

    def metric(self, name: str) -> dict[str, Any]:
        """The entry of metrics.json; empty where there is none, or it has no value."""
        found = self.report["metrics"].get(name, {})
        return found if found.get("value") is not None else {}

    def ratio(self, name: str) -> float | None:
        """Distance over floor (floor over distance, where high is better), no distance below a tenth of the floor; None without one."""
        found = self.metric(name)
        distance, floor = found.get("distance"), found.get("floor")
        if distance is None or floor is None or floor <= 0:
            return None
        ratio = max(distance / floor, LEAST)
        return 1 / ratio if _should_be_high(found) else ratio


@dataclass(frozen=True)
class Standing:
    """Where a generator stands: its rank, its score (NaN without metrics to rank by), and by how many metrics it was judged, is within
    chance, and differs."""

    contender: Contender
    rank: int
    score: float
    error: float
    judged: int
    within: int
    differ: int


@dataclass(frozen=True)
class Leaderboard:
    """Generators in the order of their reports.

    Attributes:
        contenders: one a report.
        warnings: why they should not stand beside each other, where --force put them there.
    """

    contenders: tuple[Contender, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, reports: Sequence[str | os.PathLike[str]], names: Sequence[str] = (), force: bool = False) -> Leaderboard:
        """Read several reports.

        Args:
            reports: folders with metrics.json, or the files.
            names: of the generators, in the order of the reports; else what each report says, or its folder's name.
            force: put reports of different real sets beside each other all the same.

        Raises:
            InputError: fewer than two reports, as many names as reports expected, a file that is no report, or different real sets.
        """
        if len(reports) < 2:
            raise InputError(f"a leaderboard needs two reports at least, got {len(reports)}")
        if names and len(names) != len(reports):
            raise InputError(f"got {len(names)} names for {len(reports)} reports: give --name once for each, in their order, or not at all")
        contenders = [Contender.read(path, name) for path, name in zip(reports, names or [""] * len(reports), strict=True)]
        reasons = _why_not_comparable(contenders)
        if reasons and not force:
            warning, advice = next(iter(reasons.items()))
            raise InputError(f"{warning}; {advice}, or give --force")
        return cls(tuple(_told_apart(contenders)), tuple(reasons))

    # -- who is nearest ---------------------------------------------------------------------------------------------------------
    def metrics(self) -> list[str]:
        """Every metric that a generator has a value of, family by family, in the order of the reports."""
        names = dict.fromkeys(name for contender in self.contenders for name in contender.report["metrics"] if contender.metric(name))
        families = list(dict.fromkeys(family(name) for name in names))
        return sorted(names, key=lambda name: families.index(family(name)))

    def ranked_by(self) -> list[str]:
        """Metrics that all generators have a distance and a positive floor of."""
        return [name for name in self.metrics() if all(contender.ratio(name) is not None for contender in self.contenders)]

    def standings(self) -> list[Standing]:
        """From the nearest to the real galaxies to the furthest; in the order of the reports where there is no score."""
        counted, found = self.ranked_by(), []
        for contender in self.contenders:
            ratios = [math.log(contender.ratio(name) or LEAST) for name in counted]
            errors = [(m["error"] or 0.0) / max(m["distance"], LEAST * m["floor"]) for m in map(contender.metric, counted)]
            judged = [m for m in map(contender.metric, self.metrics()) if m.get("within_floor") is not None]
            within, differ = sum(m["within_floor"] for m in judged), sum(bool(m.get("differs")) for m in judged)
            found.append(Standing(contender, 1, _mean(ratios), _mean(errors), len(judged), within, differ))
        if counted:
            found.sort(key=lambda standing: standing.score)
            found = [replace(standing, rank=1 + sum(other.score < standing.score for other in found)) for standing in found]
        return found

    def nearest(self, name: str) -> list[Contender]:
        """Who is nearest to the real galaxies by one metric: all that are within chance, for they cannot be told apart, else one."""
        known = [(contender, found) for contender in self.contenders if (found := contender.metric(name))]
        if chance := [contender for contender, found in known if found.get("within_floor")]:
            return chance
        away = {id(contender): _away(found) for contender, found in known}
        return [contender for contender, _ in known if away[id(contender)] == min(away.values())]

    def notes(self) -> list[str]:
        """What a reader must know before comparing."""
        notes = list(self.warnings)
        sizes = {contender.name: contender.report["generated"].get("n") for contender in self.contenders}
        if len(set(sizes.values())) > 1:
            counts = ", ".join(f"{size} of {name}" for name, size in sizes.items())
            notes.append(f"judged by different numbers of galaxies ({counts}): of the same generator more galaxies give a larger score")
        judges = {contender.name: _judge(contender) for contender in self.contenders}
        if len(set(judges.values())) > 1:
            notes.append("redshifts were not judged alike: " + "; ".join(f"{name}: {judge or 'unknown'}" for name, judge in judges.items()))
        counted = set(self.ranked_by())
        left_out = [name for name in self.metrics() if name not in counted]
        if left_out:
            notes.append(f"not in the score, for want of a distance and a positive floor of every generator: {', '.join(left_out)}")
        return notes


def _why_not_comparable(contenders: Sequence[Contender]) -> dict[str, str]:
    """Why the reports can't stand beside each other -> what to do, both without a full stop."""
    reasons = {}
    for key, what in (("content_hash", "different real sets"), ("recipe", "different measurements of the real set")):
        found = {contender.place: contender.report["real"].get(key) for contender in contenders}
        silent = [str(place) for place, value in found.items() if value is None]
        if silent and key == "content_hash":
            reasons[f"{', '.join(silent)} doesn't say on which real set it was made"] = "evaluate again with this version"
        known = {place: value for place, value in found.items() if value is not None}
        if len(set(known.values())) > 1:
            hashes = ", ".join(f"{place}: {value[:8]}" for place, value in known.items())
            reasons[f"these reports were made on {what} ({hashes})"] = "evaluate all generators against one set"
    return reasons


def _told_apart(contenders: Iterable[Contender]) -> list[Contender]:
    """No two of one name: folder names are added, and numbers where that does not help."""
    contenders = list(contenders)
    for called in (lambda one, _: f"{one.name} ({one.place})", lambda one, number: f"{one.name} #{number}"):
        often = Counter(contender.name for contender in contenders)
        contenders = [
            Contender(called(one, number), one.place, one.report) if often[one.name] > 1 else one
            for number, one in enumerate(contenders, start=1)
        ]
    return contenders


def _judge(contender: Contender) -> str:
    return next((note for note in contender.report.get("notes", []) if note.startswith("redshifts ")), "")


def family(name: str) -> str:
    """The first word of a metric's name."""
    return name.split("_")[0]


def _should_be_high(found: dict[str, Any]) -> bool:
    """Whether it compares two sets by something of which there should be much; what describes one set is held against the real set's."""
    return found["better"] == "high" and "real" not in found


def _away(found: dict[str, Any]) -> float:
    """How far from the real galaxies; of a metric without a distance, how bad."""
    if found.get("distance") is not None:
        return -found["distance"] if _should_be_high(found) else found["distance"]
    return -found["value"] if found["better"] == "high" else found["value"]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
