"""Inputs of `ingest` as a recipe names them, before their files are read."""

import math
import os
from dataclasses import dataclass

from mggtalk.records import Split

UNKNOWN_IDENTITY = "video:"
"""With a part of its hash, the identity of a video without a label."""
LONGEST_S = 1e7
"""No video lasts four months: later times are mistakes."""


@dataclass(frozen=True, slots=True)
class IngestItem:
    """One input that a recipe names: a file, or an interval of it, or a face in it.

    Attributes:
        path: of the file. name: for people, unique in the recipe.
        identity: of the person; empty where the recipe does not say. license: SPDX name, or `unknown`.
        split: as the recipe states it; None lets the identity decide.
        start_s, end_s: the interval; the whole file is 0 and infinity.
        box: left, top, right, bottom of the main face; empty where the recipe does not say.
        box_frame: width and height of the frame that `box` is measured in: (1, 1) for fractions, empty for the video's
            own pixels; a width of 0 says that the height alone is known, and that pixels are square.
        url: where the file is fetched from if it is not at `path`; empty for a file that has to be there.
        sha256: that the file must have; empty if it is not known. max_bytes: that a download may have.
    """

    path: str
    name: str
    identity: str = ""
    license: str = "unknown"
    split: Split | None = None
    start_s: float = 0.0
    end_s: float = math.inf
    box: tuple[float, ...] = ()
    box_frame: tuple[float, ...] = ()
    url: str = ""
    sha256: str = ""
    max_bytes: int = 0

    @property
    def is_interval(self) -> bool:
        """The item is a part of its file."""
        return self.start_s > 0 or self.end_s < math.inf


def interval_name(name: str, start_s: float, end_s: float) -> str:
    """Return the name of a part of a file, such as `talk.mp4@2.000-3.500`; of the whole file, its own name."""
    if start_s == 0 and end_s == math.inf:
        return name
    return f"{name}@{start_s:.3f}-{'end' if end_s == math.inf else f'{end_s:.3f}'}"


def printable(name: str) -> str:
    r"""Return a file name as text for tables and messages: bytes that are no UTF-8 become `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
