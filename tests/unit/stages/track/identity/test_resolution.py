"""Whose clips they are, and in which part: labels, look-alikes, and what a recipe states."""

from dataclasses import replace
from pathlib import Path

import pytest

from mggtalk.errors import StageError
from mggtalk.records import Split, VideoRecord
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.splits import split_of
from mggtalk.stages.track.identity.embedding import ClipEmbedding
from mggtalk.stages.track.identity.resolution import (
    IDENTITIES_FILE,
    read_identities,
    resolve_identities,
    write_identities,
)
from tests.support.footage import record_of

CONFIG = IngestConfig(recipe="", watch="", val_fraction=0.2, test_fraction=0.3)


class Data:
    """Videos of one clip each unless said otherwise; faces are places on a line."""

    def __init__(self):
        self.videos: dict[str, VideoRecord] = {}
        self.embeddings: dict[str, ClipEmbedding] = {}

    def add(self, file, *faces, identity="", split=None):
        """Add a video `file` (a digit) with a clip for each face (None: no embedding)."""
        sha256 = str(file) * 64
        identity = identity or f"video:{sha256[:16]}"
        by_hash = split_of(identity, CONFIG.val_fraction, CONFIG.test_fraction)
        for number, face in enumerate(faces):
            clip_id = f"{sha256[:16]}-f{100 * number:06d}"
            record = record_of(Path(__file__), video_id=sha256[:16], sha256=sha256, identity=identity)
            self.videos[clip_id] = replace(record, split=split or by_hash, split_stated=split is not None)
            if face is not None:
                self.embeddings[clip_id] = ClipEmbedding(clip_id, (face, 0.0), 0.1, 8)
        return self

    def resolved(self):
        return resolve_identities(self.videos, self.embeddings, CONFIG)

    def identities(self):
        return {f"{row.clip_id[0]}{int(row.clip_id[-6:]) // 100}": row.identity for row in self.resolved()}

    def splits(self):
        return {row.clip_id[0]: row.split for row in self.resolved()}


def video(file):
    return f"video:{str(file) * 16}"


def hashed(identity):
    return split_of(identity, CONFIG.val_fraction, CONFIG.test_fraction)


def test_videos_of_one_face_take_the_identity_of_the_smallest_hash():
    data = Data().add(7, 0.1).add(3, 0.0).add(5, 9.0)
    assert data.identities() == {"30": video(3), "50": video(5), "70": video(3)}
    assert data.splits()["7"] is data.splits()["3"] is hashed(video(3))


def test_a_lone_video_keeps_the_identity_and_the_split_that_ingest_gave_it():
    data = Data()
    for file in range(10):
        data.add(file, 10.0 * file)
    for row in data.resolved():
        record = data.videos[row.clip_id]
        assert (row.identity, row.labelled, row.split) == (record.identity, record.identity, record.split)
    assert set(data.splits().values()) == set(Split)


def test_an_unlabelled_video_takes_the_nearest_label_and_its_split():
    data = Data().add(1, 0.0, identity="ada", split=Split.TEST).add(2, 0.5, identity="bob", split=Split.VAL)
    data.add(3, 0.3).add(4, 9.0)
    rows = {row.clip_id[0]: row for row in data.resolved()}
    assert (rows["3"].identity, rows["3"].split, rows["3"].cluster) == ("bob", Split.VAL, video(3))
    assert rows["4"].identity == video(4)
    assert rows["1"].cluster == ""


def test_a_cluster_takes_a_label_as_a_whole():
    """The second is too far from the label by itself."""
    data = Data().add(1, 0.0, identity="ada").add(2, 0.3).add(3, 0.45)
    assert data.identities() == {"10": "ada", "20": "ada", "30": "ada"}


def test_labelled_people_stay_two_however_alike_they_look():
    data = Data().add(1, 0.0, identity="ada").add(2, 0.01, identity="bob")
    assert data.identities() == {"10": "ada", "20": "bob"}


def test_two_people_of_one_file_have_two_identities():
    data = Data().add(4, 0.0, 5.0, 0.1).add(6, 5.1)
    assert data.identities() == {"40": video(4), "41": f"{video(4)}-2", "42": video(4), "60": f"{video(4)}-2"}


def test_a_label_stands_for_the_face_that_its_video_shows_most():
    data = Data().add(1, 0.0, 5.0, 0.1, identity="ada").add(2, 5.0).add(3, 0.0)
    assert data.identities()["20"] == video(2)
    assert data.identities()["30"] == "ada"
    assert data.identities()["11"] == "ada"  # the recipe's word


def test_clips_without_an_embedding_keep_their_label():
    data = Data().add(1, None, identity="ada").add(2, None)
    rows = data.resolved()
    assert [row.identity for row in rows] == ["ada", video(2)]
    assert [(row.embedding, row.num_faces, row.cluster) for row in rows] == [((), 0, "")] * 2


@pytest.mark.parametrize("stated", Split)
def test_a_stated_split_stays_and_draws_the_rest_of_the_person_along(stated):
    data = Data().add(1, 0.0).add(2, 0.1, split=stated)
    assert data.identities() == {"10": video(1), "20": video(1)}
    assert data.splits() == {"1": stated, "2": stated}


def test_where_a_recipe_states_several_parts_for_a_person_the_hash_decides_for_the_others():
    data = Data().add(1, 0.0, split=Split.TRAIN).add(2, 0.1, split=Split.TEST).add(3, 0.05)
    assert data.splits() == {"1": Split.TRAIN, "2": Split.TEST, "3": hashed(video(1))}


def test_the_order_of_the_videos_plays_no_part():
    faces = {1: 0.0, 2: 0.2, 3: 5.0, 4: 5.3, 5: 9.0}
    one, other = Data(), Data()
    for file, face in faces.items():
        one.add(file, face)
    for file, face in reversed(faces.items()):
        other.add(file, face)
    assert one.resolved() == other.resolved()


def test_a_new_person_moves_nobody():
    data = Data().add(5, 0.0).add(6, 0.1).add(7, 5.0)
    before = data.identities()
    assert before.items() <= data.add(1, 20.0).identities().items()


def test_the_table_comes_back_as_written(tmp_path):
    rows = Data().add(1, 0.25, None, identity="ada").add(2, 1.5).resolved()
    write_identities(tmp_path, rows)
    assert read_identities(tmp_path) == {row.clip_id: row for row in rows}


def test_no_table_and_a_damaged_one_are_told_apart(tmp_path):
    assert read_identities(tmp_path) is None
    (tmp_path / IDENTITIES_FILE).write_bytes(b"no table")
    with pytest.raises(StageError, match=r"identities\.parquet: cannot be read"):
        read_identities(tmp_path)
