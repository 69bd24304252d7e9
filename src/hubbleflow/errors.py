"""What a user did wrong, said in one sentence.

Every check on outside input raises :class:`InputError`; the command line prints its sentence on stderr and exits with code 2.
Anything else that is raised is a defect of ours and keeps its traceback.
"""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: one sentence naming what was expected, what came, and what to do about it."""


class Interrupted(Exception):
    """Ctrl-C during a training; a checkpoint has been left, and the sentence says where."""
