"""What came of it: every model's numbers beside each other, beside the paper's, and beside real galaxies against real galaxies."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from hubbleflow.metrics.result import SIGMA_OF_A_DIFFERENCE
from hubbleflow.report.document import DASH, number
from hubbleflow.report.table import Table, plus_minus
from hubbleflow.reproduce.paper import REAL, Column, Paper

OURS = "edm"
LOSSES = ("galaxy_kl", "redshift_loss")  # that Li 2024 shows as functions of redshift


@dataclass(frozen=True)
class Entry:
    """A model's part.

    Attributes:
        name, title: of the model; the title says where it is small.
        parameters: trained numbers.
        steps, batch_size, minutes: of its training.
        drawn_in: steps of its sampler.
        report: what `evaluate` found: the content of metrics.json.
    """

    name: str
    title: str
    parameters: int
    steps: int
    batch_size: int
    minutes: float
    drawn_in: int
    report: dict[str, Any]

    def metric(self, column: Column) -> dict[str, Any]:
        """The entry of metrics.json; empty where there is none, or it has no value."""
        found = self.report["metrics"].get(column.metric, {})
        return found if found.get("value") is not None else {}


@dataclass(frozen=True)
class Comparison:
    """All models of a run.

    Attributes:
        paper: what is reproduced.
        entries: one a model.
        made_of: sentences: galaxies, budget, seed.
    """

    paper: Paper
    entries: tuple[Entry, ...]
    made_of: tuple[str, ...]

    # -- tables -----------------------------------------------------------------------------------------------------------------
    def tables(self) -> list[Table]:
        """The table itself, what was trained, and the paper's figures as numbers."""
        means = self._means() if self.paper.condition == "redshift" else []
        return [self.main_table(), self.trained_table(), *means, *self._per_bin()]

    def main_table(self) -> Table:
        """Rows are models, columns are numbers; the paper's own stand under ours."""
        columns = self.paper.columns
        rows = [("real galaxies", *(number(self._first(column, "real")) for column in columns))]
        rows += self._published(REAL, "real galaxies, in the paper")
        rows += [
            ("real against real", *(plus_minus(self._first(column, "floor"), self._first(column, "floor_error")) for column in columns))
        ]
        for entry in self.entries:
            rows.append((entry.title, *(_cell(entry.metric(column)) for column in columns)))
            rows += self._published(entry.name, f"{entry.name}, in the paper")
        caption = (
            "Value ± error, and z: how far the distance from the real galaxies lies above that of real galaxies from each other, in units "
            "of its scatter; below 2 it is chance."
        )
        return Table("Side by side", ("", *(column.title for column in columns)), tuple(rows), caption)

    def _published(self, row: str, title: str) -> list[tuple[str, ...]]:
        printed = [column.published.get(row) for column in self.paper.columns]
        return [(title, *(number(value) for value in printed))] if any(value is not None for value in printed) else []

    def _first(self, column: Column, key: str) -> float | None:
        """The real galaxies' own number: the same in every model's report, to what few rows a generated set's flags take away."""
        return next((found[key] for entry in self.entries if (found := entry.metric(column)).get(key) is not None), None)

    def trained_table(self) -> Table:
        """How large the networks are, and what they had."""
        rows = tuple(
            (
                entry.title,
                f"{entry.parameters:,}",
                f"{entry.minutes:.1f}",
                f"{entry.steps:,}",
                str(entry.batch_size),
                str(entry.drawn_in),
                f"{100 * entry.report['generated']['flagged_fraction']:.1f} %",
            )
            for entry in self.entries
        )
        return Table("What was trained", ("", "parameters", "minutes", "steps", "batch", "drawn in steps", "flagged"), rows)

    def _means(self) -> list[Table]:
        """Lizarraga 2024's figure 4, Li 2024's figure 12: means per redshift bin."""
        wanted = [column.metric.removeprefix("w1_") for column in self.paper.columns if column.metric.startswith("w1_")]
        wanted = wanted or ["isophotal_area", "ellipticity", "sersic_index"]
        tables = []
        for quantity in wanted:
            found = [next((d for name, d in e.report["quantities"].items() if name.endswith(f"_{quantity}")), None) for e in self.entries]
            first = next((described for described in found if described), None)
            if first is None:
                continue
            columns = [_means_of(first, REAL, len(first["means"]["bins"]))]
            columns += [_means_of(described, "generated", len(first["means"]["bins"])) for described in found]
            rows = tuple(zip(first["means"]["bins"], *columns, strict=True))
            head = ("", "real", *(entry.title for entry in self.entries))
            tables.append(Table(f"Mean {first['label']} at each redshift", head, rows, "± half the 95 % interval (Student's t)."))
        return tables

    def _per_bin(self) -> list[Table]:
        """Distances within each category; Li 2024's losses per redshift bin (its figures 7 and 13)."""
        tables, where = [], "category" if self.paper.condition == "category" else "redshift bin"
        for column in self.paper.columns:
            found = [entry.metric(column).get("per_bin") for entry in self.entries]
            first = next((per_bin for per_bin in found if per_bin and len(per_bin["bins"]) > 1), None)
            if first is None or (self.paper.condition == "redshift" and column.metric not in LOSSES):
                continue
            beside, words = ("real", "real galaxies") if "real" in first else ("floor", "real against real")
            rows = []
            for place, label in enumerate(first["bins"]):
                values = [_mean(p["value"], p["bins"].index(label)) if p and label in p["bins"] else None for p in found]
                rows.append((label, number(_mean(first[beside], place)), *(number(value) for value in values)))
            head = ("", words, *(entry.title for entry in self.entries))
            tables.append(Table(f"{column.title[:1].upper()}{column.title[1:]} in each {where}", head, tuple(rows)))
        return tables

    # -- sentences --------------------------------------------------------------------------------------------------------------
    def sentences(self) -> list[str]:
        """Who is nearest to the real galaxies in which column; where ours does not lead; whether the papers' findings hold."""
        ranked = {column.title: self._ranked(column) for column in self.paper.columns}
        ranked = {title: entries for title, entries in ranked.items() if entries}
        said = []
        if len(self.entries) > 1 and ranked:
            leads: dict[str, list[str]] = {}
            for title, entries in ranked.items():
                leads.setdefault(entries[0][0].title, []).append(title)
            parts = [f"{who} in {', '.join(titles)}" for who, titles in sorted(leads.items(), key=lambda item: -len(item[1]))]
            said.append(f"Nearest to the real galaxies: {'; '.join(parts)}.")
            ours = next((entry for entry in self.entries if entry.name == OURS), None)
            if ours is not None:
                said.append(_where_not_ahead(ours, ranked))
        return [*said, *self._background()]

    def _ranked(self, column: Column) -> list[tuple[Entry, dict[str, Any]]]:
        known = [(entry, found) for entry in self.entries if (found := entry.metric(column)).get("distance") is not None]
        return sorted(known, key=lambda pair: pair[1]["distance"])

    def _background(self) -> list[str]:
        """Li 2024's finding about the sky."""
        column = next((column for column in self.paper.columns if column.metric == "noise_correlation"), None)
        by_name = {entry.name: entry.metric(column) for entry in self.entries} if column else {}
        cvae, ddpm = by_name.get("li2024-cvae"), by_name.get("li2024-ddpm")
        if not cvae or not ddpm or cvae.get("z") is None or ddpm.get("z") is None:
            return []
        correlated, also_ddpm = (found["z"] >= SIGMA_OF_A_DIFFERENCE for found in (cvae, ddpm))
        if not correlated and not also_ddpm:
            verdict = "cannot be seen here"
        elif correlated and not also_ddpm:
            verdict = "holds"
        elif cvae["distance"] > ddpm["distance"] and correlated:
            verdict = "holds in its direction: the DDPM's sky is nearer, and still not the real one"
        else:
            verdict = "is contradicted"
        numbers = f"{plus_minus(cvae['value'], cvae['error'])} (CVAE) and {plus_minus(ddpm['value'], ddpm['error'])} (DDPM)"
        return [
            f"The correlation of neighbouring sky pixels differs from the real sky's by {numbers}, real against real by "
            f"{plus_minus(cvae['floor'], cvae['floor_error'])}: Li 2024's finding, a correlated background in the CVAE's images and not in "
            f"the DDPM's, {verdict}."
        ]

    def notes(self) -> list[str]:
        """What a reader must know of the numbers."""
        about = [f"{column.title}: {column.note}" for column in self.paper.columns if column.note]
        lacking: dict[str, tuple[list[str], list[str]]] = {}
        for entry in self.entries:
            for column in self.paper.columns:
                if column.metric in entry.report["metrics"] and not entry.metric(column):
                    titles, models = lacking.setdefault(str(entry.report["metrics"][column.metric].get("note")), ([], []))
                    titles.append(column.title)
                    models.append(entry.title)
        none = [
            f"No {', '.join(dict.fromkeys(titles))} of {', '.join(dict.fromkeys(models))}: {why}"
            for why, (titles, models) in lacking.items()
        ]
        source = [f"The papers' numbers: {self.paper.source}"] if self.paper.published else []
        return [*self.made_of, *source, *self.paper.remarks, *about, *none]

    # -- whole ------------------------------------------------------------------------------------------------------------------
    def markdown(self) -> str:
        """Table, sentences, notes, and the other tables."""
        main, *others = self.tables()
        blocks = [main.markdown(), main.caption, *self.sentences(), "\n".join(f"- {_sentence(note)}" for note in self.notes())]
        for table in others:
            blocks += [f"**{table.title}**" + (f" ({table.caption.rstrip('.')})" if table.caption else ""), table.markdown()]
        return "\n\n".join(blocks) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: the content of reproduce.json."""
        columns = [asdict(column) for column in self.paper.columns]
        models = [
            {**{key: value for key, value in asdict(entry).items() if key != "report"}, "metrics": entry.report["metrics"]}
            for entry in self.entries
        ]
        return {
            "format": 1,
            "paper": self.paper.key,
            "citation": self.paper.citation,
            "source": self.paper.source,
            "columns": columns,
            "models": models,
            "sentences": self.sentences(),
            "notes": self.notes(),
        }


def _cell(found: dict[str, Any]) -> str:
    if not found:
        return DASH
    z = found.get("z")
    return plus_minus(found["value"], found["error"]) + (f" (z {z:.1f})" if z is not None and math.isfinite(z) else "")


def _where_not_ahead(ours: Entry, ranked: dict[str, list[tuple[Entry, dict[str, Any]]]]) -> str:
    """Columns in which another model is nearer, and whether by more than the errors."""
    said: dict[str, list[str]] = {"is level, within the errors, in": [], "is behind in": [], "has no value in": []}
    for title, entries in ranked.items():
        mine = next((found for entry, found in entries if entry is ours), None)
        best, found = entries[0]
        if mine is None:
            said["has no value in"].append(title)
        elif best is not ours:
            close = mine["distance"] - found["distance"] <= math.hypot(mine["error"] or 0.0, found["error"] or 0.0)
            numbers = f"{plus_minus(mine['value'], mine['error'])}, {best.title} {plus_minus(found['value'], found['error'])}"
            said["is level, within the errors, in" if close else "is behind in"].append(f"{title} ({numbers})")
    parts = [f"{words} {', '.join(titles)}" for words, titles in said.items() if titles]
    return f"{ours.title} {'; it '.join(parts)}." if parts else f"{ours.title} is nearest in every column."


def _means_of(described: dict[str, Any] | None, which: str, bins: int) -> list[str]:
    if described is None:
        return [DASH] * bins
    means = described["means"][which]
    halves = [None if low is None or high is None else (high - low) / 2 for low, high in zip(means["low"], means["high"], strict=True)]
    return [plus_minus(mean, half) for mean, half in zip(means["mean"], halves, strict=True)]


def _mean(table: list[list[float | None]], place: int) -> float | None:
    known = [value for row in table if (value := row[place]) is not None]
    return sum(known) / len(known) if known else None


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
