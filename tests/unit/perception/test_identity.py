import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.perception.identity import IdentityUnavailable, five_points, load_identity_encoder
from tests.support.faces import LANDMARK_SETS


def test_without_a_wish_or_weights_the_reason_is_given(tmp_path):
    unasked = load_identity_encoder(None)
    assert isinstance(unasked, IdentityUnavailable)
    assert "asked for" in unasked.reason
    missing = load_identity_encoder(tmp_path / "weights.dat")
    assert isinstance(missing, IdentityUnavailable)
    expected = "weights.dat" if importlib.util.find_spec("dlib") else "dlib is not installed"
    assert expected in missing.reason
    assert str(tmp_path) not in missing.reason


@pytest.mark.parametrize("landmarks", LANDMARK_SETS, ids=lambda landmarks: landmarks.name)
def test_the_five_points_are_those_that_dlib_aligns_by(landmarks):
    """Compare to dlib's own mean face: eyes level, outer corners outside, the nose base below and between."""
    shape = landmarks.neutral
    points_px = np.column_stack([shape[:, 0], -shape[:, 1]])  # x to the person's left, which is the image's right
    right_outer, right_inner, left_outer, left_inner, nose = five_points(points_px, landmarks)
    assert right_outer[0] > right_inner[0] > nose[0] > left_inner[0] > left_outer[0]
    span = right_outer[0] - left_outer[0]
    # dlib: eye corners at 0.121, 0.334, 0.646, 0.860 and the nose base 0.414 below them, in a face of width 1.
    assert (right_inner[0] - left_inner[0]) / span == pytest.approx((0.646 - 0.334) / (0.860 - 0.121), abs=0.08)
    assert (nose[1] - right_outer[1]) / span == pytest.approx(0.414 / (0.860 - 0.121), abs=0.12)
    assert nose[0] == pytest.approx(0.0, abs=0.1)


def test_landmarks_of_another_set_are_refused():
    with pytest.raises(ValueError, match=r"mediapipe_478, shape \(478, 2\), got shape \(68, 2\)"):
        five_points(np.zeros((68, 2)), mediapipe_478())


def test_the_reason_never_names_a_place_on_this_machine():
    reason = load_identity_encoder(Path("/somewhere/private/net.dat"))
    assert isinstance(reason, IdentityUnavailable)
    assert "/somewhere" not in reason.reason
