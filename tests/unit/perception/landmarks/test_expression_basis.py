import numpy as np
import pytest

from mggtalk.geometry.head.landmark_sets import ibug_68, mediapipe_478
from mggtalk.perception.landmarks.expression_basis import (
    NUM_COEFFICIENTS,
    expression_basis,
    fit_expression_basis,
    pca_expression,
    pca_names,
    point_weights,
)

SETS = (mediapipe_478(), ibug_68())
SPARSE = ibug_68()
LIPS_AND_CHIN = np.r_[5:12, 54:60, 64:68, 48]


def jaw_drop(landmarks, cm):
    """The neutral face with its jaw down: not at all above the mouth, fully 3 cm below."""
    return landmarks.neutral - np.clip((-4.3 - landmarks.neutral[:, 1:2]) / 1, 0, 1) * (0, cm, 0.3 * cm)


def raised_brow(landmarks, cm):
    """The neutral face with its left brow up."""
    x, y, z = landmarks.neutral.T
    return landmarks.neutral + ((x > 0.5) & (y > 4) & (z > 0))[:, None] * (0, cm, 0)


@pytest.mark.parametrize("landmarks", SETS, ids=lambda landmarks: landmarks.name)
def test_a_neutral_face_is_in_the_middle_of_every_coefficient(landmarks):
    neutral = landmarks.neutral * 1.1
    expression = pca_expression(np.stack([neutral] * 3), neutral, landmarks.name)
    assert expression.dtype == np.float32
    np.testing.assert_array_equal(expression, np.full((3, NUM_COEFFICIENTS), 0.5))
    assert pca_names(landmarks.name) == tuple(f"pca_{number:02d}" for number in range(NUM_COEFFICIENTS))


def test_coefficients_are_the_same_whichever_set_saw_the_face():
    for moved in (jaw_drop, raised_brow):
        dense, sparse = (
            pca_expression(moved(landmarks, 0.5)[None], landmarks.neutral, landmarks.name) for landmarks in SETS
        )
        np.testing.assert_allclose(dense, sparse, atol=2e-3)  # the canonical face is symmetric to 0.2 mm only


def test_coefficients_grow_with_the_movement_and_stay_between_0_and_1():
    drops = (0.2, 0.4, 0.8, 30.0)
    expression = pca_expression(np.stack([jaw_drop(SPARSE, cm) for cm in drops]), SPARSE.neutral, SPARSE.name)
    change = expression - 0.5
    strongest = np.abs(change[1]).argmax()
    assert abs(change[1, strongest]) > 0.05
    assert change[1, strongest] == pytest.approx(2 * change[0, strongest], rel=1e-4)
    assert expression[3, strongest] in (0.0, 1.0)
    assert expression.min() >= 0
    assert expression.max() <= 1


def test_a_mirrored_face_has_the_mirrored_expression():
    face = raised_brow(SPARSE, 0.5) + jaw_drop(SPARSE, 0.3) - SPARSE.neutral
    mirrored = face[SPARSE.mirror] * (-1, 1, 1)
    seen, reflected = pca_expression(np.stack((face, mirrored)), SPARSE.neutral, SPARSE.name).astype(float)
    symmetric = expression_basis().symmetric
    assert 0 < symmetric.sum() < NUM_COEFFICIENTS
    assert np.abs(seen[~symmetric] - 0.5).max() > 0.05
    np.testing.assert_allclose(reflected[symmetric], seen[symmetric], atol=1e-5)
    np.testing.assert_allclose(reflected[~symmetric], 1 - seen[~symmetric], atol=1e-5)


def test_the_first_component_is_the_mouth_and_the_ends_of_the_jaw_count_for_nothing():
    strength = np.linalg.norm(expression_basis().directions, axis=-1) ** 2
    mouth = strength[0, LIPS_AND_CHIN].sum() / strength[0].sum()
    assert mouth > 0.7
    assert not strength[:, [0, 1, 2, 3, 13, 14, 15, 16]].any()


def test_a_fit_finds_the_movements_that_faces_were_made_from():
    random = np.random.default_rng(1)
    movements = np.stack((jaw_drop(SPARSE, 1.0) - SPARSE.neutral, raised_brow(SPARSE, 1.0) - SPARSE.neutral))
    clips = []
    for length in (40, 60):
        shape_of_the_face = random.normal(scale=0.5, size=(68, 3))  # constant over a clip: no expression
        clips.append(np.einsum("tm,mni->tni", random.uniform(0, 1, (length, 2)), movements) + shape_of_the_face)
    basis, explained = fit_expression_basis(clips, SPARSE.mirror, num_coefficients=3)
    assert explained == pytest.approx(1.0)  # the jaw, both brows, one brow against the other
    assert sorted(basis.symmetric) == [False, True, True]
    for movement in movements:
        still = np.zeros_like(movement)
        before, after = np.einsum("tni,kni->tk", np.stack((still, movement)), basis.directions)
        # The three numbers tell the movement whole: together they are as long as it is itself.
        assert np.linalg.norm(after - before) == pytest.approx(np.linalg.norm(movement * point_weights()))
    _, explained_by_one = fit_expression_basis(clips, SPARSE.mirror, num_coefficients=1)
    assert explained_by_one < 0.98
