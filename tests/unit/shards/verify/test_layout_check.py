"""`verify` checks the layout across shards: every clip complete, and in the one shard that the prefix tree gives."""

from mggtalk.shards.verify.layout_check import LocatedSample, check_layout

LABELS = ("video", "ada", "CC0-1.0", 25.0, 100)


def sample(clip: str, shard: str, start: int = 0, frames: int = 100, size: int = 10, **labels: str) -> LocatedSample:
    told = (LABELS[0], labels.get("identity", LABELS[1]), *LABELS[2:])
    return LocatedSample(f"{clip}-{start // 64:04d}", shard, clip, told, start, frames, size)


def whats(*samples: LocatedSample, target: int | None = None) -> list[str]:
    return [issue.what for issue in check_layout(samples, target)]


def test_a_sound_layout_has_no_issue():
    assert whats(sample("a1", "train/all.tar", 64, 36), sample("a1", "train/all.tar", 0, 64)) == []
    assert whats(sample("a1", "train/a.tar"), sample("b1", "train/b.tar"), sample("c1", "val/all.tar")) == []


def test_a_clip_in_two_shards_or_two_splits_is_found():
    first = sample("a1", "train/all.tar", 0, 64)
    assert "clip a1 lies in several shards" in whats(first, sample("a1", "train/a.tar", 64, 36))
    assert "clip a1 lies in several shards" in whats(first, sample("a1", "val/all.tar", 64, 36))


def test_a_clip_of_two_people_is_found():
    (issue,) = check_layout(
        [sample("a1", "train/all.tar", 0, 64), sample("a1", "train/all.tar", 64, 36, identity="bob")], None
    )
    assert (issue.sample, issue.got) == ("a1-0001", "video, bob, CC0-1.0, 25.0, 100")


def test_chunks_that_are_missing_or_there_twice_are_found():
    first, last = sample("a1", "train/all.tar", 0, 64), sample("a1", "train/all.tar", 64, 36)
    for chunks in ([first], [last], [first, first, last]):
        assert whats(*chunks) == ["clip a1 is not whole"]


def test_the_stated_target_decides_and_without_it_any_that_gives_the_tree():
    apart = [sample("a1", "train/a.tar"), sample("b1", "train/b.tar")]
    together = [sample("a1", "train/all.tar"), sample("b1", "train/all.tar")]
    assert whats(*apart) == whats(*together) == []
    assert whats(*apart, target=19) == whats(*together, target=20) == []
    assert len(whats(*apart, target=20)) == len(whats(*together, target=19)) == 2
    # No target parts 20 bytes and leaves 40 together.
    assert whats(*apart, *(sample(clip, "val/all.tar", size=20) for clip in ("a2", "b2"))) != []
