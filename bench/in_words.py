"""What a benchmark cannot do is one sentence and exit code 2, as with every command."""

from __future__ import annotations

import sys
from collections.abc import Callable

from hubbleflow.errors import InputError


def in_words(main: Callable[[], object]) -> None:
    """Run it."""
    try:
        main()
    except InputError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
