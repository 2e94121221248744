import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.errors import RecipeError
from mggtalk.records import Split
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.stages.ingest.recipes.reader import load_items
from tests.support.paths import ROOT
from tests.unit.stages.ingest.recipes.recipes import csv_items, recipe_file

FULL: dict[str, object] = {
    "video": "clip",
    "start": "from",
    "end": "to",
    "box": ["l", "t", "r", "b"],
    "identity": "who",
    "license": "licence",
    "split": "part",
    "sha256": "hash",
    "name": "title",
}
SHA = "0123456789abcdef" * 4


def test_a_row_names_an_interval_of_a_video_with_a_face_in_it(tmp_path: Path) -> None:
    table = (
        "who,clip,from,to,l,t,r,b,licence,part,hash,title,mood\n"
        f"eve,a/v.mp4,1.5,00:01:02.25,10,20,30.5,40,CC0-1.0,test,{SHA.upper()},first,glad\n"
        "-,a/v.mp4,62.25,,,,,,,,,second,\n"
    )
    items = csv_items(tmp_path, table, FULL, box_order="left,top,right,bottom", license="MIT", root="videos")
    path = str(tmp_path / "videos" / "a" / "v.mp4")
    assert items == [
        IngestItem(
            path=path,
            name="first",
            identity="eve",
            license="CC0-1.0",
            split=Split.TEST,
            start_s=1.5,
            end_s=62.25,
            box=(10.0, 20.0, 30.5, 40.0),
            sha256=SHA,
        ),
        IngestItem(path=path, name="second", license="MIT", start_s=62.25),
    ]


def test_the_recipe_in_the_documentation_reads_the_table_beside_it(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    match = re.search(r"```yaml\n(kind: csv\n.*?)```\s+```csv\n(.*?)```", page, re.DOTALL)
    assert match
    (tmp_path / "recipe.yaml").write_text(match[1], encoding="utf-8")
    (tmp_path / "interviews.csv").write_text(match[2], encoding="utf-8")
    items = load_items(tmp_path / "recipe.yaml", tmp_path / "media")
    assert [(item.identity, item.split, item.start_s, item.end_s, item.box) for item in items] == [
        ("alice", Split.TRAIN, 12.5, 41.0, (610.0, 80.0, 1030.0, 500.0)),
        ("bob", Split.TRAIN, 12.5, 41.0, (1220.0, 95.0, 1620.0, 495.0)),
        ("carol", None, 70.0, 125.0, ()),
    ]


def test_the_table_is_looked_up_beside_the_recipe_and_so_are_its_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (item,) = csv_items(Path("set"), "file\na.mp4\n", {"video": "file"})
    assert item == IngestItem(path="set/a.mp4", name="a.mp4")
    (tmp_path / "videos").mkdir()
    (item,) = csv_items(Path("set"), "file\na.mp4\n", {"video": "file"}, root="videos")
    assert item.path == "videos/a.mp4"
    (item,) = csv_items(Path("set"), "file\n/data/a.mp4\n", {"video": "file"}, root="videos")
    assert item.path == "/data/a.mp4"


@pytest.mark.parametrize(
    ("order", "values"),
    [
        ("left,top,right,bottom", "10,20,30,50"),
        ("x,y,w,h", "10,20,20,30"),
        ("top,bottom,left,right", "20,50,10,30"),
        ("x,w,y,h", "10,20,20,30"),
    ],
)
def test_boxes_come_in_many_orders(tmp_path: Path, order: str, values: str) -> None:
    columns: dict[str, object] = {"video": "v", "box": ["a", "b", "c", "d"]}
    (item,) = csv_items(tmp_path, f"v,a,b,c,d\nx.mp4,{values}\n", columns, box_order=order)
    assert (item.box, item.box_frame) == ((10.0, 20.0, 30.0, 50.0), ())


@pytest.mark.parametrize(
    "cell", ['"0.1,0.2,0.3,0.5"', '"[0.1, 0.2, 0.3, 0.5]"', "0.1 0.2 0.3 0.5", '"(.1,.2,.3,5e-1)"']
)
def test_a_box_may_be_one_cell_and_fractions(tmp_path: Path, cell: str) -> None:
    (item,) = csv_items(
        tmp_path,
        f"v,face\nx.mp4,{cell}\n",
        {"video": "v", "box": "face"},
        box_order="left,top,right,bottom",
        box_unit="fractions",
    )
    assert (item.box, item.box_frame) == ((0.1, 0.2, 0.3, 0.5), (1.0, 1.0))


def test_times_may_be_frames_at_a_rate_of_the_row_or_of_all(tmp_path: Path) -> None:
    columns: dict[str, object] = {"video": "v", "start": "s", "end": "e", "fps": "fps"}
    items = csv_items(tmp_path, "v,s,e,fps\nx,50,100,50\ny,50,100,\n", columns, time="frames", fps=25)
    assert [(item.start_s, item.end_s) for item in items] == [(1.0, 2.0), (2.0, 4.0)]


@pytest.mark.parametrize(
    "table",
    [
        b"\xef\xbb\xbfv,who\na.mp4,eve\n",  # a byte order mark, as spreadsheets write it
        b"v,who\r\na.mp4,eve\r\n\r\n",
        b' v , who \n "a.mp4" , eve \n'.replace(b' "a.mp4" ', b'"a.mp4"'),
        b"v,who,more\na.mp4,eve\n",  # a short row
        b"v;who\na.mp4;eve\n",
    ],
)
def test_tables_as_programs_write_them(tmp_path: Path, table: bytes) -> None:
    delimiter = ";" if b";" in table else ","
    (item,) = csv_items(tmp_path, table, {"video": "v", "identity": "who"}, delimiter=delimiter)
    assert (item.name, item.identity) == ("a.mp4", "eve")


def test_names_with_commas_are_quoted(tmp_path: Path) -> None:
    (item,) = csv_items(tmp_path, 'v\n"a, ""b"".mp4"\n', {"video": "v"})
    assert item.name == 'a, "b".mp4'


def test_rows_of_one_name_are_numbered_for_two_faces_are_two_inputs(tmp_path: Path) -> None:
    table = "v,s,e,f\na,1,2,0 0 9 9\na,1,2,9 0 20 9\na,2,3,0 0 9 9\na,1,2,0 0 9 9\n"
    columns: dict[str, object] = {"video": "v", "start": "s", "end": "e", "box": "f"}
    items = csv_items(tmp_path, table, columns, box_order="left,top,right,bottom")
    names = ["a@1.000-2.000", "a@1.000-2.000#2", "a@1.000-2.000#3", "a@2.000-3.000"]
    assert [item.name for item in items] == names
    assert [item.box[0] for item in items] == [0.0, 9.0, 0.0, 0.0]


def test_numbers_of_names_avoid_names_that_are_there(tmp_path: Path) -> None:
    items = csv_items(tmp_path, "v,n\na,x\nb,x\nc,x#2\nd,x\n", {"video": "v", "name": "n"})
    assert [(item.path[-1], item.name) for item in items] == [("a", "x"), ("c", "x#2"), ("b", "x#3"), ("d", "x#4")]


def test_a_name_longer_than_can_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"line 2: column 'v': .* cannot be looked up: File name too long"):
        csv_items(tmp_path, f"v\n{'x' * 5000}\n", {"video": "v"}, url="https://media.example/{video}")


def test_urls_are_fetched_to_the_media_folder(tmp_path: Path) -> None:
    table = f"v,e,h\nhttps://eve:secret@media.example/x/a.mp4?token=1,5,\nHTTP://media.example/b,,{SHA}\n"
    columns: dict[str, object] = {"video": "v", "end": "e", "sha256": "h"}
    plain, interval = csv_items(tmp_path, table, columns, max_mb=1.5)
    assert interval.name == "https://media.example/x/a.mp4@0.000-5.000"  # no password goes into tables
    assert interval.url == "https://eve:secret@media.example/x/a.mp4?token=1"
    assert (plain.name, plain.sha256, plain.max_bytes) == ("http://media.example/b", SHA, 1_500_000)
    paths = [Path(item.path) for item in (plain, interval)]
    assert {path.parent for path in paths} == {tmp_path / "media"}
    assert [path.suffix for path in paths] == ["", ".mp4"]
    (other,) = csv_items(tmp_path, "v\nhttps://eve:secret@media.example/x/a.mp4?token=1\n", {"video": "v"})
    assert other.path == interval.path  # one download for all intervals
    (checked,) = csv_items(tmp_path, f"v,h\n{other.url},{SHA}\n", {"video": "v", "sha256": "h"})
    assert checked.path != other.path  # what was not checked is no match


def test_ids_become_files_or_else_urls(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "here.mp4").write_text("a video")
    here, gone = csv_items(
        tmp_path,
        "v\nhere\ngone & lost\n",
        {"video": "v"},
        root="videos",
        file="{video}.mp4",
        url="https://media.example/{video}.webm",
    )[::-1]
    assert (here.path, here.url) == (str(tmp_path / "videos" / "here.mp4"), "")
    assert (gone.name, gone.url) == ("gone & lost", "https://media.example/gone%20%26%20lost.webm")
    assert gone.path.endswith(".webm")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"list\.csv: no column 'v'; columns there: none"),
        ("v,s,e,f,who,part,hash\n", "no rows below the header"),
        ("video,s,e,f\na,1,2,\n", "no column 'v'; columns there: video, s, e, f"),
        ("v,s,f,who,part,hash\na,1,\n", "no column 'e'"),
        ("v,v,s,e,f,who,part,hash\n", "the column 'v' is there twice"),
        ("v,s,e,f,who,part,hash\n\na,1,2,,,,,\n", "line 3: got 8 cells; expected 7"),
        ("v,s,e,f,who,part,hash\n,1,2\n", "line 2: column 'v': got ''; expected a file"),
        ("v,s,e,f,who,part,hash\nftp://h/a,1,2\n", "line 2: column 'v': got 'ftp://h/a'"),
        ("v,s,e,f,who,part,hash\nfile:///etc/passwd,1,2\n", "line 2: column 'v'.*http or https"),
        ("v,s,e,f,who,part,hash\nhttp://[1/a,1,2\n", "line 2: column 'v'.*http or https"),
        ("v,s,e,f,who,part,hash\nhttps://,1,2\n", "line 2: column 'v'.*http or https"),
        ("v,s,e,f,who,part,hash\na,soon,2\n", "line 2: column 's': got 'soon'; expected a number"),
        ("v,s,e,f,who,part,hash\na,-1,2\n", "line 2: column 's': got '-1'; expected seconds, mm:ss or hh:mm:ss"),
        ("v,s,e,f,who,part,hash\na,nan,2\n", "line 2: column 's': got 'nan'; expected a number"),
        ("v,s,e,f,who,part,hash\na,1,inf\n", "line 2: column 'e': got 'inf'; expected a number"),
        ("v,s,e,f,who,part,hash\na,1,1e999\n", "line 2: column 'e': got '1e999'; expected a number"),
        ("v,s,e,f,who,part,hash\na,1,1_0\n", "line 2: column 'e': got '1_0'; expected a number"),
        ("v,s,e,f,who,part,hash\na,00:61,2\n", "line 2: column 's': got '00:61'; expected seconds, mm:ss"),
        ("v,s,e,f,who,part,hash\na,1:60:00,2\n", "line 2: column 's': got '1:60:00'"),
        ("v,s,e,f,who,part,hash\na,2,1.5\n", "line 2: column 'e': got '1.5'; expected more than the start, 2 s"),
        ("v,s,e,f,who,part,hash\na,2,2\n", "line 2: column 'e': got '2'"),
        ("v,s,e,f,who,part,hash\na,1,2,1 2 3\n", "line 2: column 'f': got '1, 2, 3'; expected four numbers, x,y,w,h"),
        ("v,s,e,f,who,part,hash\na,1,2,1 2 3 x\n", "line 2: column 'f': got '1, 2, 3, x'"),
        ("v,s,e,f,who,part,hash\na,1,2,1 2 3 nan\n", "line 2: column 'f'"),
        ("v,s,e,f,who,part,hash\na,1,2,1 2 0 4\n", "line 2: column 'f': .* of a box with an area"),
        ("v,s,e,f,who,part,hash\na,1,2,1 2 -3 4\n", "line 2: column 'f'"),
        ("v,s,e,f,who,part,hash\na,1,2,,,dev\n", "line 2: column 'part': got 'dev'; expected train, val or test"),
        ("v,s,e,f,who,part,hash\na,1,2,,,,abc\n", "line 2: column 'hash': got 'abc'; expected 64 hexadecimal digits"),
        (
            "v,s,e,f,who,part,hash\na,1,3,,,train\nb,1,3,,,test\na,2,4,,,test\n",
            "line 2 and line 4: intervals of one video overlap, but their splits differ",
        ),
        ('v,s,e,f,who,part,hash\n"a,1,2\n', "cannot be read as CSV"),
        ("v,s,e,f,who,part,hash\n" + "x" * 200_000, "cannot be read as CSV: field larger"),
        (b"v,s,e,f,who,part,hash\n\xff,1,2\n", "cannot be read as CSV: .*0xff"),
        ("v,s,e,f,who,part,hash\na\0b,1,2\n", "line 2: column 'v'"),
    ],
)
def test_wrong_tables_are_errors_that_name_line_and_column(tmp_path: Path, table: str | bytes, message: str) -> None:
    columns: dict[str, object] = {"video": "v", "start": "s", "end": "e", "box": "f", "identity": "who"}
    columns |= {"split": "part", "sha256": "hash"}
    with pytest.raises(RecipeError, match=message):
        csv_items(tmp_path, table, columns, box_order="x,y,w,h")


@pytest.mark.parametrize(
    ("keys", "columns", "message"),
    [
        ({}, {"video": "v", "box": "f"}, "box_order: missing; columns.box needs it"),
        ({"box_order": "h,w,y,x"}, {"video": "v", "box": "f"}, "box_order: .*'left,top,right,bottom'.*got 'h,w,y,x'"),
        (
            {"box_order": "x,y,w,h"},
            {"video": "v", "box": ["a", "b"]},
            "columns.box: got 2 columns; expected one or four",
        ),
        ({"box_unit": "metres"}, {"video": "v"}, "box_unit"),
        ({"time": "frames"}, {"video": "v"}, "time: frames need fps or columns.fps"),
        ({"time": "frames", "fps": 0}, {"video": "v"}, "fps"),
        ({"file": "video.mp4"}, {"video": "v"}, "file: got 'video.mp4'; expected '{video}' in it"),
        ({"url": "https://h/a"}, {"video": "v"}, "url: got 'https://h/a'; expected '{video}' in it"),
        ({"url": "ftp://h/{video}"}, {"video": "v"}, "url: got 'ftp://h/{video}'; expected http:// or https://"),
        ({"max_mb": 0}, {"video": "v"}, "max_mb"),
        ({"delimiter": "tab"}, {"video": "v"}, "delimiter"),
        ({"delimiter": '"'}, {"video": "v"}, "delimiter"),
        ({"delimiter": "\n"}, {"video": "v"}, "delimiter"),
        ({}, {"start": "s"}, "missing key 'columns.video'"),
        ({}, {"video": "v", "ends": "e"}, "unknown key 'columns.ends'"),
        ({"splits": {"bob": "test"}}, {"video": "v"}, "splits: no input has the identity bob"),
    ],
)
def test_wrong_recipes_are_errors_that_name_the_key(
    tmp_path: Path, keys: dict[str, object], columns: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        csv_items(tmp_path, "v,s,e,f,a,b\nx.mp4\n", columns, **keys)


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        ({"fps": "fps"}, "a,1,2,0", "line 2: column 'fps': got '0'; expected frames a second"),
        ({"fps": "fps"}, "a,1,2,", "line 2: column 'fps': got ''; expected frames a second"),
        ({"fps": "fps"}, "a,1.5,2,25", "line 2: column 's': got '1.5'; expected the number of a frame"),
        ({"fps": "fps"}, "a,1,00:02,25", "line 2: column 'e': got '00:02'; expected a number"),
        ({"fps": "fps"}, "a,-1,2,25", "line 2: column 's': got '-1'; expected the number of a frame"),
    ],
)
def test_wrong_frames_are_errors(tmp_path: Path, columns: dict[str, object], row: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        csv_items(tmp_path, f"v,s,e,fps\n{row}\n", {"video": "v", "start": "s", "end": "e", **columns}, time="frames")


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"table: 'other\.csv' not found; looked for"):
        load_items(recipe_file(tmp_path, kind="csv", table="other.csv", columns={"video": "v"}), tmp_path)


@given(table=st.text(alphabet=st.sampled_from('v,se\n\r";-0123:.\0 xé#/@'), max_size=60))
def test_any_table_gives_sound_inputs_or_an_error(tmp_path: Path, table: str) -> None:
    try:
        items = csv_items(tmp_path, f"v,s,e\n{table}", {"video": "v", "start": "s", "end": "e"})
    except RecipeError:
        return
    assert items
    assert len({item.name for item in items}) == len(items)
    assert all(0 <= item.start_s < item.end_s <= math.inf for item in items)
