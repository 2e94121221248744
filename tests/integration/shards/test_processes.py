"""Readers and their cache in several processes at a time."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from mggtalk.shards import Shards
from mggtalk.shards.storage.page_cache import PageCache
from tests.support.shard_samples import make_clip


@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # of Python 3.12, where threads run; loaders fork all the same
def test_reader_with_open_files_survives_a_fork(tmp_path, write_dataset):
    clip = make_clip("00000000000000aa-f000000", num_frames=20, seed=1)
    write_dataset(tmp_path / "shards", [clip])
    shards = Shards(tmp_path / "shards")

    def read_mean(shards: Shards, frame: int) -> float:
        return float(shards.image(clip.meta.clip_id, frame).mean())

    expected = [read_mean(shards, frame) for frame in range(20)]
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put([read_mean(shards, frame) for frame in range(20)]))
    child.start()
    # The parent reads from the same descriptors at the same time.
    assert [read_mean(shards, frame) for frame in range(20)] == expected
    assert queue.get() == expected
    child.join()


def fill(folder: Path, seed: int) -> None:
    cache, random = PageCache(folder, 100_000), np.random.default_rng(seed)
    for number in random.integers(0, 300, 150):
        key = f"{number:02x}-{number}"
        content = cache.read(key, 0, 1000)
        assert content in (None, bytes([number % 256]) * 1000)
        cache.write(key, bytes([number % 256]) * 1000)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_several_processes_share_a_folder_within_the_limit(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=fill, args=(tmp_path, seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        assert _size_now(tmp_path) <= 100_000
        time.sleep(0.02)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert 50_000 < _size_now(tmp_path) <= 100_000
    assert not list(tmp_path.glob("*/*.partial"))


def _size_now(folder: Path) -> int:
    """Return the size of what is there, while others add and remove."""
    total = 0
    for path in folder.glob("*/*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
