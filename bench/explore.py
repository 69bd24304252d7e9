"""How many frames a second a dragged slider of `hubbleflow explore` sees, asked over HTTP as the page asks. It prints a Markdown table.

    python bench/explore.py MODEL [--seconds 5] [--device cpu]

The server is the command itself, in a process of its own. One request follows the other, on one connection, each at another redshift: what
a browser gets from its own machine, but for drawing the bytes (under a millisecond). Rows: one galaxy and the nine of the page's grid at
several numbers of steps, measuring one, and a request that is refused, which is what HTTP costs by itself. Milliseconds are the median
and, in brackets, the 95th percentile; frames a second are those of the median.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from in_words import in_words

from hubbleflow.pretrained import find_model

STEPS = (1, 2, 4, 8, 20)
GRID = 9
FEWEST = 5  # requests a row, however long they take


class Page:
    """A browser's side: one connection, and what the page knows."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
        self.connection.request("GET", "/")
        page = self.connection.getresponse().read().decode()
        found = re.search(r'id="known">(.*?)</script>', page)
        assert found is not None
        self.known: dict[str, Any] = json.loads(found[1])
        self.rng = np.random.default_rng(0)

    def conditions(self) -> dict[str, float | str]:
        """Each number anywhere on its slider, categories where they start."""
        places = {}
        for control in self.known["controls"]:
            place = control["start"]
            if "classes" not in control:
                place = self.rng.uniform(control["low"], control["high"])
                place = 10**place if control["log"] else place
            places[control["name"]] = place
        return places

    def ask(self, what: str, galaxies: int, steps: int, seed: int = 1) -> bytes:
        body = json.dumps({"seeds": list(range(seed, seed + galaxies)), "conditions": self.conditions(), "steps": steps})
        self.connection.request("POST", what, body, {"Content-Type": "application/json"})
        return self.connection.getresponse().read()

    def times(self, what: str, galaxies: int, steps: int, seconds: float) -> np.ndarray:
        """Seconds of each request, after one that is not counted."""
        self.ask(what, galaxies, steps)
        found: list[float] = []
        while sum(found) < seconds or len(found) < FEWEST:
            started = time.perf_counter()
            self.ask(what, galaxies, steps)
            found.append(time.perf_counter() - started)
        return np.array(found)


def rows(page: Page, seconds: float) -> list[str]:
    """The table."""
    default, draft = page.known["steps"], page.known["draft"]
    asked = [("a galaxy", "/draw", 1, steps) for steps in sorted({*STEPS, default, draft})]
    asked += [(f"the grid of {GRID}", "/draw", GRID, steps) for steps in sorted({draft, default})]
    asked += [("measuring a galaxy", "/measure", 1, default), ("a refused request", "/draw", 0, 1)]
    text = ["| | steps | frames a second | milliseconds |", "|---|---|---|---|"]
    for name, what, galaxies, steps in asked:
        found = page.times(what, galaxies, steps, seconds)
        remarks = [word for word, number in (("default", default), ("dragging", draft)) if number == steps and galaxies]
        median, late = np.quantile(1000 * found, (0.5, 0.95))
        remark = f" ({', '.join(remarks)})" if remarks else ""
        text.append(f"| {name} | {f'{steps}{remark}' if galaxies else ''} | {1000 / median:.1f} | {median:.1f} ({late:.1f}) |")
        print(text[-1], file=sys.stderr)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each row")
    parser.add_argument("--device", help="cpu, cuda, ...: a GPU where there is one")
    given = parser.parse_args()
    find_model(given.model)  # says so, if there is none
    command = [sys.executable, "-m", "hubbleflow", "explore", str(given.model), "--port", "0", "--no-browser"]
    command += ["--device", given.device] if given.device else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            page = Page(url)
            table = rows(page, given.seconds)
        finally:
            server.send_signal(signal.SIGINT)
    print(f"{page.known['title']}, {page.known['about']}; {os.cpu_count()} cores.\n")
    print("\n".join(table))


if __name__ == "__main__":
    in_words(main)
