"""Fraction of a face that hands cover: on shapes of known area, and with a hand on a cheek."""

import numpy as np
import pytest

from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.perception.landmarks.hands import HandFinder, covered_fraction
from mggtalk.perception.landmarks.mediapipe_landmarker import FaceLandmarker
from mggtalk.video.decode import open_video

SQUARE = np.array([[100.0, 100], [200, 100], [200, 200], [100, 200]])
OUTLINE = list(mediapipe_478().contours["face_oval"])


def test_fractions_of_a_square():
    half = SQUARE + np.array([50, 0])
    assert covered_fraction(SQUARE, []) == 0
    assert covered_fraction(SQUARE, [SQUARE]) == 1
    assert covered_fraction(SQUARE, [half]) == pytest.approx(0.5, abs=0.02)
    assert covered_fraction(SQUARE, [half, half]) == pytest.approx(0.5, abs=0.02)  # what two hands cover counts once
    assert covered_fraction(SQUARE, [half, SQUARE - np.array([0, 50])]) == pytest.approx(0.75, abs=0.03)
    assert covered_fraction(SQUARE, [SQUARE + np.array([300, 0])]) == 0


def test_the_hull_of_the_joints_counts():
    triangle = np.array([[100.0, 100], [200, 100], [100, 200], [120, 120]])
    assert covered_fraction(SQUARE, [triangle]) == pytest.approx(0.5, abs=0.03)


def covered_fractions(finder, models, path, start_s, end_s, every=10):
    found = []
    with FaceLandmarker(models["face_landmarker"]) as landmarker:
        for number, image in enumerate(open_video(str(path), 25.0, start_s, end_s).frames()):
            if number % every == 0:
                faces = landmarker.detect(image)
                found.append(finder.covered_fraction(image, faces[0].landmarks[OUTLINE, :2]) if faces else 0.0)
    return found


@pytest.fixture
def finder(track_models):
    return HandFinder(track_models["palm_detection"], track_models["hand_landmark"])


def test_a_hand_on_the_cheek_is_found_and_followed(finder, track_models, sample_videos):
    """From 2.5 to 9.5 s a hand is over her cheek, nose and mouth."""
    path = sample_videos["WolfgangLanger_Pexels.mp4"]
    there = covered_fractions(finder, track_models, path, 2.0, 9.0)
    assert there[0] == 0
    assert np.mean(np.array(there[4:]) > 0.05) > 0.8
    finder.forget()
    assert covered_fractions(finder, track_models, sample_videos["single_face.mp4"], 0.0, 2.4) == [0.0] * 6


def test_a_finder_that_has_forgotten_is_like_new(finder, track_models, sample_videos):
    path = sample_videos["WolfgangLanger_Pexels.mp4"]
    first = covered_fractions(finder, track_models, path, 3.0, 4.0)
    assert max(first) > 0
    finder.forget()
    assert covered_fractions(finder, track_models, path, 3.0, 4.0) == first
