"""`mggtalk shards verify | stats | card | ls` as a user runs them: what they print, and their exit codes."""

import json
from pathlib import Path

import pytest

from mggtalk.cli.main import main
from mggtalk.records import Split
from mggtalk.shards import CardContext, SampleRow, write_card, write_index, write_shards, write_staged_clip
from tests.support.shard_samples import make_clip

ADA, BOB = "ab" * 8, "cd" * 8


@pytest.fixture
def dataset(tmp_path) -> tuple[Path, tuple[SampleRow, ...]]:
    root = tmp_path / "shards"
    clips = [make_clip(ADA, num_frames=66, size=8, geometry_stride=10), make_clip(BOB, size=8, split=Split.VAL)]
    stored = [write_staged_clip(tmp_path / f"{clip.meta.clip_id}.tar", clip.samples()) for clip in clips]
    rows = write_shards(root, stored, target_bytes=10**9)
    write_card(root, rows, CardContext("people"))
    write_index(root, rows)
    return root, rows


def shards(*options: object) -> int:
    return main(["shards", *map(str, options)])


def damage(root: Path, row: SampleRow, *members: str) -> None:
    data = bytearray((root / row.shard).read_bytes())
    for member in members:
        data[row.member_offsets[row.member_names.index(member)] + 30] ^= 1
    (root / row.shard).write_bytes(data)


@pytest.mark.parametrize("options", [(), ("--fast",)])
def test_a_sound_data_set_gives_0_and_one_line(dataset, capsys, options):
    root, _ = dataset
    assert shards("verify", root, *options) == 0
    printed = capsys.readouterr()
    size = sum(path.stat().st_size for path in root.glob("*/*.tar")) / 1e6
    assert printed.out == f"{root}: sound: 3 samples in 2 shards, {size:.1f} MB\n"
    assert printed.err == ""


def test_damage_gives_1_and_a_line_for_each_finding(dataset, capsys):
    root, rows = dataset
    damage(root, rows[2], "000.rgb.jpg", "001.head.png")
    (root / "notes.txt").write_text("hello")
    assert shards("verify", root) == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith(f"WRONG  val/all.tar: sample {BOB}-0000: member 000.rgb.jpg: damaged: CRC-32: got ")
    assert lines[1].startswith(f"WRONG  val/all.tar: sample {BOB}-0000: member 001.head.png: damaged: CRC-32: got ")
    assert lines[2] == "WRONG  notes.txt: a file that does not belong here"
    assert lines[3].startswith(f"{root}: 3 issues: 3 samples in 2 shards")
    assert printed.err == f"error: {root}: 3 issues\n"


def test_verify_for_programs(dataset, capsys):
    root, rows = dataset
    damage(root, rows[2], "000.rgb.jpg")
    assert shards("verify", root, "--json") == 1
    content = json.loads(capsys.readouterr().out)
    assert (content["num_shards"], content["num_samples"], content["notes"]) == (2, 3, [])
    (issue,) = content["issues"]
    crc = rows[2].member_crc32[rows[2].member_names.index("000.rgb.jpg")]
    assert issue.pop("got") != f"{crc:08x}"
    assert issue == {
        "file": "val/all.tar",
        "sample": f"{BOB}-0000",
        "member": "000.rgb.jpg",
        "what": "damaged: CRC-32",
        "expected": f"{crc:08x}",
    }


@pytest.mark.parametrize("command", ["verify", "stats", "card", "ls"])
def test_a_folder_without_shards_gives_2(tmp_path, capsys, command):
    assert shards(command, tmp_path / "nowhere") == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert "no such f" in printed.err
    assert printed.out == ""


def test_wrong_options_give_2(dataset, capsys):
    for options in (["verify", "--slow"], ["ls", str(dataset[0]), "--split", "dev"], []):
        with pytest.raises(SystemExit) as ended:
            shards(*options)
        assert ended.value.code == 2
    capsys.readouterr()


def test_stats_count_by_split_and_give_quantiles(dataset, capsys):
    root, rows = dataset
    assert shards("stats", root) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    header, train, val, test, total = lines[:5]
    assert header[:6] == ["split", "identities", "videos", "clips", "samples", "frames"]
    assert train[:7] == ["train", "1", "1", "1", "2", "66", "7"]
    assert val[:7] == ["val", "1", "1", "1", "1", "3", "2"]
    assert test[:7] == ["test", "0", "0", "0", "0", "0", "0"]
    assert (total[:7], total[-1]) == (
        ["total", "2", "2", "2", "3", "69", "9"],
        str(sum(row.size_bytes for row in rows)),
    )
    assert ["total", "face_size", "120.0", "120.0", "120.0", "120.0", "120.0"] in lines

    assert shards("stats", root, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["total"] == json.loads((root / "card.json").read_text())["total"]
    assert content["splits"]["val"]["frames"] == 3
    assert content["quality"]["val"]["sharpness"]["50%"] == round(rows[2].mean_sharpness, 2)
    assert "test" not in content["quality"]


def test_stats_and_list_of_an_empty_data_set(tmp_path, capsys):
    write_index(tmp_path, [])
    assert shards("stats", tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["total", *"000000", "0.0", "0", "0"]
    assert shards("ls", tmp_path) == 0
    assert capsys.readouterr().out == ""


def test_card_prints_the_card(dataset, capsys):
    assert shards("card", dataset[0]) == 0
    assert capsys.readouterr().out == (dataset[0] / "CARD.md").read_text()


def test_samples_are_listed_with_tabs(dataset, capsys):
    root, rows = dataset
    assert shards("ls", root) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        [f"{ADA}-0000", "train/all.tar", "64", "7", str(rows[0].size_bytes)],
        [f"{ADA}-0001", "train/all.tar", "2", "0", str(rows[1].size_bytes)],
        [f"{BOB}-0000", "val/all.tar", "3", "2", str(rows[2].size_bytes)],
    ]
    assert shards("ls", root, "--split", "val", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record == {
        "key": f"{BOB}-0000",
        "shard": "val/all.tar",
        "num_frames": 3,
        "source_frames": [0, 2],
        "size_bytes": rows[2].size_bytes,
        "split": "val",
        "clip_id": BOB,
    }


@pytest.mark.parametrize("wanted", [BOB, "cdcd", f"{BOB}.mp4"])
def test_the_members_of_a_clip_can_be_cut_from_the_shard(dataset, capsys, wanted):
    root, rows = dataset
    assert shards("ls", root, wanted) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[1] for line in lines] == list(rows[2].member_names)
    key, _, shard, offset, size = next(line for line in lines if line[1] == "000.rgb.jpg")
    data = (root / shard).read_bytes()[int(offset) :][: int(size)]
    assert (key, data[:3], data[-2:]) == (f"{BOB}-0000", b"\xff\xd8\xff", b"\xff\xd9")
    assert shards("ls", root, "nobody") == 2
    assert "no clip 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["verify", "stats", "card", "ls"])
def test_a_url_gives_2_and_says_what_to_do(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main(["shards", command, "https://data.example.org/shards"])
    assert caught.value.code == 2
    assert "expected a folder: fetch the data set first (`dvc pull`)" in capsys.readouterr().err
