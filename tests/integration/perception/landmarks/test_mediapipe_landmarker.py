"""The real landmarker on a real face."""

import cv2
import numpy as np
import pytest

from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.perception.landmarks.mediapipe_landmarker import FaceLandmarker
from mggtalk.perception.landmarks.protocol import FaceDetection
from mggtalk.perception.segmentation.person_segmenter import PersonSegmenter

LANDMARKS = landmark_set(FaceLandmarker.landmark_set)


def detect(path, image):
    with FaceLandmarker(path, video=False) as landmarker:
        return landmarker.detect(image)


@pytest.fixture(scope="module")
def face(face_landmarker_path, face_image):
    (found,) = detect(face_landmarker_path, face_image)
    return found


def test_a_frontal_face_has_all_landmarks_where_a_face_has_them(face, face_image):
    height, width = face_image.shape[:2]
    assert face.landmarks.shape == (478, 3)
    assert (face.landmarks[:, :2] > 0).all()
    assert (face.landmarks[:, :2] < (width, height)).all()
    point = {name: face.landmarks[index] for name, index in LANDMARKS.points.items()}
    assert point["forehead"][1] < point["right_eye_outer"][1] < point["nose_tip"][1] < point["chin"][1]
    assert point["right_eye_outer"][0] < point["nose_tip"][0] < point["left_eye_outer"][0]
    assert point["nose_tip"][2] < point["forehead"][2]  # nearer
    assert 150 < face.size < 190


def test_coefficients_are_named_and_lie_between_0_and_1(face_landmarker_path, face_image):
    with FaceLandmarker(face_landmarker_path) as landmarker:
        assert landmarker.expression_names == ()
        (face,) = landmarker.detect(face_image)
        names = landmarker.expression_names
    assert len(set(names)) == len(face.expression) == 52
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight"} <= set(names)
    assert face.expression.dtype == np.float32
    assert (face.expression >= 0).all()
    assert (face.expression <= 1).all()


def test_a_mirrored_image_gives_the_mirrored_landmarks(face_landmarker_path, face, face_image):
    """The table of mirrored landmarks agrees with the model on a mirrored image."""
    (mirrored,) = detect(face_landmarker_path, face_image[:, ::-1])
    counterparts = mirrored.landmarks[LANDMARKS.mirror]
    counterparts[:, 0] = face_image.shape[1] - counterparts[:, 0]
    distance = np.linalg.norm(counterparts - face.landmarks, axis=1)[:, None]
    assert np.median(distance) < 0.015 * face.size
    assert distance.max() < 0.08 * face.size


def test_two_people_are_two_faces(face_landmarker_path, face_image):
    faces = detect(face_landmarker_path, np.hstack((face_image, face_image)))
    assert len(faces) == 2
    assert faces[0].size == pytest.approx(faces[1].size, rel=0.1)


def test_an_image_without_a_face_has_none(face_landmarker_path, face_image):
    assert detect(face_landmarker_path, np.full_like(face_image, 128)) == []


def test_a_new_landmarker_follows_the_same_frames_to_the_same_numbers(face_landmarker_path, face_image):
    results = []
    for _ in range(2):
        with FaceLandmarker(face_landmarker_path) as landmarker:
            results.append([landmarker.detect(image)[0].landmarks for image in (face_image, face_image[:, 4:])])
    np.testing.assert_array_equal(results[0], results[1])


def test_a_landmarker_that_has_forgotten_is_like_new(face_landmarker_path, face_image):
    """A landmarker follows a face that shrinks to a third, but a new one does not find it at that size."""
    *shrinking, far = (_shrunk(face_image, scale) for scale in (1.0, 0.83, 0.67, 0.55, 0.48, 0.4, 0.33))
    with FaceLandmarker(face_landmarker_path) as new, FaceLandmarker(face_landmarker_path) as used:
        for image in shrinking:
            used.detect(image)
        assert len(used.detect(far)) == 1
        used.forget()
        assert (new.detect(far), used.detect(far)) == ([], [])
        for image in (face_image, face_image[:, 4:]):
            (expected,), (found,) = new.detect(image), used.detect(image)
            np.testing.assert_array_equal(found.landmarks, expected.landmarks)
            np.testing.assert_array_equal(found.expression, expected.expression)


def _shrunk(image, scale):
    """The image made smaller, in the middle of a grey one of the same size."""
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = np.full_like(image, 90)
    top, left = (np.array(image.shape[:2]) - small.shape[:2]) // 2
    frame[top : top + small.shape[0], left : left + small.shape[1]] = small
    return frame


def test_size_box_and_shift_of_a_detection():
    landmarks = np.array([[10.0, 20, 0], [30, 100, 5], [20, 60, 1]])
    face = FaceDetection(landmarks, np.zeros(52, np.float32))
    assert face.box.tolist() == [10, 20, 30, 100]
    assert face.size == pytest.approx(40)
    assert face.shifted(5, 7).landmarks[1].tolist() == [35, 107, 5]


def test_the_person_mask_covers_the_face_and_not_the_background(segmenter_path, face, face_image):
    probability = PersonSegmenter(segmenter_path).segment(face_image)
    assert probability.shape == face_image.shape[:2]
    assert probability.dtype == np.float32
    assert probability.min() >= 0
    assert probability.max() <= 1
    columns, rows = face.landmarks[:, :2].astype(int).T
    assert (probability[rows, columns] > 0.5).mean() > 0.97
    assert np.median(probability[:40, :80]) < 0.2


def test_masks_do_not_depend_on_the_images_before(segmenter_path, face_image):
    segmenter = PersonSegmenter(segmenter_path)
    alone = segmenter.segment(face_image)
    segmenter.segment(np.zeros_like(face_image))
    np.testing.assert_array_equal(segmenter.segment(face_image), alone)
