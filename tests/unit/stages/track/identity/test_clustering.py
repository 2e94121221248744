"""Clusters of made embeddings: points on a line, so that every distance is plain to see."""

from random import Random

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from mggtalk.stages.track.identity.clustering import (
    SAME_FILE,
    SAME_PERSON,
    FaceCluster,
    close_pairs,
    cluster,
    cluster_faces,
)


def clip_id(file, start=0):
    return f"{file:016x}-f{start:06d}"


def looks(*places):
    return [FaceCluster(f"{i:016x}", 0, (clip_id(i),), np.array([place, 0.0])) for i, place in enumerate(places)]


def test_clips_of_a_file_are_one_person_unless_surely_two():
    near, far = SAME_FILE - 0.01, 2.0
    found = cluster_faces({clip_id(1, 0): (0.0,), clip_id(1, 50): (far,), clip_id(1, 90): (near,), clip_id(2): (far,)})
    assert [(one.file, one.number, one.clip_ids) for one in found] == [
        (f"{1:016x}", 0, (clip_id(1, 0), clip_id(1, 90))),
        (f"{1:016x}", 1, (clip_id(1, 50),)),
        (f"{2:016x}", 0, (clip_id(2),)),
    ]
    assert found[0].embedding == pytest.approx([near / 2])


def test_intervals_of_a_file_are_that_file():
    ids = [f"{1:016x}-00000000-00005000-f000000", f"{1:016x}-00005000-end-f000000"]
    (one,) = cluster_faces(dict.fromkeys(ids, (0.0,)))
    assert one.clip_ids == tuple(ids)


def test_files_of_one_person_are_joined_and_others_are_not():
    assert SAME_PERSON < SAME_FILE
    found = cluster(looks(0.0, 5.0, SAME_PERSON - 0.01, 5.0 + SAME_PERSON + 0.01))
    assert [[one.file[-1] for one in people] for people in found] == [["0", "2"], ["1"], ["3"]]


def test_a_chain_of_look_alikes_does_not_make_one_person_of_its_ends():
    step = SAME_PERSON - 0.01
    found = cluster(looks(*(number * step for number in range(12))))
    assert max(len(people) for people in found) <= 3


def test_nothing_makes_no_clusters():
    assert cluster([]) == []
    assert cluster_faces({}) == []


def partition(found):
    return {frozenset(one.file for one in people) for people in found}


numbers = st.lists(st.floats(0, 4), min_size=1, max_size=25, unique=True)


@given(numbers, st.randoms(use_true_random=False))
@example([0.0, 3.3e-268], Random(0))  # two rows that scipy would take for a matrix of distances
def test_linkage_by_components_is_linkage_of_the_whole_in_any_order(places, random):
    made = looks(*places)
    distances = np.sort(pdist(np.array(places)[:, None]))
    assume(np.all(np.diff(distances) > 1e-6))  # of equally near pairs the first by file is joined first
    shuffled = made[:]
    random.shuffle(shuffled)
    rows = np.stack([one.embedding for one in made])
    labels = fcluster(linkage(pdist(rows), "average"), SAME_PERSON, "distance") if len(rows) > 1 else np.ones(1)
    whole = {frozenset(made[i].file for i in np.flatnonzero(labels == label)) for label in set(labels)}
    assert partition(cluster(made)) == whole == partition(cluster(shuffled))


@given(numbers)
def test_what_is_far_from_all_moves_nobody(places):
    made = looks(*places)
    stranger = FaceCluster("f" * 16, 0, (), np.array([100.0, 0.0]))
    assert partition(cluster([*made, stranger])) == partition(cluster(made)) | {frozenset({"f" * 16})}


def test_close_pairs_are_found_across_blocks():
    rows = np.arange(2500.0)[:, None]
    first, second, distances = close_pairs(rows, rows, 1.0)
    assert len(first) == 2500 + 2 * 2499
    np.testing.assert_array_equal(np.abs(first - second), distances)
