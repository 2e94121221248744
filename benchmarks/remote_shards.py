"""Times reading remote shards: `python -m benchmarks.remote_shards SHARDS`.

First, the time from a cold start to the first frame with 10,000 shards in the index: the samples of one clip of SHARDS
repeated under other names. Most offsets are random, because a repetition would compress to nothing. Second, the cost of
pages of several sizes: pairs of frames of SHARDS, undecoded, in random order, from a server on the loopback interface
with delayed answers.
"""

import argparse
import dataclasses
import hashlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.range_server import serving
from mggtalk.shards import CacheLimits, Shards, write_index
from mggtalk.shards.index import SampleRow, iterate_rows, read_index
from mggtalk.shards.storage.page_cache import PageCache
from mggtalk.shards.storage.remote import RemoteStorage
from mggtalk.training.data.pairs import PairSampler

PAGES_KIB = (0, 128, 256, 512, 1024, 2048, 1 << 20)


def many_shards(source: Path, root: Path, num_shards: int) -> list[str]:
    """Write an index of `num_shards` shards, all links to one, and return the clips that can be read."""
    table = read_index(source)
    rows = [row for row in iterate_rows(table) if row.clip_id == table["clip_id"][0].as_py()]
    (root / "train").mkdir(parents=True)
    copies, readable = [], []
    random = np.random.default_rng(0)
    for number in range(num_shards):
        clip_id = f"{hashlib.sha256(str(number).encode()).hexdigest()[:16]}-f000000"
        shard = f"train/{clip_id[:16]}.tar"
        (root / shard).symlink_to((source / rows[0].shard).resolve())
        if number % 100 == 0:
            readable.append(clip_id)
        for row in rows:
            key = f"{clip_id}-{row.key.rpartition('-')[2]}"
            copy = dataclasses.replace(row, key=key, clip_id=clip_id, video_id=clip_id[:16], shard=shard)
            copies.append(copy if number % 100 == 0 else randomised(copy, random))
    write_index(root, copies)
    return readable


def randomised(row: SampleRow, random: np.random.Generator) -> SampleRow:
    """Return the row with random sizes and hashes."""
    sizes = (np.array(row.member_sizes) * random.uniform(0.8, 1.25, len(row.member_sizes))).astype(int)
    offsets = row.offset + np.cumsum(512 + -(-sizes // 512) * 512)
    return dataclasses.replace(
        row,
        sha256=random.bytes(32).hex(),
        member_sizes=tuple(sizes.tolist()),
        member_offsets=tuple(offsets.tolist()),
        member_crc32=tuple(random.integers(0, 2**32, len(sizes)).tolist()),
    )


def first_frame(root: Path | str, clip_ids: Sequence[str]) -> None:
    """Print the time to open the shards and to read a frame, without any cache."""
    opened, framed = [], []
    for clip_id in clip_ids:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            shards = Shards(root, cache=CacheLimits(Path(folder)))
            opened.append(time.perf_counter() - begun)
            shards.head_frame(clip_id, 0)
            framed.append(time.perf_counter() - begun)
    print(f"  open {statistics.median(opened):.2f} s, first frame after {statistics.median(framed):.2f} s ({root})")


def read_pairs(root: Path, page_kib: int, delay_s: float, num_pairs: int) -> None:
    """Print the time, requests and bytes for the members of random pairs."""
    shards = Shards(root)
    sampler = PairSampler(shards.clips(), seed=0)
    index = {row.key: row for row in iterate_rows(read_index(root))}
    line = []
    with serving(root, delay_s) as server, tempfile.TemporaryDirectory() as folder:
        storage = RemoteStorage(server.url, PageCache(Path(folder), 1 << 40), page_bytes=max(page_kib << 10, 1))
        begun = time.perf_counter()
        for number in range(num_pairs):
            pair = sampler.pair(number)
            source, target = pair.source_frame, pair.target_frame
            for frame, kinds in ((source, ("rgb.jpg", "head.png", "depth.png", "normal.png")), (target, ("rgb.jpg",))):
                row = index[f"{pair.clip_id}-{frame // 64:04d}"]
                names = ["meta.json", "tracks.npz", *(f"{frame % 64:03d}.{kind}" for kind in kinds)]
                for name in names:
                    storage.read_member(row, row.member_names.index(name))
            if number + 1 in (num_pairs // 16, num_pairs):
                seconds = time.perf_counter() - begun
                line.append(f"{number + 1} pairs: {seconds:.1f} s, {server.requests}, {server.sent_bytes / 1e6:.0f} MB")
    print(f"  {page_kib:7d} KiB  " + "   ".join(line))


def main() -> None:
    """Print both measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--num-shards", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=800)
    parser.add_argument("--delay-ms", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip_ids = many_shards(args.shards, Path(folder), args.num_shards)[: args.repeats]
        rows = len(read_index(Path(folder)))
        print(
            f"{args.num_shards} shards, {rows} samples, {(Path(folder) / 'index.parquet').stat().st_size / 1e6:.0f} MB"
        )
        first_frame(Path(folder), clip_ids)
        for delay_ms in (0.0, args.delay_ms):
            with serving(Path(folder), delay_ms / 1e3) as server:
                first_frame(server.url, clip_ids)
                print(f"    {delay_ms} ms an answer, {server.sent_bytes / args.repeats / 1e6:.1f} MB")
    print(f"pages, {args.delay_ms} ms an answer: seconds, requests, bytes")
    for page_kib in PAGES_KIB:
        read_pairs(args.shards, page_kib, args.delay_ms / 1e3, args.pairs)


if __name__ == "__main__":
    main()
