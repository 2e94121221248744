import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.records import Split
from mggtalk.stages.ingest.splits import split_of


@given(st.text(), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 1))
def test_larger_fractions_move_people_only_into_test(identity: str, val: float, test: float, part: float) -> None:
    if split_of(identity, val, test * part) is Split.TEST:
        assert split_of(identity, val, test) is Split.TEST


def test_splits_of_many_people_have_the_stated_sizes() -> None:
    splits = [split_of(f"person {number}", 0.1, 0.2) for number in range(4000)]
    assert splits.count(Split.TEST) == pytest.approx(800, abs=80)
    assert splits.count(Split.VAL) == pytest.approx(400, abs=60)


def test_split_of_a_person_never_changes() -> None:
    # sha256("alice") starts with 2bd806c9, the fraction 0.1713.
    assert split_of("alice", 0.0, 0.1712) is Split.TRAIN
    assert split_of("alice", 0.0, 0.1713) is Split.TEST
