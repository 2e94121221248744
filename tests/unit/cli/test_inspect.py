"""`mggtalk inspect` as a user runs it: the picture, what it prints, and its exit code."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mggtalk.cli.inspect import find_clip
from mggtalk.cli.main import main
from mggtalk.shards import Shards
from mggtalk.visualization.inspection import draw_inspection, widest_turned
from tests.support.synthetic_head import make_talking_clip, write_talking_shards

ADA, BOB, CY = "0123456789abcdef-f000000", "01fedcba98765432-f000000", "01fedcba98765432-f000040"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    clips = [
        make_talking_clip(clip_id, seed=seed, size=32, num_frames=5) for seed, clip_id in enumerate((ADA, BOB, CY))
    ]
    names = ("people/ada.mp4", "people/bob.mp4", "people/bob.mp4")
    write_talking_shards(
        folder, [replace(clip, meta=replace(clip.meta, name=name)) for clip, name in zip(clips, names, strict=True)]
    )
    return folder


@pytest.fixture
def inspect(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *options: main(["inspect", f"--shards={root}", *options])


def picture_at(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB))


@pytest.mark.parametrize("name", [ADA, "0123", "people/ada.mp4", "ada.mp4", "ada"])
def test_a_clip_is_found_by_its_id_the_beginning_of_it_and_the_name_of_its_video(root, name):
    assert find_clip(Shards(root), name).clip_id == ADA


def test_the_picture_lies_in_the_current_folder_and_its_path_is_printed(inspect, root, tmp_path, capsys):
    assert inspect("0123") == 0
    frame = widest_turned(Shards(root), ADA)
    printed = capsys.readouterr()
    assert printed.out == f"{ADA}-f{frame:03d}.png\n"
    assert printed.err == ""
    assert np.array_equal(picture_at(tmp_path / printed.out.strip()), draw_inspection(Shards(root), ADA, frame))
    assert len(list(tmp_path.iterdir())) == 1


def test_frame_and_output_are_the_users(inspect, root, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    output = tmp_path / "there" / "ada.PNG"
    output.write_bytes(b"old")
    assert inspect(ADA, "--frame=4", f"--output={output}") == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert np.array_equal(picture_at(output), draw_inspection(Shards(root), ADA, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["01"], f"'01' is ambiguous: {ADA}, {BOB}, {CY}"),
        (["bob.mp4"], f"'bob.mp4' is ambiguous: {BOB}, {CY}"),
        (["adda.mp4"], f"no clip 'adda.mp4' among 3; did you mean {ADA} (people/ada.mp4)?"),
        (["ffff"], f"no clip 'ffff' among 3; there are {ADA} (people/ada.mp4), {BOB} (people/bob.mp4), "),
        ([ADA, "--frame=1"], f"--frame: frame 1 of {ADA} has no geometry; the nearest that have it: 0, 2"),
        ([ADA, "--frame=5"], f"--frame: {ADA} has frames 0 to 4, got 5"),
        ([ADA, "--frame=-1"], f"--frame: {ADA} has frames 0 to 4, got -1"),
        ([ADA, "--output=gone/ada.png"], "--output: gone: no such folder"),
        ([ADA, "--output=ada.jpg"], "--output: got ada.jpg, expected a name that ends in .png"),
        ([ADA, "--output=folder.png"], "--output: folder.png is a folder, expected a file"),
        ([ADA, f"--output={'long' * 80}.png"], "cannot be written: File name too long"),
    ],
)
def test_what_cannot_be_done_gives_2_and_says_why(inspect, tmp_path, capsys, options, message):
    (tmp_path / "folder.png").mkdir()
    assert inspect(*options) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_no_shards_give_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", ADA]) == 2
    assert "artifacts/shards/index.parquet: no such file" in capsys.readouterr().err


def test_damaged_shards_give_2(tmp_path, capsys):
    clip = make_talking_clip(ADA, size=32, num_frames=2)
    write_talking_shards(tmp_path, [clip])
    (shard,) = (tmp_path / "train").glob("*.tar")
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    assert main(["inspect", ADA, f"--shards={tmp_path}", f"--output={tmp_path / 'ada.png'}"]) == 2
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "ada.png").exists()


def test_a_clip_without_geometry_gives_2(tmp_path, capsys):
    write_talking_shards(tmp_path, [replace(make_talking_clip(ADA, size=32, num_frames=2), sources={})])
    assert main(["inspect", ADA, f"--shards={tmp_path}"]) == 2
    assert "no frame of the clip has geometry" in capsys.readouterr().err
