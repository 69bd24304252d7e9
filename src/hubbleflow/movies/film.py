"""Frames into a file: GIF by Pillow, MP4 by the program ffmpeg.

ffmpeg is taken from the path, or from the package imageio-ffmpeg where that is installed; it reads raw pictures from a pipe, so that no
frame is written twice and memory holds one. MP4 is H.264 in 4:2:0, which every player and browser shows, and needs even numbers of pixels:
an odd picture gets a white row or column more. A GIF has one palette of 256 colours, from frames over the whole length, so that its
colours do not flicker, and times in hundredths of a second.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path

if TYPE_CHECKING:
    from jaxtyping import UInt8

    Picture = UInt8[np.ndarray, "height width 3"]

SUFFIXES = (".mp4", ".gif", ".fits")
QUALITY = "18"  # of x264: the noise of a sky is still noise
PALETTE_FRAMES = 6


def check_movie_path(path: str | os.PathLike[str]) -> str:
    """The path's suffix, if a movie can be written there.

    Raises:
        InputError: another suffix, or no ffmpeg for an MP4.

    Example:
        >>> check_movie_path("galaxies.GIF")
        '.gif'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} must end in .mp4, .gif or .fits (a cube), got {suffix or 'no ending'}")
    if suffix == ".mp4":
        ffmpeg()
    return suffix


def ffmpeg() -> str:
    """The program.

    Raises:
        InputError: there is none.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    raise InputError(
        "an MP4 is written by ffmpeg, which is not on the path: install it, or 'pip install imageio-ffmpeg', or name the movie .gif"
    )


def write_film(frames: Iterable[Picture], path: str | os.PathLike[str], fps: float) -> int:
    """Write pictures of one size as a movie and return how many; the file appears when it is whole.

    Args:
        frames: 8-bit RGB, first row at the top.
        path: ends in .gif or .mp4.
        fps: frames a second, 1 to 100.

    Raises:
        InputError: no frames, another suffix, a speed that players do not know, no ffmpeg, or the file cannot be written.

    Example:
        >>> folder = tempfile.mkdtemp()
        >>> write_film((np.full((8, 8, 3), 20 * k, np.uint8) for k in range(5)), f"{folder}/film.gif", 10)
        5
    """
    if not 1 <= fps <= 100:
        raise InputError(f"a movie runs at 1 to 100 frames a second, got {fps:g}")
    suffix = check_movie_path(path)
    if suffix == ".fits":
        raise InputError(f"{path} would be a cube of numbers and not a movie of pictures: name it .gif or .mp4")
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise InputError(f"a movie needs frames, and there are none for {path}")
    with atomic_path(path) as temporary:
        return (_gif if suffix == ".gif" else _mp4)(chain([first], pictures), temporary, fps, first.shape[:2])


def _gif(frames: Iterator[Picture], path: Path, fps: float, shape: tuple[int, ...]) -> int:
    from PIL import Image

    # Frames wait on disk, because the palette is of all of them.
    with tempfile.TemporaryFile() as waiting:
        count = 0
        for picture in frames:
            waiting.write(np.ascontiguousarray(picture).tobytes())
            count += 1

        def at(number: int) -> Image.Image:
            waiting.seek(number * 3 * shape[0] * shape[1])
            return Image.frombytes("RGB", (shape[1], shape[0]), waiting.read(3 * shape[0] * shape[1]))

        some = np.unique(np.linspace(0, count - 1, min(count, PALETTE_FRAMES)).astype(int))
        collage = Image.fromarray(np.concatenate([np.asarray(at(int(number))) for number in some]))
        # An octree keeps the few pixels of a plot's line in their colour; a median cut gives all 256 to the noise of the sky.
        palette = collage.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        quantized = (at(number).quantize(palette=palette, dither=Image.Dither.NONE) for number in range(count))
        next(quantized).save(
            path, format="GIF", save_all=True, append_images=quantized, duration=10 * max(2, round(100 / fps)), loop=0, optimize=False
        )
    return count


def _mp4(frames: Iterator[Picture], path: Path, fps: float, shape: tuple[int, ...]) -> int:
    height, width = (side + side % 2 for side in shape)
    command = [
        *(ffmpeg(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}"),
        *("-i", "-", "-an", "-c:v", "libx264", "-crf", QUALITY, "-pix_fmt", "yuv420p", "-movflags", "+faststart"),
        *("-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", str(path)),  # the same bytes again
    ]
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as process:
        count = 0
        assert process.stdin is not None
        try:
            for picture in frames:
                canvas = np.full((height, width, 3), 255, np.uint8)
                canvas[: shape[0], : shape[1]] = picture
                process.stdin.write(canvas.tobytes())
                count += 1
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has said why
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise InputError(f"ffmpeg could not write the movie ({words[-1]}): name it .gif, or install an ffmpeg with libx264")
    return count
