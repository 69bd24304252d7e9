"""The stages of a long run: one line each, and none done twice.

A stage has a fingerprint: a hash of what it is made of, its predecessors' fingerprints included. Those of finished stages stand in
`stages.json` beside what they made. A run that was killed, or is started again, skips a stage whose fingerprint stands there; where
anything before it has changed (more minutes, more galaxies drawn), it is done again. What a run began with and cannot go on without (its
seed) stands there too, and another is refused before anything is touched.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hubbleflow.errors import InputError
from hubbleflow.files import content_hash, make_folder, write_json

FILE = "stages.json"


class Stages:
    """The stages of the run in a folder.

    Args:
        folder: where the run lives; made where it is not there.
        total: how many stages there will be, for the lines.
        begun: JSON-able; what must be as it was when the folder's run began.

    Raises:
        InputError: the folder cannot be written, its list of stages is damaged, or it was begun with something else.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for _ in range(2):
        ...     _ = Stages(folder, 1).run("count", "count to three", ["three"], lambda fingerprint: print("counting"))
        counting
    """

    def __init__(self, folder: Path, total: int, begun: Mapping[str, Any] | None = None) -> None:
        make_folder(folder)
        self.folder, self.total, self.number = folder, total, 0
        self.begun: dict[str, Any] = dict(begun or {})
        self.done: dict[str, str] = {}
        path = folder / FILE
        if path.exists():
            try:
                known = json.loads(path.read_text())
                theirs, self.done = known["begun"], known["done"]
            except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
                raise InputError(f"{path} is damaged: remove it, and the stages are done again from what is there") from error
            changed = [name for name, value in self.begun.items() if theirs.get(name) != value]
            if changed:
                was = ", ".join(f"{name} {theirs.get(name)}" for name in changed)
                raise InputError(f"{folder} holds a run that was begun with {was}: choose another folder with --out, or remove it")
        self._write()

    def run(self, name: str, what: str, made_of: list[Any], work: Callable[[str], object], made: Path | None = None) -> str:
        """Do a stage unless it has been done, and return its fingerprint.

        Args:
            name: by which it is remembered.
            what: the line that is shown.
            made_of: JSON-able; all that its result depends on.
            work: does it, and is told the fingerprint.
            made: what it leaves; a stage whose result is gone is done again.
        """
        self.number += 1
        fingerprint = content_hash(name, json.dumps(made_of, sort_keys=True))
        known = self.done.get(name) == fingerprint and (made is None or made.exists())
        print(f"[{self.number}/{self.total}] {what}{': done before' if known else ''}", file=sys.stderr, flush=True)
        if not known:
            self.done.pop(name, None)
            work(fingerprint)
            self.done[name] = fingerprint
            self._write()
        return fingerprint

    def _write(self) -> None:
        write_json(self.folder / FILE, {"begun": self.begun, "done": self.done})
