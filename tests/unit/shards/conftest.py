from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from mggtalk.shards import SampleRow, write_index, write_shards, write_staged_clip
from tests.support.shard_samples import MadeClip

WriteDataset = Callable[..., tuple[SampleRow, ...]]


@pytest.fixture
def write_dataset(tmp_path: Path) -> WriteDataset:
    """Stage, assemble and index clips under a root."""

    def write(root: Path, clips: Iterable[MadeClip], target_bytes: int = 10**9) -> tuple[SampleRow, ...]:
        staged = [
            write_staged_clip(tmp_path / "staging" / f"{clip.meta.clip_id}.tar", clip.samples()) for clip in clips
        ]
        rows = write_shards(root, staged, target_bytes=target_bytes)
        write_index(root, rows)
        return rows

    return write
