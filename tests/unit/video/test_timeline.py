import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float64

from mggtalk.video.timeline import resample_nearest

steps = st.lists(st.floats(0.004, 0.3), min_size=0, max_size=60)


@st.composite
def presentation_times(draw: st.DrawFn) -> Float64[np.ndarray, " n"]:
    start_s = draw(st.floats(0.0, 5.0))
    return start_s + np.cumsum([0.0, *draw(steps)])


@given(presentation_times(), st.sampled_from([10.0, 24.0, 25.0, 29.97, 60.0]))
def test_each_grid_time_gets_the_nearest_frame(times: Float64[np.ndarray, " n"], fps: float) -> None:
    index = resample_nearest(times, fps)
    grid = times[0] + np.arange(len(index)) / fps
    distance = np.abs(times[index] - grid)
    assert np.all(distance <= np.abs(times[None, :] - grid[:, None]).min(axis=1) + 1e-8)
    assert np.all(np.diff(index) >= 0)
    assert index[0] == 0


@given(presentation_times(), st.sampled_from([24.0, 25.0, 30.0]))
def test_grid_covers_the_video_until_its_last_frame_has_been_shown(
    times: Float64[np.ndarray, " n"], fps: float
) -> None:
    index = resample_nearest(times, fps)
    last_shown = times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 1 / fps)
    assert (len(index) - 1) / fps < last_shown - times[0]
    assert len(index) / fps >= last_shown - times[0] - 2e-3 / fps


@given(presentation_times(), st.floats(0.0, 12.0))
def test_neighbouring_intervals_share_no_frame(times: Float64[np.ndarray, " n"], cut: float) -> None:
    before, after = resample_nearest(times, 25.0, end_s=cut), resample_nearest(times, 25.0, start_s=cut)
    assert np.all(times[before] < cut)
    assert np.all(times[after] >= cut)
    assert len(before) + len(after) > 0


def test_same_rate_is_the_identity_and_lower_rate_picks_known_frames() -> None:
    times = np.arange(60) / 30.0
    np.testing.assert_array_equal(resample_nearest(times, 30.0), np.arange(60))
    assert resample_nearest(times, 25.0)[:8].tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert len(resample_nearest(times, 25.0)) == 50


def test_slow_video_repeats_frames() -> None:
    assert resample_nearest(np.array([0.0, 0.1, 0.2]), 25.0).tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_interval_without_frames_is_empty() -> None:
    assert resample_nearest(np.array([0.0, 0.04]), 25.0, start_s=5.0).size == 0
