"""A folder of broken, odd and hostile files, made from a real video: the same files for the same seed.

Most are damaged at random. The others are made by hand: boxes of an MP4 that state the absurd, and all that makes
FFmpeg open *other* files, which point at canaries outside the folder.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

NUM_FRAMES = 12
# Name of a kind of video -> its video codec. The suffix is the name's last part.
KINDS = {
    "h264.mp4": "libx264",
    "hevc.mov": "libx265",
    "mpeg4.mp4": "mpeg4",
    "h264.mkv": "libx264",
    "vp9.webm": "libvpx-vp9",
    "mpeg4.avi": "mpeg4",
    "mjpeg.avi": "mjpeg",
    "mpeg2.mpg": "mpeg2video",
    "h264.ts": "libx264",
    "h264.flv": "libx264",
}
_AUDIO = {"mp4": "aac", "mov": "aac", "mkv": "flac", "ts": "mp2", "mpg": "mp2"}
_OPTIONS = {"libx265": {"x265-params": "log-level=none:pools=1"}, "libx264": {"bf": "2"}}
_MOST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was made.

    Attributes:
        folder: the input. names: of all files in it, as bytes, links and pipes included.
        canaries: a folder beside the input that nothing may open a file of.
    """

    folder: Path
    names: frozenset[str]
    canaries: Path


def make_corpus(root: Path, sample: Path, num_files: int = 400, seed: int = 0, port: int = 9) -> Corpus:
    """Make `num_files` files below `root / "input"`, and below `root / "canaries"` what some of them point at.

    Args:
        sample: a video with a face. port: of this machine, where whoever fetches a URL from the files would knock.
    """
    folder, canaries = root / "input", root / "canaries"
    folder.mkdir(parents=True)
    canaries.mkdir()
    videos = encode_all(sample, root / "videos")
    _write_canaries(canaries, videos)
    contents = {
        **videos,
        **{f"box-{name}.mp4": content for name, content in absurd_boxes(videos["h264.mp4"], videos["mpeg4.mp4"])},
        **dict(pointers(canaries, port, videos["h264.mp4"])),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    _write_odd_names(folder, videos["h264.mp4"])
    damaged = damaged_files(videos, np.random.default_rng(seed))
    for name, content in islice(damaged, num_files - len(_files(folder))):
        (folder / name).write_bytes(content)
    return Corpus(folder, _files(folder), canaries)


def _files(folder: Path) -> frozenset[str]:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return frozenset(path.relative_to(folder).as_posix() for path in paths)


def encode_all(sample: Path, folder: Path) -> dict[str, bytes]:
    """Return the first frames of `sample` at 320x180 in every kind of `KINDS`."""
    folder.mkdir()
    with av.open(str(sample)) as source:
        frames = [frame for frame, _ in zip(source.decode(video=0), range(NUM_FRAMES), strict=False)]
        images = [frame.reformat(320, 180, "rgb24").to_ndarray() for frame in frames]
    return {name: _encode(folder / name, codec, images).read_bytes() for name, codec in KINDS.items()}


def _encode(path: Path, codec: str, images: Sequence[np.ndarray]) -> Path:
    with av.open(str(path), "w") as target:
        stream = cast(VideoStream, target.add_stream(codec, rate=25, options=_OPTIONS.get(codec, {})))
        stream.width, stream.height = images[0].shape[1], images[0].shape[0]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(1)  # so that there is a box to damage
        stream.codec_context.thread_count, stream.codec_context.gop_size = 1, 6
        audio_codec = _AUDIO.get(path.suffix[1:])
        sound = cast(AudioStream, target.add_stream(audio_codec, rate=48_000, layout="mono")) if audio_codec else None
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
        if sound is not None:
            samples = (8000 * np.sin(np.arange(24_000) / 17)).astype(np.int16)[None]
            piece = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 48_000, 0, Fraction(1, 48_000)
            target.mux(sound.encode(piece))
            target.mux(sound.encode(None))
    return path


# Random damage.


def damaged_files(videos: Mapping[str, bytes], rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents for ever; every kind of damage comes to every kind of video."""
    names, number = list(videos), 0
    while True:
        for damage in DAMAGES:
            source = names[number % len(names)]
            other = names[(number + int(rng.integers(1, len(names)))) % len(names)]
            suffix = source.rsplit(".", 1)[1]
            if damage is _renamed:
                suffix = other.rsplit(".", 1)[1]
            content = damage(videos[source], videos[other], rng)
            yield f"{number:03d}-{damage.__name__[1:]}-{source.split('.')[0]}.{suffix}", content
            number += 1


Damage = Callable[[bytes, bytes, np.random.Generator], bytes]


def _truncated(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(len(content) * rng.uniform(0.0, 1.0) ** 2)]


def _beheaded(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return content[int(rng.integers(1, len(content) // 2)) :]


def _flipped(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return _flip(content, rng.integers(0, len(content), int(rng.integers(1, 60))), rng)


def _flipped_head(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return _flip(content, rng.integers(0, min(1200, len(content)), int(rng.integers(1, 20))), rng)


def _flipped_tail(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """MP4 and MOV have their tables there."""
    return _flip(content, len(content) - rng.integers(1, min(2000, len(content)), int(rng.integers(1, 20))), rng)


def _spliced(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(8, 2000))
    return other[:place] + content[place:]


def _noisy(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    start, size = int(rng.integers(0, len(content))), int(rng.integers(16, len(content) // 3))
    return content[:start] + rng.bytes(min(size, len(content) - start)) + content[start + size :]


def _zeroed(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    start, size = int(rng.integers(0, len(content))), int(rng.integers(16, len(content) // 2))
    return content[:start] + bytes(min(size, len(content) - start)) + content[start + size :]


def _stretched(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A piece is there twice: all that follows it has moved."""
    start, stop = sorted(rng.integers(0, len(content), 2))
    return content[:stop] + content[start:]


def _joined(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return content + other


def _renamed(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(2)  # else it would be a copy


DAMAGES: tuple[Damage, ...] = (
    _truncated,
    _flipped,
    _flipped_head,
    _flipped_tail,
    _spliced,
    _noisy,
    _zeroed,
    _beheaded,
    _stretched,
    _joined,
    _renamed,
)


def _flip(content: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for place in places:
        damaged[int(place)] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


# Boxes that state the absurd.


def patched(content: bytes, box: bytes, offset: int, value: bytes, nth: int = 0) -> bytes:
    """Return an MP4 with `value` at `offset` from the end of the name of its `nth` box called `box`."""
    place = -1
    for _ in range(nth + 1):
        place = content.index(box, place + 1)
    start = place + len(box) + offset
    return content[:start] + value + content[start + len(value) :]


def absurd_boxes(mp4: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of MP4 files with the values of single boxes changed; offsets as in ISO/IEC 14496-12."""
    most, one = struct.pack(">I", _MOST), struct.pack(">I", 1)
    zero = bytes(4)
    large = struct.pack(">HH", 30_000, 30_000)
    yield from _absurd_tables(mp4)
    yield from _absurd_structure(mp4, other)
    yield "size-in-stsd", patched(mp4, b"avc1", 24, large)
    yield "largest-size-in-stsd", patched(mp4, b"avc1", 24, most)
    yield "no-size-in-stsd", patched(mp4, b"avc1", 24, zero)
    yield "size-in-tkhd", patched(mp4, b"tkhd", 76, struct.pack(">II", 30_000 << 16, 30_000 << 16))
    yield "another-codec", mp4.replace(b"avc1", b"hvc1")
    yield "unknown-codec", mp4.replace(b"avc1", b"zzzz")
    yield "mpeg4-as-h264", other.replace(b"mp4v", b"avc1")
    yield "duration-in-mvhd", patched(mp4, b"mvhd", 16, most)
    yield "no-timescale-in-mvhd", patched(mp4, b"mvhd", 12, zero)
    yield "no-timescale-in-mdhd", patched(mp4, b"mdhd", 12, zero)
    yield "largest-timescale-in-mdhd", patched(mp4, b"mdhd", 12, most)
    yield "timescale-of-one-in-mdhd", patched(mp4, b"mdhd", 12, one)
    yield "negative-edit", patched(mp4, b"elst", 12, struct.pack(">i", -5_000_000))
    yield "edit-beyond-the-end", patched(mp4, b"elst", 12, struct.pack(">i", 0x7FFFFFFF))
    yield "huge-edit", patched(mp4, b"elst", 8, most)
    yield "empty-edit", patched(mp4, b"elst", 8, struct.pack(">Ii", _MOST, -1))
    yield "edit-without-rate", patched(mp4, b"elst", 16, zero)
    yield "many-edits", patched(mp4, b"elst", 4, most)
    for degrees, matrix in (("45", (0xB504, 0xB504, -0xB504, 0xB504)), ("90", (0, 1 << 16, -(1 << 16), 0))):
        a, b, c, d = matrix
        yield f"turned-{degrees}", patched(mp4, b"tkhd", 40, struct.pack(">iiiiii", a, b, 0, c, d, 0))
    yield "singular-matrix", patched(mp4, b"tkhd", 40, bytes(36))
    yield "stretched-pixels", mp4.replace(b"pasp" + struct.pack(">II", 1, 1), b"pasp" + struct.pack(">II", _MOST, 1))


def _absurd_tables(mp4: bytes) -> Iterator[tuple[str, bytes]]:
    most, zero = struct.pack(">I", _MOST), bytes(4)
    yield "many-samples-in-stts", patched(mp4, b"stts", 8, most)
    yield "zero-frame-rate", patched(mp4, b"stts", 12, zero)
    yield "years-a-frame", patched(mp4, b"stts", 12, struct.pack(">I", 0x7FFFFFFF))
    yield "frames-backwards", patched(mp4, b"stts", 12, most)
    yield "many-entries-in-stts", patched(mp4, b"stts", 4, most)
    yield "many-samples-in-stsz", patched(mp4, b"stsz", 8, most)
    yield "one-huge-size-in-stsz", patched(mp4, b"stsz", 4, struct.pack(">II", 0x7FFFFFFF, 5))
    yield "many-samples-of-one-byte", patched(mp4, b"stsz", 4, struct.pack(">II", 1, _MOST))
    yield "no-samples", patched(mp4, b"stsz", 8, zero)
    yield "huge-sample", patched(mp4, b"stsz", 12, most)
    yield "chunks-beyond-the-end", patched(mp4, b"stco", 8, most)
    yield "chunk-at-the-start", patched(mp4, b"stco", 8, zero)
    yield "many-chunks", patched(mp4, b"stco", 4, most)
    yield "many-samples-a-chunk", patched(mp4, b"stsc", 12, most)
    yield "offsets-in-ctts", patched(mp4, b"ctts", 12, struct.pack(">i", -(1 << 30)))


def _absurd_structure(mp4: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    most, zero = struct.pack(">I", _MOST), bytes(4)
    yield "box-of-size-zero", patched(mp4, b"trak", -8, zero)
    yield "box-without-end", patched(mp4, b"trak", -8, most)
    yield "box-of-64-bits", patched(mp4, b"mdat", -8, struct.pack(">I4sQ", 1, b"mdat", 1 << 62))
    yield "nested", b"".join(struct.pack(">I4s", 8 * depth, b"moov") for depth in range(4000, 0, -1))
    start, end = mp4.index(b"mdat") - 4, mp4.index(b"moov") - 4
    yield "mdat-alone", mp4[start:end]
    yield "moov-alone", mp4[:start] + mp4[end:]
    yield "moov-of-another", mp4[:end] + other[other.index(b"moov") - 4 :]
    yield "moov-twice", mp4 + mp4[end:]
    yield "brand-alone", mp4[:start]


# What points elsewhere.


def pointers(canaries: Path, port: int, mp4: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files from which FFmpeg, or a player, would go on to the canaries or the port."""
    target, relative, url = canaries / "canary.ts", "../canaries/canary.ts", f"http://127.0.0.1:{port}/canary.ts"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n{key}#EXTINF:1,\n{uri}\n#EXT-X-ENDLIST\n"
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="file://{canaries}/canary.key"\n'
    master = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{canaries}/canary.m3u8\n"
    for kind, place in (("absolute", str(target)), ("relative", relative), ("file", f"file://{target}"), ("url", url)):
        yield f"hls-{kind}.m3u8", hls.format(key="", uri=place).encode()
        yield f"hls-{kind}.mp4", hls.format(key="", uri=place).encode()
        yield f"concat-{kind}.ffconcat", f"ffconcat version 1.0\nfile '{place}'\n".encode()
        yield f"concat-{kind}.mkv", f"ffconcat version 1.0\nfile '{place}'\n".encode()
        yield f"dref-{kind}.mov", with_data_reference(mp4, f"file://{place}" if kind == "absolute" else place)
    yield "alias-absolute.mov", with_alias(mp4, target, levels=0)
    yield "alias-relative.mov", with_alias(mp4, target, levels=2)
    yield "hls-crypto.ts", hls.format(key=key, uri=f"crypto:{target}").encode()
    yield "hls-concat-protocol.m3u8", hls.format(key="", uri=f"concat:{target}|{target}").encode()
    yield "hls-master.avi", master.encode()
    yield "hls-in-front.mp4", hls.format(key="", uri=target).encode() + mp4
    yield "presentation.mpd", _DASH.format(uri=f"file://{target}").encode()
    yield "presentation.mp4", _DASH.format(uri=f"file://{target}").encode()
    yield "session.sdp", f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n".encode()
    yield "list.pls", f"[playlist]\nFile1={target}\nNumberOfEntries=1\n".encode()
    yield "list.asx", f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>'.encode()
    yield "redirect.mov", f"RTSPtextRTSP://127.0.0.1:{port}/canary".encode()
    yield "image%03d.png", _PNG
    yield "image-*.jpg", _PNG
    yield "subtitles.srt", b"1\n00:00:00,000 --> 00:00:01,000\nwords\n"
    yield (
        "subtitles.idx",
        f"# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 0\n{target}".encode(),
    )
    yield "script.avs", f'AviSource("{target}")\n'.encode()
    yield "filters.txt", f"movie={target}".encode()


_DASH = """<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
mediaPresentationDuration="PT1S" minBufferTime="PT1S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period>
<AdaptationSet mimeType="video/mp2t">
<Representation id="1" bandwidth="1"><BaseURL>{uri}</BaseURL></Representation></AdaptationSet></Period></MPD>"""
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


def with_data_reference(mp4: bytes, place: str) -> bytes:
    """Return an MP4 whose pictures lie in another file, as its `dref` says: `url ` without the flag "in this file"."""
    text = place.encode() + b"\0"
    return _with_reference(mp4, struct.pack(">I4sI", 12 + len(text), b"url ", 0) + text)


def with_alias(mp4: bytes, target: Path, levels: int) -> bytes:
    """Return an MP4 whose pictures lie in another file, as a QuickTime alias: the kind that FFmpeg can follow.

    Args:
        levels: up to a folder that both files share, and down again; 0 for the absolute path alone.
    """
    name, path = target.name.encode()[:63], str(target).encode()
    record = bytes(4) + struct.pack(">HHH", 200, 2, 0)  # user type; size, version, kind
    record += b"\x06canary".ljust(28, b"\0") + bytes(12)  # volume
    record += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)  # file, and ids and dates
    record += struct.pack(">HH", levels, levels) + bytes(16)
    record += struct.pack(">hh", 2, len(path)) + path + b"\0" * (len(path) % 2)
    record += struct.pack(">hh", -1, 0)
    return _with_reference(mp4, struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record)


def _with_reference(mp4: bytes, entry: bytes) -> bytes:
    """Put `entry` in place of the first track's only data reference; the boxes around it grow."""
    start = mp4.index(b"dref") - 4
    (size,) = struct.unpack(">I", mp4[start : start + 4])
    growth = 16 + len(entry) - size
    content = bytearray(
        mp4[:start] + struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry + mp4[start + size :]
    )
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        place = content.index(box) - 4
        (old,) = struct.unpack(">I", content[place : place + 4])
        content[place : place + 4] = struct.pack(">I", old + growth)
    return bytes(content)


def _write_canaries(folder: Path, videos: Mapping[str, bytes]) -> None:
    (folder / "canary.ts").write_bytes(videos["h264.ts"])
    (folder / "canary.key").write_bytes(bytes(16))
    (folder / "canary.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{folder}/canary.ts\n#EXT-X-ENDLIST\n")


def _write_odd_names(folder: Path, mp4: bytes) -> None:
    """Names that break tables and command lines, and what is in folders besides files."""
    for number, name in enumerate(
        ("a\nb.mp4", "a\tb.mp4", "-i.mp4", "concat:a|b.mp4", "%d %s {0}.mp4", "ü" * 125 + ".mp4")
    ):
        (folder / name).write_bytes(mp4 + bytes(number + 1))  # each its own content, for copies are no news
    (folder / ("n" * 251 + ".mp4")).write_bytes(mp4 + b"n")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.mp4")).write_bytes(mp4 + b"bytes")
    (folder / "folder.mp4").mkdir()
    (folder / "folder.mp4" / "inside.mp4").write_bytes(mp4 + b"inside")
    (folder / "folder.mp4" / "circle").symlink_to("..")
    (folder / "empty.mp4").touch()
    (folder / "one-byte.mp4").write_bytes(b"\0")
    (folder / "twin.mp4").write_bytes(mp4)
    (folder / "circle.mp4").symlink_to("circle.mp4")
    (folder / "nowhere.mp4").symlink_to("gone.mp4")
    os.mkfifo(folder / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        current = Path.cwd()
        os.chdir(folder)  # the address of a socket has 107 bytes at most
        try:
            listener.bind("socket.mp4")
        finally:
            os.chdir(current)
