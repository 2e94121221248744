"""Finished clips are found again in the staging or in the shards, by their bytes, whatever was killed in between."""

from pathlib import Path

import pytest

from mggtalk.records import Rejected, RejectReason
from mggtalk.shards import StagedClip, write_index, write_shards
from mggtalk.shards.schema import INDEX_NAME
from mggtalk.stages.shards.clip_cache import ClipCache
from tests.support.shard_samples import make_clip

CLIP_IDS = ("0123456789abcdef-f000000", "fedcba9876543210-f000000")


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return tmp_path / "staging"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def keep(staging: Path, shards: Path, seed: int = 0) -> list[StagedClip]:
    """Finish both clips under the keys `SEED-0` and `SEED-1`."""
    finished = ClipCache(staging, shards)
    samples = [list(make_clip(clip_id, num_frames=70, size=16, seed=seed).samples()) for clip_id in CLIP_IDS]
    stored = [finished.keep(f"{seed}-{number}", clip) for number, clip in enumerate(samples)]
    return [clip for clip in stored if isinstance(clip, StagedClip)]


def assemble(staging: Path, shards: Path, stored: list[StagedClip], keys: list[str]) -> None:
    write_index(shards, write_shards(shards, stored, target_bytes=1))
    ClipCache(staging, shards).forget_all_but(keys)


def sample_hashes(clip: StagedClip | Rejected | None) -> list[str]:
    assert isinstance(clip, StagedClip)
    return [row.sha256 for row in clip.rows]


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_is_not_finished_is_not_found(staging, shards):
    assert ClipCache(staging, shards).find("0-0") is None


def test_a_clip_is_found_in_the_spool_before_the_assembly_and_in_the_shards_after(staging, shards):
    stored = keep(staging, shards)
    found = ClipCache(staging, shards).find("0-1")
    assert found == stored[1]
    assemble(staging, shards, stored, ["0-0", "0-1"])
    assert names_in(staging) == ["0-0.json", "0-1.json"]  # nothing is stored twice
    found = ClipCache(staging, shards).find("0-1")
    assert sample_hashes(found) == sample_hashes(stored[1])
    assert isinstance(found, StagedClip)
    assert found.path == shards / "train" / "all.1.tar"


def test_assembling_again_from_the_shards_themselves_changes_no_byte(staging, shards):
    assemble(staging, shards, keep(staging, shards), ["0-0", "0-1"])
    before = {path: path.read_bytes() for path in shards.rglob("*") if path.is_file()}
    finished = ClipCache(staging, shards)
    again = [clip for key in ("0-0", "0-1") if isinstance(clip := finished.find(key), StagedClip)]
    assemble(staging, shards, again, ["0-0", "0-1"])
    assert {path: path.read_bytes() for path in shards.rglob("*") if path.is_file()} == before


def test_without_an_index_the_clips_are_found_in_the_tars(staging, shards):
    stored = keep(staging, shards)
    assemble(staging, shards, stored, ["0-0", "0-1"])
    (shards / INDEX_NAME).unlink()  # what an assembly removes first
    assert sample_hashes(ClipCache(staging, shards).find("0-0")) == sample_hashes(stored[0])


def test_other_bytes_under_the_same_clip_id_do_not_pass_for_the_clip(staging, shards):
    assemble(staging, shards, keep(staging, shards, seed=0), ["0-0", "0-1"])
    # Other parameters gave the same clips other samples; the run that assembled them was killed before it forgot.
    write_index(shards, write_shards(shards, keep(staging, shards, seed=1), target_bytes=1))
    assert ClipCache(staging, shards).find("0-0") is None
    assert ClipCache(staging, shards).find("1-0") is not None


@pytest.mark.parametrize("damage", ["gone", "truncated", "flipped"])
def test_a_clip_in_a_damaged_shard_is_not_found(staging, shards, damage):
    stored = keep(staging, shards)
    assemble(staging, shards, stored, ["0-0", "0-1"])
    shard = shards / "train" / "all.1.tar"
    content = bytearray(shard.read_bytes())
    match damage:
        case "gone":
            shard.unlink()
        case "truncated":
            shard.write_bytes(content[: len(content) // 2])
        case "flipped":
            content[len(content) // 2] ^= 0xFF
            shard.write_bytes(content)
    finished = ClipCache(staging, shards)
    assert finished.find("0-1") is None
    assert sample_hashes(finished.find("0-0")) == sample_hashes(stored[0])


@pytest.mark.parametrize("damage", ["truncated", "flipped", "flipped in a picture"])
def test_a_damaged_spooled_clip_is_not_found(staging, shards, damage):
    stored = keep(staging, shards)
    content = bytearray(stored[0].path.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[stored[0].rows[0].member_offsets[0 if damage == "flipped" else 1] + 2] ^= 0xFF
    stored[0].path.write_bytes(content)
    finished = ClipCache(staging, shards)
    assert finished.find("0-0") is None
    assert finished.find("0-1") == stored[1]


def test_a_rejection_is_remembered(staging, shards):
    rejected = Rejected("clip", RejectReason.NO_HEAD, "head covers 0.1 % of the crop")
    assert ClipCache(staging, shards).keep("key", [rejected]) == rejected
    assert ClipCache(staging, shards).find("key") == rejected
