"""Regions that the landmarker gets to see, with fake landmarker and detector; and both real ones on a far face."""

import cv2
import numpy as np
import pytest

from mggtalk.perception.landmarks.face_detector import FaceBox, FullRangeFaceDetector
from mggtalk.perception.landmarks.face_finder import FaceFinder
from mggtalk.perception.landmarks.mediapipe_landmarker import FaceLandmarker
from mggtalk.perception.landmarks.protocol import FaceDetection

FRAME = np.zeros((1080, 1920, 3), np.uint8)


class Landmarker:
    """Sees `face` (left, top, side in the frame) if it is large enough in the given image."""

    landmark_set = "test"
    expression_names: tuple[str, ...] = ()

    def __init__(self, face=None):
        self.face, self.views, self.forgot = face, [], 0
        self.region = (0, 0)

    def detect(self, image, step_ms=40):
        self.views.append(image.shape[:2])
        if self.face is None or self.face[2] < 0.2 * min(image.shape[:2]):
            return []
        left, top, side = self.face[0] - self.region[0], self.face[1] - self.region[1], self.face[2]
        return [FaceDetection(np.array([[left, top, 0.0], [left + side, top + side, 0.0]]), np.zeros(0, np.float32))]

    def forget(self):
        self.forgot += 1

    def close(self):
        """Nothing to release."""


class Detector:
    def __init__(self, *boxes):
        self.boxes, self.asked, self.sizes = list(boxes), 0, []

    def detect(self, image):
        self.asked += 1
        self.sizes.append(image.shape[:2])
        return self.boxes


def test_a_large_face_is_seen_in_the_whole_frame_and_nobody_asks_the_detector():
    landmarker, detector = Landmarker((500, 300, 400)), Detector()
    finder = FaceFinder(landmarker, detector)
    (face,) = finder.detect(FRAME, 40)
    assert face.box.tolist() == [500, 300, 900, 700]
    assert (detector.asked, landmarker.views) == (0, [(1080, 1920)])


def test_where_nobody_is_the_detector_is_asked_every_fifth_frame():
    detector = Detector()
    finder = FaceFinder(Landmarker(), detector)
    assert [finder.detect(FRAME, 40) for _ in range(11)] == [[]] * 11
    assert detector.asked == 3


def test_a_far_face_gets_a_region_which_follows_it():
    landmarker, detector = Landmarker((1000, 500, 100)), Detector(FaceBox(1000, 500, 1100, 600))
    finder = FaceFinder(landmarker, detector)
    landmarker.region = (925, 425)  # 2.5 faces around it
    (face,) = finder.detect(FRAME, 40)
    assert face.box.tolist() == [1000, 500, 1100, 600]
    assert landmarker.views == [(1080, 1920), (250, 250)]
    forgot = landmarker.forgot
    landmarker.face = (1055, 500, 100)  # to the border of the region
    (face,) = finder.detect(FRAME, 40)
    assert face.box.tolist() == [1055, 500, 1155, 600]
    assert landmarker.forgot == forgot + 1  # it sees another region from now on
    landmarker.region = (980, 425)
    assert finder.detect(FRAME, 40)[0].box.tolist() == [1055, 500, 1155, 600]


def test_a_lost_face_leaves_its_region():
    landmarker, detector = Landmarker((1000, 500, 100)), Detector(FaceBox(1000, 500, 1100, 600))
    finder = FaceFinder(landmarker, detector)
    landmarker.region = (925, 425)
    finder.detect(FRAME, 40)
    finder.detect(FRAME, 40)
    landmarker.face, detector.boxes = None, []
    finder.detect(FRAME, 40)
    finder.detect(FRAME, 40)
    assert landmarker.views[-1] == (1080, 1920)


def test_background_faces_are_counted_and_not_forgotten_at_once():
    landmarker = Landmarker((1000, 500, 100))
    detector = Detector(FaceBox(1000, 500, 1100, 600), FaceBox(100, 100, 190, 190))
    finder = FaceFinder(landmarker, detector)
    landmarker.region = (925, 425)
    finder.detect(FRAME, 40)
    assert finder.background_faces == (90.0,)
    detector.boxes = detector.boxes[:1]
    for _ in range(13):
        finder.detect(FRAME, 40)
    assert detector.asked == 2
    assert finder.background_faces == (90.0,)
    for _ in range(60):
        finder.detect(FRAME, 40)
    assert not finder.background_faces


def test_a_box_is_all_that_is_looked_at():
    landmarker, detector = Landmarker((430, 330, 150)), Detector()
    finder = FaceFinder(landmarker, detector, (400.0, 300.0, 600.0, 500.0))
    landmarker.region = (350, 250)
    (face,) = finder.detect(FRAME, 40)
    assert face.box.tolist() == [430, 330, 580, 480]
    assert landmarker.views == [(300, 300)]
    landmarker.face = None
    finder.detect(FRAME, 40)
    assert detector.sizes == [(300, 300)]


def test_a_face_without_a_position_is_none():
    landmarker = Landmarker((float("nan"), 300, 400))
    assert FaceFinder(landmarker, Detector()).detect(FRAME, 40) == []


@pytest.mark.parametrize("corner", [(300, 200), (900, 600), (1600, 700)])
def test_a_face_of_150_px_is_found_in_a_full_hd_frame(track_models, face_image, corner):
    """FaceLandmarker alone does not find it."""
    with FaceLandmarker(track_models["face_landmarker"], video=False) as alone:
        (whole,) = alone.detect(face_image)
        scale = 150 / whole.size
        small = cv2.resize(face_image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        frame = np.full((1080, 1920, 3), 90, np.uint8)
        left, top = np.array(corner) - (whole.box[:2] * scale).astype(int)
        low, high = np.maximum((left, top), 0), np.minimum((left + small.shape[1], top + small.shape[0]), (1920, 1080))
        frame[low[1] : high[1], low[0] : high[0]] = small[low[1] - top : high[1] - top, low[0] - left : high[0] - left]
        assert alone.detect(frame) == []
    with FaceLandmarker(track_models["face_landmarker"]) as landmarker:
        detector = FullRangeFaceDetector(track_models["face_detection_full_range"])
        (found,) = FaceFinder(landmarker, detector).detect(frame, 40)
    expected = whole.landmarks[:, :2] * scale + (left, top)
    assert found.size == pytest.approx(150, rel=0.05)
    assert np.median(np.linalg.norm(found.landmarks[:, :2] - expected, axis=1)) < 0.03 * 150


class Script:
    """A landmarker that sees, frame by frame, faces (left, top, side) in the pixels of its own view."""

    landmark_set = "test"
    expression_names: tuple[str, ...] = ()

    def __init__(self, *views):
        self.views, self.forgot = list(views), 0

    def detect(self, image, step_ms=40):
        faces = self.views.pop(0) if self.views else []
        corners = [np.array([[left, top, 0.0], [left + side, top + side, 0.0]]) for left, top, side in faces]
        return [FaceDetection(points, np.zeros(0, np.float32)) for points in corners]

    def forget(self):
        self.forgot += 1

    def close(self):
        """Nothing to release."""


def test_the_frames_in_which_the_detector_is_asked():
    detector, asked = Detector(), []
    landmarker = Script(*[[]] * 8, [(500, 300, 400)], *[[]] * 7)
    finder = FaceFinder(landmarker, detector)
    for frame in range(16):
        before = detector.asked
        finder.detect(FRAME, 40)
        asked += [frame] * (detector.asked - before)
    assert asked == [0, 5, 9, 14]  # a face at frame 8 begins the count anew
    assert landmarker.forgot == 1  # of the video before, and no more: it always saw the whole frame


def test_a_face_at_the_border_of_the_frame_keeps_its_region():
    face = (0, 75, 100)  # in the region (0, 425) to (175, 675)
    landmarker = Script([], *[[face]] * 5)
    finder = FaceFinder(landmarker, Detector(FaceBox(0, 500, 100, 600)))
    for _ in range(5):
        assert finder.detect(FRAME, 40)[0].box.tolist() == [0, 500, 100, 600]
    assert landmarker.forgot == 2  # for the video, and for the region


def test_the_region_follows_the_largest_face_in_it():
    landmarker = Script([], [(75, 75, 100)], [(0, 0, 30), (75, 75, 100)])
    finder = FaceFinder(landmarker, Detector(FaceBox(1000, 500, 1100, 600)))
    finder.detect(FRAME, 40)
    assert len(finder.detect(FRAME, 40)) == 2
    assert landmarker.forgot == 2


def test_who_is_seen_in_the_region_is_no_background_face():
    boxes = FaceBox(1000, 500, 1100, 600), FaceBox(940, 440, 990, 490), FaceBox(100, 100, 190, 190)
    finder = FaceFinder(Script([], [(75, 75, 100)]), Detector(*boxes))
    finder.detect(FRAME, 40)
    assert finder.background_faces == (90.0,)


def test_where_nobody_is_left_background_faces_are_forgotten():
    detector = Detector(FaceBox(1000, 500, 1100, 600), FaceBox(100, 100, 190, 190))
    finder = FaceFinder(Script([], [(75, 75, 100)]), detector)
    finder.detect(FRAME, 40)
    assert finder.background_faces
    detector.boxes = []
    for _ in range(5):
        finder.detect(FRAME, 40)
    assert not finder.background_faces


def test_within_a_box_the_detector_is_asked_in_pixels_of_the_box():
    detector = Detector(FaceBox(100, 100, 140, 140))  # of the view, which begins at (350, 250)
    finder = FaceFinder(Script([], [(30, 30, 40)]), detector, (400.0, 300.0, 600.0, 500.0))
    (face,) = finder.detect(FRAME, 40)
    assert face.box.tolist() == [450, 350, 490, 390]
