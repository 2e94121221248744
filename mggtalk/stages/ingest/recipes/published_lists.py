"""Reads talking-head lists as their authors publish them: each names clips of videos that are had elsewhere.

    hdtf       a folder of *_annotion_time.txt, *_crop_wh.txt and *_resolution.txt
    vfhq       a folder of one Clip+VIDEO+P0+C0+F10-20.txt per clip, at any depth
    celebvhq   one JSON file

What does not have the layout is an error. A clip that makes no sense, whose end lies before its start say, is passed
on: `ingest` rejects it, and the rest of the list can be used.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mggtalk.errors import RecipeError
from mggtalk.stages.ingest.recipes.csv_tables import clock_seconds
from mggtalk.stages.ingest.recipes.face_boxes import ordered_box

_LARGEST = 1e300
"""JSON knows whole numbers of any size, and NaN."""


@dataclass(frozen=True, slots=True)
class ListedClip:
    """One clip of a list.

    Attributes:
        name: as the list calls it, unique. video: name of its video, without suffix.
        identity: of the person, as far as the list says; empty where it does not.
        box, box_frame: as in `IngestItem`.
    """

    name: str
    video: str
    start_s: float
    end_s: float
    identity: str = ""
    box: tuple[float, ...] = ()
    box_frame: tuple[float, ...] = ()


def read_hdtf(folder: Path) -> Iterator[ListedClip]:
    """Yield the clips of HDTF; its folder is called `HDTF_dataset`.

    Boxes are x, width, y, height in pixels of a frame with the height that *_resolution.txt states; where that is
    missing or 0, the box has no meaning and is left out. People of WDA and WRA are known by the name of the video
    without the number at its end; in RD, every video counts as a person.

    Raises:
        RecipeError: a file is missing, or a line has another layout.
    """
    for times_path in _paths(folder, "*_annotion_time.txt"):
        group = times_path.name.removesuffix("_annotion_time.txt")
        boxes = dict(_lines(folder / f"{group}_crop_wh.txt", optional=True))
        heights = dict(_lines(folder / f"{group}_resolution.txt", optional=True))
        for where, video, times in _named_lines(times_path):
            height = _number(heights.get(video, (where, ["0"])))
            person = video if group == "RD" else video.rstrip("0123456789")
            for number, time in enumerate(times):
                name = f"{video}_{number}"
                ends = [clock_seconds(end) for end in time.split("-")]
                if len(ends) != 2 or ends[0] is None or ends[1] is None:
                    raise RecipeError(f"{where}: got {time!r}; expected an interval such as 00:30-01:00")
                box = _hdtf_box(boxes[name]) if name in boxes and height > 0 else ()
                yield ListedClip(name, video, ends[0], ends[1], person, box, (0.0, height) if box else ())


def read_vfhq(folder: Path) -> Iterator[ListedClip]:
    """Yield the clips of VFHQ; its folder is called `meta_info`.

    A clip's first and last frame are left out, as the authors' script does. The number behind P tells the people of
    one video apart. A window in a frame without a size is left out.

    Raises:
        RecipeError: there are no such files, or one has another layout.
    """
    for path in _paths(folder, "**/Clip+*.txt"):
        match = re.fullmatch(r"Clip\+(.+)\+(P\d+)\+C\d+\+F(\d{1,12})-(\d{1,12})", path.stem)
        if match is None:
            raise RecipeError(f"{path}: expected a name such as Clip+VIDEO+P0+C0+F10-20.txt")
        header = _vfhq_header(path)
        (fps,) = header["FPS"]
        if fps <= 0:
            raise RecipeError(f"{path}: FPS: got {fps:g}; expected frames a second")
        frame = (*header["W"], *header["H"])
        has_frame = min(frame) > 0
        yield ListedClip(
            name=path.stem,
            video=match[1],
            start_s=(int(match[3]) + 1) / fps,
            end_s=int(match[4]) / fps,
            identity=f"{match[1]}+{match[2]}",
            box=header["CROP"] if has_frame else (),
            box_frame=frame if has_frame else (),
        )


def read_celebvhq(path: Path) -> Iterator[ListedClip]:
    """Yield the clips of CelebV-HQ; its file is called `celebvhq_info.json`. It does not say who is who.

    Raises:
        RecipeError: it is no JSON file of this layout; the message names the clip.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as cause:
        raise RecipeError(f"{path}: cannot be read as JSON: {cause}") from cause
    clips = content.get("clips") if isinstance(content, dict) else None
    if not isinstance(clips, dict) or not clips:
        raise RecipeError(f"{path}: clips: missing or empty")
    for name, clip in sorted(clips.items()):
        where = f"{path}: clips.{name}"
        box = [_field(clip, ("bbox", edge), where) for edge in ("top", "bottom", "left", "right")]
        yield ListedClip(
            name=name,
            video=_field(clip, ("ytb_id",), where, str),
            start_s=max(0.0, _field(clip, ("duration", "start_sec"), where)),
            end_s=_field(clip, ("duration", "end_sec"), where),
            box=ordered_box(box, "top,bottom,left,right"),
            box_frame=(1.0, 1.0),
        )


LISTS: Mapping[str, Callable[[Path], Iterator[ListedClip]]] = {
    "hdtf": read_hdtf,
    "vfhq": read_vfhq,
    "celebvhq": read_celebvhq,
}


def _paths(folder: Path, pattern: str) -> list[Path]:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise RecipeError(f"{folder}: no file {pattern}")
    return paths


def _named_lines(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    for name, (where, values) in _lines(path):
        yield where, name, values


def _lines(path: Path, *, optional: bool = False) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Yield for each line of `NAME.mp4 VALUE ...` the name, and the line number with the values."""
    if optional and not path.is_file():
        return
    for number, line in enumerate(_text(path).splitlines(), 1):
        if words := line.split():
            yield words[0].removesuffix(".mp4"), (f"{path}: line {number}", words[1:])


def _number(line: tuple[str, list[str]]) -> float:
    where, values = line
    numbers = _floats(values)
    if len(numbers) != 1:
        raise RecipeError(f"{where}: got {' '.join(values)!r}; expected a number")
    return numbers[0]


def _hdtf_box(line: tuple[str, list[str]]) -> tuple[float, ...]:
    where, values = line
    numbers = _floats(values)
    if len(numbers) != 4:
        raise RecipeError(f"{where}: got {' '.join(values)!r}; expected x, width, y and height")
    return ordered_box(numbers, "x,w,y,h")


def _vfhq_header(path: Path) -> dict[str, tuple[float, ...]]:
    """Return the numbers of the lines H, W, FPS and CROP; thousands of lines with landmarks follow them."""
    counts = {"FPS": 1, "CROP": 4, "H": 1, "W": 1}
    header: dict[str, tuple[float, ...]] = {}
    try:
        with path.open(encoding="utf-8") as content:
            for line in content:
                key = next((key for key in counts if line.startswith(key) and key not in header), None)
                if key:
                    header[key] = _floats(line.replace(",", " ").split()[-counts[key] :])
                if len(header) == len(counts):
                    break
    except (OSError, UnicodeDecodeError) as cause:
        raise RecipeError(f"{path}: cannot be read: {cause}") from cause
    for key, count in counts.items():
        if len(header.get(key, ())) != count:
            raise RecipeError(f"{path}: expected a line {key} with {count} numbers")
    return header


def _field(clip: Any, keys: tuple[str, ...], where: str, kind: type = float) -> Any:
    value = clip
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)
    if kind is str and isinstance(value, str) and value:
        return value
    raise RecipeError(f"{where}.{'.'.join(keys)}: got {value!r}; expected {'a number' if kind is float else 'a name'}")


def _floats(words: list[str]) -> tuple[float, ...]:
    """Return the words as numbers; none at all if one is no number."""
    try:
        numbers = tuple(map(float, words))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise RecipeError(f"{path}: cannot be read: {cause}") from cause
