import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.records import RejectReason, Segment
from mggtalk.stages.track.clip_segmentation import FrameRun, FrameStatus, main_reason, maximal_runs, split_runs

REASONS = [
    RejectReason.NO_FACE,
    RejectReason.MULTIPLE_FACES,
    RejectReason.FACE_TOO_SMALL,
    RejectReason.EXTREME_POSE,
]


def usable(*, begins_run=False):
    return FrameStatus(None, begins_run)


def dropped(reason, *, begins_run=False):
    return FrameStatus(reason, begins_run)


def statuses(runs):
    return [(run.stop - run.start, run.reason) for run in runs]


def test_one_face_without_a_cut_is_one_clip():
    assert split_runs([usable()] * 30, 25, 100) == [FrameRun(0, 30, None)]


@pytest.mark.parametrize("reason", REASONS)
def test_unusable_frames_part_two_clips(reason):
    runs = split_runs([usable()] * 10 + [dropped(reason)] * 3 + [usable()] * 12, 5, 100)
    assert statuses(runs) == [(10, None), (3, reason), (12, None)]


def test_neighbouring_reasons_are_told_apart_and_a_cut_inside_one_is_not():
    runs = split_runs(
        [
            dropped(RejectReason.NO_FACE),
            dropped(RejectReason.NO_FACE, begins_run=True),
            dropped(RejectReason.EXTREME_POSE),
        ],
        5,
        100,
    )
    assert statuses(runs) == [(2, RejectReason.NO_FACE), (1, RejectReason.EXTREME_POSE)]


def test_a_cut_or_another_face_parts_two_clips():
    runs = split_runs([usable()] * 8 + [usable(begins_run=True)] + [usable()] * 8, 5, 100)
    assert statuses(runs) == [(8, None), (9, None)]


def test_maximal_runs_know_no_length():
    frames = [usable()] * 300 + [usable(begins_run=True)] + [dropped(RejectReason.NO_FACE)]
    assert statuses(maximal_runs(frames)) == [(300, None), (1, None), (1, RejectReason.NO_FACE)]


def test_a_run_that_is_too_short_is_dropped_for_it():
    runs = split_runs([usable()] * 4 + [dropped(RejectReason.NO_FACE)] * 2 + [usable()] * 5, 5, 100)
    assert statuses(runs) == [(4, RejectReason.TOO_SHORT), (2, RejectReason.NO_FACE), (5, None)]


@pytest.mark.parametrize(("count", "pieces"), [(10, [10]), (11, [5, 6]), (20, [10, 10]), (23, [7, 8, 8])])
def test_a_run_that_is_too_long_is_cut_into_the_fewest_even_pieces(count, pieces):
    assert statuses(split_runs([usable()] * count, 5, 10)) == [(length, None) for length in pieces]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 30),
            st.one_of(
                st.sampled_from(REASONS).map(dropped),
                st.builds(usable, begins_run=st.booleans()),
            ),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 12),
    st.integers(0, 20),
)
def test_runs_cover_every_frame_once_and_clips_keep_to_their_limits(parts, min_frames, slack):
    observations = [observation for count, observation in parts for _ in range(count)]
    max_frames = 2 * min_frames - 1 + slack
    runs = split_runs(observations, min_frames, max_frames)
    assert [frame for run in runs for frame in range(run.start, run.stop)] == list(range(len(observations)))
    for run in runs:
        reasons = {observation.reason for observation in observations[run.start : run.stop]}
        if run.reason is None:
            assert min_frames <= run.stop - run.start <= max_frames
            assert reasons == {None}
            assert not any(observation.begins_run for observation in observations[run.start + 1 : run.stop])
        elif run.reason is RejectReason.TOO_SHORT:
            assert run.stop - run.start < min_frames
            assert reasons == {None}
        else:
            assert reasons == {run.reason}


def lost(num_frames, reason):
    return Segment("video", 0, num_frames, None, reason)


def test_the_main_reason_is_the_one_that_cost_most_frames():
    segments = [lost(4, RejectReason.NO_FACE), lost(5, RejectReason.TOO_SHORT), lost(2, RejectReason.NO_FACE)]
    assert main_reason(segments) == (RejectReason.NO_FACE, "6 frames NO_FACE, 5 frames TOO_SHORT")


def test_of_two_reasons_that_cost_as_much_the_first_by_name_is_given():
    segments = [lost(3, RejectReason.TOO_SHORT), lost(3, RejectReason.EXTREME_POSE)]
    assert main_reason(segments)[0] is RejectReason.EXTREME_POSE
    assert main_reason(segments[::-1]) == main_reason(segments)
