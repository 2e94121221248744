"""Whom a video is about, who else is there, and when hands are looked for: with what a finder would say, handed in."""

import numpy as np
import pytest

from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.perception.landmarks.protocol import FaceDetection
from mggtalk.records import RejectReason
from mggtalk.stages.track.frame_analysis import FrameLimits, FrameObserver

LIMITS = FrameLimits(min_face_px=40.0, second_face_ratio=0.5, min_sharpness=0.0, max_hand_over_face=0.5)
NOISE = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)


def face(left, top=100.0, side=100.0):
    """A face of MediaPipe's points in a square box."""
    points = mediapipe_478().neutral * (1, -1, -1)
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    points[:, :2] = (points[:, :2] - low) / (high - low) * side + (left, top)
    return FaceDetection(points, np.zeros(52, np.float32))


class Finder:
    """Says what it is told to, frame by frame."""

    def __init__(self, *frames, background_faces=()):
        self.frames = list(frames)
        self.background_faces: tuple[float, ...] = background_faces

    def detect(self, image, step_ms):
        return self.frames.pop(0)


class Hands:
    """Counts who asks, and tells what share is covered by the number of the question."""

    def __init__(self, share):
        self.share, self.asked, self.forgot = share, 0, 0

    def forget(self):
        self.forgot += 1

    def covered_fraction(self, image, outline):
        self.asked += 1
        return self.share(self.asked)


class Cuts:
    def __init__(self, *cuts):
        self.cuts, self.frame = cuts, -1

    def begins_shot(self, image):
        self.frame += 1
        return self.frame in self.cuts


def observe(*frames, hands=None, cuts=(), box=(), limits=LIMITS, background_faces=(), image=NOISE, every=25):
    observer = FrameObserver(
        limits,
        Finder(*frames, background_faces=background_faces),
        hands,
        mediapipe_478(),
        Cuts(*cuts),
        hands_every=every,
        box=box,
        step_ms=40,
    )
    return [observer.observe(image) for _ in frames]


def lefts(observations):
    return [round(float(seen.landmarks[:, 0].min())) for seen in observations]


def test_the_main_face_is_followed_though_a_larger_one_comes():
    seen = observe([face(100)], [face(300, side=190), face(110)], [face(290, side=190), face(120)])
    assert lefts(seen) == [100, 110, 120]
    assert [frame.num_faces for frame in seen] == [1, 2, 2]
    assert [frame.status.begins_run for frame in seen] == [True, False, False]
    assert [frame.status.reason for frame in seen] == [None, RejectReason.MULTIPLE_FACES, RejectReason.MULTIPLE_FACES]


def test_a_cut_begins_with_the_largest_face_anew():
    seen = observe([face(100)], [face(105), face(300, side=190)], cuts=(1,))
    assert lefts(seen) == [100, 300]
    assert seen[1].status.begins_run


def test_a_face_that_jumps_or_comes_back_begins_a_run():
    seen = observe([face(100)], [face(201)], [], [face(201)], [face(290)])
    assert [frame.status.begins_run for frame in seen] == [True, True, False, True, False]
    assert seen[2].status.reason is RejectReason.NO_FACE
    assert seen[2].landmarks is None


def test_a_small_bystander_is_counted_and_no_fault():
    (seen,) = observe([face(100), face(300, side=49)])
    assert (seen.status.reason, seen.num_faces) == (None, 2)
    (seen,) = observe([face(100)], background_faces=(60.0, 20.0))
    assert (seen.status.reason, seen.num_faces) == (RejectReason.MULTIPLE_FACES, 3)


def test_a_box_says_whom_the_video_is_about():
    seen = observe([face(300, side=190), face(100)], box=(90.0, 90.0, 210.0, 210.0))
    assert lefts(seen) == [100]
    assert seen[0].status.reason is None
    assert seen[0].num_faces == 2


def test_reasons_that_a_face_gives():
    flat = np.full_like(NOISE, 90)
    limits = FrameLimits(40.0, 0.5, min_sharpness=10.0, max_hand_over_face=0.5)
    assert observe([face(100, side=39)])[0].status.reason is RejectReason.FACE_TOO_SMALL
    assert observe([face(100)], limits=limits, image=flat)[0].status.reason is RejectReason.BLURRED
    assert observe([face(100)], limits=limits)[0].status.reason is None
    covered = observe([face(100)], hands=Hands(lambda _: 0.6))[0]
    assert covered.status.reason is RejectReason.HAND_OVER_FACE
    assert covered.hand_over_face == pytest.approx(0.6)


def test_hands_are_looked_for_rarely_and_often_while_they_are_there():
    none, some = Hands(lambda _: 0.0), Hands(lambda asked: 0.2 if asked < 4 else 0.0)
    observe(*[[face(100)]] * 51, hands=none)
    assert none.asked == 3  # frames 0, 25 and 50
    assert none.forgot == 1
    seen = observe(*[[face(100)]] * 51, hands=some)
    assert some.asked == 5  # 0, 5, 10 with hands; 15, 40 without
    assert [frame.hand_over_face > 0 for frame in seen] == [True] * 15 + [False] * 36


def test_another_face_is_looked_at_for_hands_at_once():
    hands = Hands(lambda _: 0.0)
    observe([face(100)], [face(100)], [face(300)], [], [face(300)], hands=hands)
    assert hands.asked == 3


def test_near_the_border_a_face_is_measured_as_far_as_it_is_there():
    (seen,) = observe([face(-60, top=-70)])
    assert seen.sharpness > 0


def test_of_several_reasons_the_first_one_counts():
    """Others before size, size before sharpness, sharpness before hands."""
    flat = np.full_like(NOISE, 90)
    limits = FrameLimits(40.0, 0.5, min_sharpness=10.0, max_hand_over_face=0.5)
    small, large = face(100, side=39), face(100)

    def reason(*faces, image=flat):
        return observe(list(faces), hands=Hands(lambda _: 0.6), limits=limits, image=image)[0].status.reason

    assert reason(small, face(300, side=38)) is RejectReason.MULTIPLE_FACES
    assert reason(small) is RejectReason.FACE_TOO_SMALL
    assert reason(large) is RejectReason.BLURRED
    assert reason(large, image=NOISE) is RejectReason.HAND_OVER_FACE


def test_limits_are_where_they_are_stated():
    assert observe([face(100), face(300, side=50)])[0].status.reason is RejectReason.MULTIPLE_FACES  # at least half
    assert observe([face(100)], hands=Hands(lambda _: 0.5))[0].status.reason is None  # no more than half
    everything = FrameLimits(40.0, 0.5, min_sharpness=0.0, max_hand_over_face=1.0)
    assert observe([face(100)], hands=Hands(lambda _: 1.0), limits=everything)[0].status.reason is None


def test_who_stands_aside_is_counted_where_the_main_face_is_lost():
    (seen,) = observe([], background_faces=(60.0, 20.0))
    assert (seen.status.reason, seen.num_faces) == (RejectReason.NO_FACE, 2)


def test_hands_are_never_looked_for_more_rarely_than_asked():
    hands = Hands(lambda _: 0.2)
    observe(*[[face(100)]] * 12, hands=hands, every=3)
    assert hands.asked == 4


def test_a_box_does_not_take_the_face_that_is_followed_away():
    seen = observe([face(100)], [face(150), face(300, side=60)], box=(90.0, 90.0, 210.0, 210.0))
    seen += observe([face(300)], [face(310), face(100)], box=(290.0, 90.0, 410.0, 210.0), cuts=(1,))
    assert lefts(seen) == [100, 150, 300, 310]
