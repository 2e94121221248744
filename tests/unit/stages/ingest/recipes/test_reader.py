import os
from pathlib import Path

import pytest

from mggtalk.errors import RecipeError
from mggtalk.records import Split
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.stages.ingest.recipes.reader import load_items, prune_media, read_recipe
from tests.support.media import write_video
from tests.unit.stages.ingest.recipes.recipes import recipe_file

SHA = "0" * 64


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    write_video(folder / "b.mp4", 2)
    (folder / "deep" / "a.mp4").write_bytes(b"no video")
    (folder / "notes.txt").write_text("notes")
    (folder / ".DS_Store").write_text("hidden")
    (folder / ".hidden" / "c.mp4").write_bytes((folder / "b.mp4").read_bytes())
    return folder


def test_folder_names_every_file_but_hidden_ones_and_its_labels(videos: Path, tmp_path: Path) -> None:
    labels = "file,license,identity,mood\nb.mp4,CC0-1.0,bob,glad\nnotes.txt,,-,\ngone.mp4,,eve,\n"
    (videos / "labels.csv").write_text(labels)
    path = recipe_file(
        tmp_path / "set", kind="folder", path=str(videos), labels=str(videos / "labels.csv"), license="MIT"
    )
    items = load_items(path, tmp_path)
    assert [(item.name, item.identity, item.license) for item in items] == [
        ("b.mp4", "bob", "CC0-1.0"),
        ("deep/a.mp4", "", "MIT"),
        ("gone.mp4", "eve", "MIT"),
        ("notes.txt", "", "MIT"),
    ]
    assert items[0].path == str(videos / "b.mp4")
    assert {item.split for item in items} == {None}
    assert not any(item.is_interval for item in items)


def test_labels_find_names_that_another_system_spelled(videos: Path, tmp_path: Path) -> None:
    composed, decomposed = "Zo\u00e9.mp4", "Zoe\u0301.mp4"
    (videos / "b.mp4").rename(videos / decomposed)
    (tmp_path / "labels.csv").write_text(f"file,identity\n{composed},zoe\n", encoding="utf-8")
    items = load_items(recipe_file(tmp_path, kind="folder", path="videos", labels="labels.csv"), tmp_path)
    assert {item.name: item.identity for item in items} == {decomposed: "zoe", "deep/a.mp4": "", "notes.txt": ""}


def test_folder_is_looked_up_beside_the_recipe_then_in_the_working_directory(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = recipe_file(Path("set"), kind="folder", path="videos")
    assert load_items(path, tmp_path)[0].path == "videos/b.mp4"
    write_video(recipe_file(Path("set/videos"), kind="none").parent / "own.mp4", 2)
    assert load_items(path, tmp_path)[0].path == "set/videos/own.mp4"


def test_missing_folder_names_both_places(tmp_path: Path) -> None:
    path = recipe_file(tmp_path / "set", kind="folder", path="nowhere")
    with pytest.raises(RecipeError, match=r"path: 'nowhere' not found; looked for .*/set/nowhere or nowhere"):
        load_items(path, tmp_path)


def test_a_folder_without_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "videos" / ".hidden").mkdir(parents=True)
    with pytest.raises(RecipeError, match=r"no videos in .*: it holds no files"):
        load_items(recipe_file(tmp_path / "set", kind="folder", path=str(tmp_path / "videos")), tmp_path)


def test_what_belongs_to_the_recipe_is_no_input(videos: Path, tmp_path: Path) -> None:
    (videos / "TERMS.md").write_text("terms")
    (videos / "labels.csv").write_text("file,identity\nb.mp4,bob\n")
    path = recipe_file(videos, kind="folder", path=".", labels="labels.csv", terms="TERMS.md")
    assert [item.name for item in load_items(path, tmp_path)] == ["b.mp4", "deep/a.mp4", "notes.txt"]


def test_splits_by_identity_are_kept_and_typing_errors_found(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,identity\nb.mp4,bob\n")
    common = {"kind": "folder", "path": "videos", "labels": "labels.csv"}
    items = load_items(recipe_file(tmp_path, **common, splits={"bob": "test"}), tmp_path)
    assert [item.split for item in items if item.name == "b.mp4"] == [Split.TEST]
    assert {item.split for item in items if item.name != "b.mp4"} == {None}
    with pytest.raises(RecipeError, match=r"splits: no input has the identity bbo$"):
        load_items(recipe_file(tmp_path, **common, splits={"bbo": "test"}), tmp_path)
    with pytest.raises(RecipeError, match=r"identity video:0123; a video without a label needs one to be named here$"):
        load_items(recipe_file(tmp_path, **common, splits={"video:0123": "test"}), tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("name,identity\nb.mp4,bob\n", "no column 'file'; columns there: name, identity"),
        ("", r"labels\.csv: no column 'file'; columns there: none"),
        ("file,identiy\nb.mp4,bob\n", "neither a column 'identity' nor 'license'; columns there: file, identiy"),
        ("file,identity,identity\nb.mp4,bob,eve\n", "the column 'identity' is there twice"),
        ('file,identity\n"b.mp4",bob\n\na.mp4,eve,CC0-1.0\n', "line 4: got 3 cells; expected 2"),
        ("file,identity\nb.mp4\nb.mp4\n", r"line 3: file: b\.mp4 is there twice"),
        ("file,identity\n../b.mp4\n", r"line 2: column 'file': got '\.\./b\.mp4'"),
        ("file,identity\n/b.mp4\n", r"line 2: column 'file': got '/b\.mp4'"),
        ("file,identity\n,bob\n", "line 2: column 'file': got ''"),
        ('file,identity\n"b.mp4', "cannot be read as CSV"),
    ],
)
def test_bad_labels_are_errors_that_name_the_line(videos: Path, tmp_path: Path, labels: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(labels)
    with pytest.raises(RecipeError, match=message):
        load_items(recipe_file(tmp_path, kind="folder", path="videos", labels="labels.csv"), tmp_path)


def test_labels_that_are_no_text_are_an_error(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"file,identity\n\xff.mp4,bob\n")
    with pytest.raises(RecipeError, match=r"labels\.csv: cannot be read as CSV: .*0xff"):
        load_items(recipe_file(tmp_path, kind="folder", path="videos", labels="labels.csv"), tmp_path)


def names_of(path: Path) -> list[str]:
    return [item.name for item in load_items(recipe_file(path.parent, kind="folder", path=str(path)), path)]


def test_a_name_that_is_no_utf8_is_written_with_escapes(videos: Path, tmp_path: Path) -> None:
    (videos / os.fsdecode(b"caf\xe9.mp4")).write_bytes((videos / "b.mp4").read_bytes())
    assert "caf\\xe9.mp4" in names_of(videos)


def test_links_are_followed_but_not_in_circles(videos: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "d.mp4").write_text("elsewhere")
    (outside / "back").symlink_to(videos)
    (videos / "album").symlink_to(outside)
    (videos / "album again").symlink_to(outside)
    (videos / "an alias").symlink_to("deep")
    (videos / "deep" / "circle").symlink_to("..")
    (videos / "self.mp4").symlink_to("self.mp4")
    (videos / "broken.mp4").symlink_to("gone.mp4")
    assert names_of(videos) == ["album/d.mp4", "b.mp4", "broken.mp4", "deep/a.mp4", "notes.txt", "self.mp4"]


def test_a_pipe_is_an_input_that_nobody_waits_for(videos: Path, tmp_path: Path) -> None:
    os.mkfifo(videos / "a pipe")
    assert names_of(videos) == ["a pipe", "b.mp4", "deep/a.mp4", "notes.txt"]


def test_a_folder_that_cannot_be_read_is_an_error(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(RecipeError, match="deep: the folder cannot be read: Permission denied"):
        names_of(videos)


def test_a_path_longer_than_can_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.yaml: path: .* cannot be looked up: File name too long"):
        load_items(recipe_file(tmp_path, kind="folder", path="x" * 5000), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"path": "videos"}, "kind: got None; expected one of folder, csv, published, wheel"),
        ({"kind": "tape"}, "kind: got 'tape'"),
        ({"kind": ["folder"]}, r"kind: got \['folder'\]"),
        ({"kind": {"folder": 1}}, r"kind: got \{'folder': 1\}"),
        ({"kind": "folder", "path": "videos", "terms": "x" * 5000}, "terms: .*cannot be looked up: File name too long"),
        ({"kind": "folder"}, "missing key 'path'"),
        ({"kind": "folder", "path": "videos", "lables": "x.csv"}, "unknown key 'lables'"),
        ({"kind": "folder", "path": "videos", "splits": {"bob": "tset"}}, r"splits\.bob"),
        ({"kind": "folder", "path": "videos", "terms": "TERMS.md"}, "terms: no such file beside the recipe"),
        ({"kind": "wheel", "requirement": "a==1", "sha256": "abc", "entries": [{"member": "a"}]}, "sha256"),
        ({"kind": "wheel", "requirement": "a==1", "sha256": SHA, "entries": []}, "entries"),
        (
            {"kind": "wheel", "requirement": "a==1", "sha256": SHA, "entries": [{"member": "a", "end": 1}]},
            "'entries.0.end'",
        ),
    ],
)
def test_bad_recipes_are_errors_that_name_the_key(tmp_path: Path, content: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(recipe_file(tmp_path, **content))


def test_missing_recipe_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.yaml: no such file"):
        read_recipe(tmp_path / "recipe.yaml")


def test_media_that_no_input_names_are_deleted_and_nothing_else(videos: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    (media / "folder").mkdir(parents=True)
    for name in ("kept.mp4", "old.mp4"):
        (media / name).write_text(name)
    (media / "old link.mp4").symlink_to(videos / "b.mp4")
    items = [IngestItem(path=str(media / name), name=name) for name in ("kept.mp4", "gone.mp4")]
    assert prune_media(media, items) == [media / "old link.mp4", media / "old.mp4"]
    assert sorted(path.name for path in media.iterdir()) == ["folder", "kept.mp4"]
    assert (videos / "b.mp4").is_file()
    assert prune_media(tmp_path / "none", items) == []
