import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.errors import RecipeError
from mggtalk.records import Rejected, RejectReason, VideoRecord
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.stages.ingest.probe import ProbedFile, ProbeStage, look_up
from mggtalk.stages.ingest.recipes.reader import load_items
from mggtalk.stages.ingest.stage import video_of
from tests.support.media import write_video
from tests.support.paths import ROOT
from tests.unit.stages.ingest.recipes.recipes import recipe_file

DATASETS = ROOT / "datasets"
FAST = {"deadline": "realtime", "cpu-used": "8"}  # of the encoder of VP8
CONFIG = IngestConfig(recipe="recipe.yaml", watch=".", val_fraction=0.1, test_fraction=0.1)

each_list = pytest.mark.parametrize("name", ["hdtf", "vfhq", "celebvhq"])


def shipped(name: str, folder: Path) -> tuple[Path, list[IngestItem]]:
    """A copy of a shipped recipe, where videos can be put beside it, and its inputs."""
    copy = folder / name
    if not copy.exists():
        shutil.copytree(DATASETS / name, copy)
    return copy, list(load_items(copy / "recipe.yaml", folder / "media"))


def outcomes(items: list[IngestItem]) -> dict[str, VideoRecord | Rejected]:
    results = {}
    for item in items:
        file = look_up(item.path)
        (found,) = [file] if isinstance(file, Rejected) else ProbeStage()(file)
        results[item.name] = video_of(item, found, CONFIG)
    return results


def records(name: str, folder: Path) -> dict[str, VideoRecord]:
    results = outcomes(shipped(name, folder)[1])
    return {key: result for key, result in results.items() if isinstance(result, VideoRecord)}


@each_list
def test_a_list_without_its_videos_is_rejected_clip_by_clip(tmp_path: Path, name: str) -> None:
    _, items = shipped(name, tmp_path)
    results = outcomes(items)
    assert len(results) == len(items) >= 3
    for key, result in results.items():
        assert isinstance(result, Rejected)
        assert (result.key, result.reason) == (key, RejectReason.MISSING_FILE)
        assert str(tmp_path / name / "videos") in result.detail


def test_hdtf_gives_intervals_and_windows_at_the_size_of_the_video(tmp_path: Path) -> None:
    folder, _ = shipped("hdtf", tmp_path)
    (folder / "videos").mkdir()
    write_video(
        folder / "videos" / "Example1.mp4", 60, width=640, height=360, options={"preset": "ultrafast"}
    )  # half of the 720 that the list is for
    found = records("hdtf", tmp_path)
    assert {key: (video.start_s, video.end_s, video.box) for key, video in found.items()} == {
        "Example1_0": (0.0, 1.0, (250.0, 10.0, 450.0, 210.0)),
        "Example1_1": (1.0, 2.0, (240.0, 0.0, 460.0, 220.0)),
    }
    assert {video.identity for video in found.values()} == {"Example1"}


def test_hdtf_knows_people_of_two_groups_by_the_names_of_their_videos(tmp_path: Path) -> None:
    _, items = shipped("hdtf", tmp_path)
    people = {item.name: (item.identity, item.start_s, item.end_s) for item in items}
    assert people == {
        "Example1_0": ("Example1", 0.0, 1.0),
        "Example1_1": ("Example1", 1.0, 2.0),
        "Example2_0": ("Example2", 11.0, 82.0),  # of RD, where a number tells people apart
        "NoSuchPerson0_0": ("NoSuchPerson", 6.0, 213.0),
        "NoSuchPerson1_0": ("NoSuchPerson", 44.0, 142.0),
        "NoSuchPerson1_1": ("NoSuchPerson", 3605.0, 3750.0),
    }
    boxes = {item.name: item.box for item in items}
    assert boxes["NoSuchPerson0_0"] == (600.0, 10.0, 1300.0, 710.0)
    assert boxes["NoSuchPerson1_0"] == ()  # for a frame of a height of 0
    assert boxes["NoSuchPerson1_1"] == boxes["Example2_0"] == ()  # the list has no window


def test_vfhq_tells_two_people_at_one_time_apart(tmp_path: Path) -> None:
    folder, _ = shipped("vfhq", tmp_path)
    (folder / "videos").mkdir()
    write_video(folder / "videos" / "INVENTED_01.webm", 61, codec="libvpx", width=960, height=540, options=FAST)
    one, other = records("vfhq", tmp_path).values()
    assert (one.start_s, one.end_s) == (other.start_s, other.end_s) == (11 / 25, 60 / 25)
    assert (one.box, other.box) == ((240.0, 30.0, 600.0, 390.0), (580.0, 30.0, 940.0, 390.0))
    assert (one.identity, other.identity) == ("INVENTED_01+P0", "INVENTED_01+P1")
    assert one.video_id != other.video_id
    assert one.path.endswith("videos/INVENTED_01.webm")


def test_celebvhq_boxes_are_fractions_and_its_people_unknown(tmp_path: Path) -> None:
    folder, _ = shipped("celebvhq", tmp_path)
    (folder / "videos").mkdir()
    write_video(folder / "videos" / "INVENTED_01.mp4", 50, width=200, height=100)
    results = outcomes(shipped("celebvhq", tmp_path)[1])
    video = results["INVENTED_01_0"]
    assert isinstance(video, VideoRecord)
    assert (video.start_s, video.end_s, video.box) == (0.4, 1.2, (40.0, 0.0, 140.0, 85.0))
    assert video.identity == f"video:{video.sha256[:16]}"
    late = results["INVENTED_01_1"]
    assert isinstance(late, Rejected)
    assert late.reason is RejectReason.TOO_SHORT


def published(folder: Path, layout: str, annotations: str) -> list[IngestItem]:
    recipe = recipe_file(folder, kind="published", layout=layout, annotations=annotations, root="videos")
    return list(load_items(recipe, folder / "media"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"note.txt": ""}, r"list: no file \*_annotion_time\.txt"),
        ({"RD_annotion_time.txt": "a.mp4 1-2\n"}, r"RD_annotion_time\.txt: line 1: got '1-2'; expected an interval"),
        ({"RD_annotion_time.txt": "\na.mp4 00:01\n"}, "line 2: got '00:01'"),
        ({"RD_annotion_time.txt": "a.mp4 00:01-00:02\na.mp4 00:01-00:03\n"}, "the clip a_0 is there twice"),
        (
            {
                "RD_annotion_time.txt": "a.mp4 00:01-00:02\n",
                "RD_crop_wh.txt": "a_0.mp4 1 2 3\n",
                "RD_resolution.txt": "a.mp4 720",
            },
            r"RD_crop_wh\.txt: line 1: got '1 2 3'; expected x, width, y and height",
        ),
        (
            {"RD_annotion_time.txt": "a.mp4 00:01-00:02\n", "RD_resolution.txt": "a.mp4 720 1080"},
            r"RD_resolution\.txt: line 1: got '720 1080'; expected a number",
        ),
    ],
)
def test_what_has_not_the_layout_of_hdtf_is_an_error(tmp_path: Path, files: dict[str, str], message: str) -> None:
    (tmp_path / "list").mkdir()
    for name, content in files.items():
        (tmp_path / "list" / name).write_text(content)
    with pytest.raises(RecipeError, match=message):
        published(tmp_path, "hdtf", "list")


HEADER = "H: 720\nW: 1280\nFPS: 25\nCROP: 1 2 3 4\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("other.txt", HEADER, r"list: no file \*\*/Clip\+\*\.txt"),
        ("Clip+a+P0+F1-2.txt", HEADER, "expected a name such as Clip"),
        ("Clip+a+P0+C0+F1-9.txt", HEADER.replace("FPS: 25", "FPS: 0"), "FPS: got 0; expected frames a second"),
        ("Clip+a+P0+C0+F1-9.txt", HEADER.replace("CROP", "BOX"), "expected a line CROP with 4 numbers"),
        ("Clip+a+P0+C0+F1-9.txt", HEADER.replace("3 4", ""), "expected a line CROP with 4 numbers"),
        ("Clip+a+P0+C0+F1-9.txt", HEADER.replace("720", "tall"), "expected a line H with 1 numbers"),
        ("Clip+a+P0+C0+F1-9.txt", "", "expected a line FPS with 1 numbers"),
    ],
)
def test_what_has_not_the_layout_of_vfhq_is_an_error(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / "list" / "Train").mkdir(parents=True)
    (tmp_path / "list" / "Train" / name).write_text(content)
    with pytest.raises(RecipeError, match=message):
        published(tmp_path, "vfhq", "list")


CLIP = {
    "ytb_id": "a",
    "duration": {"start_sec": 0.0, "end_sec": 1.0},
    "bbox": {"top": 0.0, "bottom": 1.0, "left": 0.0, "right": 1.0},
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "clips: missing or empty"),
        ('{"clips": {}}', "clips: missing or empty"),
        ('{"clips": {"a_0": 3}}', r"clips\.a_0\.bbox\.top: got None; expected a number"),
        (json.dumps({"clips": {"a_0": CLIP | {"ytb_id": 5}}}), r"clips\.a_0\.ytb_id: got 5; expected a name"),
        (json.dumps({"clips": {"a_0": CLIP | {"ytb_id": "../a"}}}), r"got the video '\.\./a' of 'a_0'; expected plain"),
        (json.dumps({"clips": {"a_0": CLIP | {"ytb_id": "\ud800"}}}), "expected plain names"),
        (json.dumps({"clips": {"a\0": CLIP}}), "expected plain names"),
        (
            json.dumps({"clips": {"a_0": CLIP | {"duration": {"start_sec": "0", "end_sec": 1}}}}),
            r"clips\.a_0\.duration\.start_sec: got '0'; expected a number",
        ),
        (
            json.dumps({"clips": {"a_0": CLIP | {"bbox": CLIP["bbox"] | {"left": float("nan")}}}}),  # type: ignore[operator]
            r"clips\.a_0\.bbox\.left: got nan; expected a number",
        ),
    ],
)
def test_what_has_not_the_layout_of_celebvhq_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(RecipeError, match=message):
        published(tmp_path, "celebvhq", "list.json")


def test_clips_that_make_no_sense_do_not_spoil_the_list(tmp_path: Path) -> None:
    clips = {
        "backwards": CLIP | {"duration": {"start_sec": 1.0, "end_sec": 0.5}},
        "early": CLIP | {"duration": {"start_sec": -0.1, "end_sec": 0.5}},
        "flat": CLIP | {"bbox": {"top": 0.5, "bottom": 0.5, "left": 0.0, "right": 1.0}},
    }
    (tmp_path / "list.json").write_text(json.dumps({"clips": clips}))
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 50)
    results = outcomes(published(tmp_path, "celebvhq", "list.json"))
    reasons = {name: result.reason for name, result in results.items() if isinstance(result, Rejected)}
    assert reasons == {"backwards": RejectReason.TOO_SHORT, "flat": RejectReason.BOX_OUTSIDE_FRAME}
    assert isinstance(results["early"], VideoRecord)
    assert results["early"].start_s == 0


def test_an_unknown_layout_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"layout: .*'hdtf', 'vfhq' or 'celebvhq'"):
        published(tmp_path, "voxceleb", "list")


def sound(items: list[IngestItem], duration_s: float) -> None:
    """Whatever a list says, its clips become records or rejections of a video of that length."""
    file = ProbedFile("a.mp4", "0123456789abcdef" * 4, 1, 160, 96, 25.0, 0, duration_s, False)
    for item in items:
        result = video_of(item, file, CONFIG)
        if isinstance(result, VideoRecord):
            assert 0 <= result.start_s < result.end_s
            assert not result.box or (0 <= result.box[0] < result.box[2] <= 160 and result.box[1] < result.box[3] <= 96)


LENGTHS = st.sampled_from([0.0, 1.0, 5000.0])


@given(
    times=st.text(alphabet=st.sampled_from("a.mp4 0123456789:-\n"), max_size=40),
    crops=st.lists(st.sampled_from(["a_0.mp4", "0", "-5", "400", "1e308", "nan", "\n"]), max_size=8),
    height=st.sampled_from(["720", "0", "-1", "1e-320", "inf", ""]),
    duration_s=LENGTHS,
)
def test_any_list_like_hdtf_gives_sound_clips_or_an_error(
    tmp_path: Path, times: str, crops: list[str], height: str, duration_s: float
) -> None:
    (tmp_path / "list").mkdir(exist_ok=True)
    (tmp_path / "list" / "RD_annotion_time.txt").write_text(f"a.mp4 00:00-00:01\n{times}")
    (tmp_path / "list" / "RD_crop_wh.txt").write_text(" ".join(["a_0.mp4", *crops]))
    (tmp_path / "list" / "RD_resolution.txt").write_text(f"a.mp4 {height}")
    with contextlib.suppress(RecipeError):
        sound(published(tmp_path, "hdtf", "list"), duration_s)


NUMBERS = st.sampled_from(["0", "-1", "25", "720", "1e308", "1e-320", "nan", "x", ""])


@given(
    frames=st.tuples(st.integers(0, 10**13), st.integers(0, 10**13)),
    values=st.lists(NUMBERS, min_size=7, max_size=7),
    duration_s=LENGTHS,
)
def test_any_list_like_vfhq_gives_sound_clips_or_an_error(
    tmp_path: Path, frames: tuple[int, int], values: list[str], duration_s: float
) -> None:
    shutil.rmtree(tmp_path / "list", ignore_errors=True)
    (tmp_path / "list").mkdir()
    height, width, fps, *crop = values
    header = f"H: {height}\nW: {width}\nFPS: {fps}\nCROP: {' '.join(crop)}\n"
    (tmp_path / "list" / f"Clip+a+P0+C0+F{frames[0]}-{frames[1]}.txt").write_text(header)
    with contextlib.suppress(RecipeError):
        sound(published(tmp_path, "vfhq", "list"), duration_s)


@given(
    values=st.lists(
        st.one_of(st.floats(), st.none(), st.booleans(), st.text(max_size=2), st.integers(), st.just(10**400)),
        min_size=6,
        max_size=6,
    ),
    name=st.text(max_size=3),
    duration_s=LENGTHS,
)
def test_any_list_like_celebvhq_gives_sound_clips_or_an_error(
    tmp_path: Path, values: list[object], name: str, duration_s: float
) -> None:
    start, end, *box = values
    bbox = dict(zip(("top", "bottom", "left", "right"), box, strict=True))
    clip = {"ytb_id": name, "duration": {"start_sec": start, "end_sec": end}, "bbox": bbox}
    (tmp_path / "list.json").write_text(json.dumps({"clips": {name: clip}}))
    with contextlib.suppress(RecipeError):
        sound(published(tmp_path, "celebvhq", "list.json"), duration_s)
