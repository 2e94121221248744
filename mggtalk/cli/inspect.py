"""`mggtalk inspect`: one image of what the stage `shards` made of a clip."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from mggtalk.errors import MggtalkError, ShardError
from mggtalk.files import atomic_write
from mggtalk.shards.clips import ClipEntry
from mggtalk.shards.reader import Shards

_MOST_SHOWN = 5


def inspect_clip(root: Path | str, wanted: str, *, frame: int | None = None, output: Path | None = None) -> Path:
    """Draw a frame of the clip that `wanted` names, and print and return where the image lies.

    Args:
        root: folder or URL of the shards.
        frame: of the clip; None for the source frame that is turned farthest aside.
        output: None for `CLIP-fNNN.png` in the current folder.

    Raises:
        ShardError: no shards, no such clip or several, no geometry, or damage. MggtalkError: the place to write to is
            not to be had.
    """
    # Torch takes a second to load, which `mggtalk shards ls` does without.
    from mggtalk.visualization.images import encode_png
    from mggtalk.visualization.inspection import draw_inspection, widest_turned

    shards = Shards(root)
    clip = find_clip(shards, wanted)
    _check_frame(clip, frame)
    number = widest_turned(shards, clip.clip_id) if frame is None else frame
    path = Path(f"{clip.clip_id}-f{number:03d}.png") if output is None else output
    try:
        _check_output(path)
        atomic_write(path, encode_png(draw_inspection(shards, clip.clip_id, number)))
    except OSError as cause:
        raise MggtalkError(f"--output: {path}: cannot be written: {cause.strerror}") from None
    print(path)
    return path


def find_clip(shards: Shards, wanted: str) -> ClipEntry:
    """Return the clip whose id is or begins with `wanted`, or whose video is called so in the recipe.

    Raises:
        ShardError: there is none, or there are several.
    """
    clips = {clip.clip_id: clip for clip in shards.clips()}
    if wanted in clips:
        return clips[wanted]
    found = [clip_id for clip_id in clips if clip_id.startswith(wanted)]
    if not found:
        names = {clip_id: shards.meta(clip_id).name for clip_id in clips}
        found = [clip_id for clip_id, name in names.items() if wanted in (name, Path(name).name, Path(name).stem)]
        if not found:
            raise ShardError(f"{shards.root}: no clip {wanted!r} among {len(clips)}{_candidates(wanted, names)}")
    if len(found) > 1:
        raise ShardError(f"{shards.root}: {wanted!r} is ambiguous: {_listed(found)}")
    return clips[found[0]]


def _candidates(wanted: str, names: Mapping[str, str]) -> str:
    """Return what to say of clips that may have been meant; `names` by clip id."""
    known = [f"{clip_id} ({name})" for clip_id, name in names.items()]
    alike = get_close_matches(wanted, [*names, *names.values()], _MOST_SHOWN, cutoff=0.5)
    close = [text for text in known if wanted in text or any(word in text for word in alike)]
    return f"; did you mean {_listed(close)}?" if close else f"; there are {_listed(known) or 'none'}"


def _check_frame(clip: ClipEntry, frame: int | None) -> None:
    if not clip.source_frames:
        raise ShardError(f"{clip.clip_id}: no frame of the clip has geometry")
    if frame is None or frame in clip.source_frames:
        return
    if not 0 <= frame < clip.num_frames:
        raise ShardError(f"--frame: {clip.clip_id} has frames 0 to {clip.num_frames - 1}, got {frame}")
    nearest = sorted(sorted(clip.source_frames, key=lambda source: abs(source - frame))[:2])
    raise ShardError(
        f"--frame: frame {frame} of {clip.clip_id} has no geometry; the nearest that have it: {_listed(nearest)}"
    )


def _check_output(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise MggtalkError(f"--output: got {path}, expected a name that ends in .png")
    if path.is_dir():
        raise MggtalkError(f"--output: {path} is a folder, expected a file")
    if not path.parent.is_dir():
        raise MggtalkError(f"--output: {path.parent}: no such folder")


def _listed(values: Sequence[object]) -> str:
    shown = ", ".join(str(value) for value in values[:_MOST_SHOWN])
    return shown + (f" and {len(values) - _MOST_SHOWN} more" if len(values) > _MOST_SHOWN else "")
