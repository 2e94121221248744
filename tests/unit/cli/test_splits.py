"""`mggtalk splits check` as a user runs it: what it prints, and its exit code."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from mggtalk.cli.main import main
from mggtalk.records import Split, TrackedVideo
from mggtalk.stages.tables import CLIPS_FILE
from mggtalk.stages.track.identity.resolution import ClipIdentity, write_identities
from mggtalk.stages.track.tables import write_clip_table
from tests.support.footage import bare_clip, record_of


@pytest.fixture
def check(tmp_path: Path):
    (tmp_path / "params.yaml").write_text(
        "ingest: {recipe: r.yaml, watch: r.yaml, val_fraction: 0.1, test_fraction: 0.1}\ntrack: {}\n"
    )

    def run(*options: str) -> int:
        return main(["splits", "check", f"--artifacts={tmp_path}", f"--params={tmp_path / 'params.yaml'}", *options])

    return run


def write_tables(root: Path, people: Mapping[str, tuple[str, Split, float | None]]) -> None:
    """A video of one clip for each file name: identity, part, and face (None: no table of identities)."""
    tracked, rows = [], []
    for number, (name, (identity, split, face)) in enumerate(people.items()):
        record = record_of(Path(__file__), video_id=f"{number:016x}", identity=identity, split=split, name=name)
        clip = bare_clip(record, 0, 90)
        tracked.append(TrackedVideo(record, (clip,), ()))
        if face is not None:
            rows.append(ClipIdentity(clip.clip_id, name, identity, identity, split, "", (face, 0.0), 0.0, 8))
    write_clip_table(root / "tracks" / CLIPS_FILE, tracked)
    if rows:
        write_identities(root / "tracks", rows)


def test_a_clean_data_set_gives_0_and_its_counts(check, tmp_path, capsys):
    write_tables(tmp_path, {"a.mp4": ("ada", Split.TRAIN, 0.0), "b.mp4": ("bob", Split.TEST, 0.9)})
    assert check() == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "train       1 identities        1 clips" in printed.out
    assert "faces of 2 of 2 clips compared" in printed.out
    assert "ada (a.mp4, train) and bob (b.mp4, test), distance 0.90" in printed.out
    assert "LEAK" not in printed.out


def test_a_leak_gives_1_with_names_distance_and_parts(check, tmp_path, capsys):
    write_tables(
        tmp_path,
        {
            "a.mp4": ("ada", Split.TRAIN, 0.0),
            "b.mp4": ("bob", Split.TEST, 0.2),
            "c.mp4": ("cy", Split.TRAIN, 5.0),
            "d.mp4": ("cy", Split.VAL, 5.0),
        },
    )
    assert check() == 1
    printed = capsys.readouterr()
    assert "LEAK   one face, two identities: ada (a.mp4, train) and bob (b.mp4, test), distance 0.20" in printed.out
    assert "LEAK   cy: clips in train 1, val 1: c.mp4, d.mp4" in printed.out
    assert printed.err == "error: 2 people are in more than one part of the data set\n"
    assert check("--distance=0.1") == 1


def test_without_embeddings_it_says_so_and_how_to_make_them(check, tmp_path, capsys):
    write_tables(tmp_path, {"a.mp4": ("ada", Split.TRAIN, None)})
    assert check() == 0
    printed = capsys.readouterr().out
    assert "no embeddings" in printed
    assert "track.identity_encoder" in printed
    assert "mggtalk models fetch dlib_face_recognition" in printed


def test_json_has_it_all(check, tmp_path, capsys):
    write_tables(tmp_path, {"a.mp4": ("ada", Split.TRAIN, 0.0), "b.mp4": ("bob", Split.TEST, 0.2)})
    assert check("--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["splits"]["train"] == {"identities": 1, "clips": 1, "hours": 0.001}
    (leak,) = report["leaked_faces"]
    assert leak["distance"] == 0.2
    assert leak["second"] == {"identity": "bob", "split": "test", "video": "b.mp4"}


def test_long_lists_are_cut_and_say_so(check, tmp_path, capsys):
    people = {f"{n}.mp4": (f"p{n // 2}", (Split.TRAIN, Split.TEST)[n % 2], None) for n in range(60)}
    write_tables(tmp_path, people)
    assert check() == 1
    printed = capsys.readouterr().out
    assert printed.count("LEAK") == 20
    assert "... and 10 more; --json has all" in printed


def test_no_artifacts_gives_2_and_names_the_file(check, capsys):
    assert check() == 2
    assert "clips.parquet: no such file; run the stage that writes it first" in capsys.readouterr().err


def test_wrong_parameters_give_2(check, tmp_path, capsys):
    (tmp_path / "params.yaml").write_text("ingest: {recipe: r, wacth: x}\n")
    assert check() == 2
    assert "ingest: unknown key 'wacth'" in capsys.readouterr().err
