"""Files that are either whole or not there: write to a temporary name, then rename.

A rename within one folder is atomic on every file system we meet, so a full disk, a read-only folder or Ctrl-C in the middle of a write
leaves the old file as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hubbleflow.errors import InputError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    The temporary name keeps the suffix (astropy and h5py choose formats by it). Missing parent folders are made.

    Raises:
        InputError: at once, before the work is done: `path` is a folder, or its folder cannot be made or written; afterwards: the disk is
            full; a file that was at `path` before is untouched.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with atomic_path(f"{folder}/note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> Path(folder, "note.txt").read_text()
        'whole'
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; give the name of a file")
    make_folder(path.parent, path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise InputError(f"cannot write {path}: {_reason(error)}; what was there before is untouched") from error
    except BaseException:
        _remove(temporary)
        raise


def make_folder(folder: Path, what: Path | None = None) -> None:
    """Make a folder (and its parents) that files can be written into, or say why `what` (the folder itself) cannot be written.

    Raises:
        InputError: something else is in the way, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"cannot write {what or folder}: {folder} is a file, expected a folder") from error
    except OSError as error:
        raise InputError(f"cannot write {what or folder}: {_reason(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {what or folder}: the folder {folder} may not be written; choose another or change its permissions")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # it may never have come to be
            path.unlink()


def _reason(error: OSError) -> str:
    # h5py raises OSErrors whose errno is lost in a long HDF5 message: the first line is the useful one.
    return error.strerror or str(error).splitlines()[0]


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is written as null: JSON has no NaN and browsers refuse it."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(without_nan(value), indent=2) + "\n")


def without_nan(value: Any) -> Any:
    """`value` with every non-finite float replaced by None and numpy scalars and arrays by plain Python ones."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def content_hash(*parts: bytes | str) -> str:
    """SHA-256 over the parts, each preceded by its length so that no two lists of parts collide.

    Example:
        >>> content_hash("a", "b") == content_hash("ab")
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
