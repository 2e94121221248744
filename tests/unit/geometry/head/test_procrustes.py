import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mggtalk.geometry.head.procrustes import align, solve_symmetric_shape
from tests.support.heads import LANDMARKS, PRIOR, RIGID, angle_deg, symmetric_shape, turned


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_align_recovers_a_known_similarity(seed, with_scale):
    random = np.random.default_rng(seed)
    shape = random.normal(size=(9, 3))
    scale = random.uniform(0.2, 8, 4) if with_scale else np.ones(4)
    rotation, translation = Rotation.random(4, rng=random).as_matrix(), random.normal(scale=30, size=(4, 3))
    points = scale[:, None, None] * np.einsum("tij,nj->tni", rotation, shape) + translation[:, None]
    fit = align(shape, points, random.uniform(0.1, 2, 9), with_scale=with_scale)
    np.testing.assert_allclose(fit.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose(fit.scale, scale, rtol=1e-9)
    np.testing.assert_allclose(fit.translation, translation, atol=1e-8)
    np.testing.assert_allclose(fit.inverse_apply(points), np.tile(shape, (4, 1, 1)), atol=1e-8)


@given(st.integers(0, 2**32 - 1))
def test_align_gives_a_rotation_even_where_a_reflection_would_fit_better(seed):
    shape = np.random.default_rng(seed).normal(size=(9, 3))
    fit = align(shape, (shape * (-1, 1, 1))[None], np.ones(9))
    np.testing.assert_allclose(np.linalg.det(fit.rotation), 1, atol=1e-9)
    np.testing.assert_allclose(fit.rotation[0] @ fit.rotation[0].T, np.eye(3), atol=1e-9)


def test_align_does_not_look_at_points_without_weight():
    random = np.random.default_rng(1)
    shape = random.normal(size=(9, 3))
    rotation = Rotation.random(rng=random).as_matrix()
    points = shape @ rotation.T
    points[0] += 40
    fit = align(shape, points[None], np.array([0.0] + [1.0] * 8))
    np.testing.assert_allclose(fit.rotation[0], rotation, atol=1e-9)


def test_align_is_the_least_squares_solution_under_the_weights():
    random = np.random.default_rng(2)
    shape, points, weights = random.normal(size=(9, 3)), random.normal(size=(1, 9, 3)), random.uniform(0.1, 1, 9)
    fit = align(shape, points, weights)

    def cost(scale, rotation, translation):
        return weights @ ((scale * shape @ rotation.T + translation - points[0]) ** 2).sum(axis=1)

    best = cost(fit.scale[0], fit.rotation[0], fit.translation[0])
    for _ in range(200):
        nearby = Rotation.from_rotvec(random.normal(scale=0.01, size=3)).as_matrix() @ fit.rotation[0]
        moved = fit.translation[0] + random.normal(scale=0.01, size=3)
        assert best <= cost(fit.scale[0] * random.uniform(0.99, 1.01), nearby, moved)


def orthographic(shape, rotation, seed=0, noise=0.0):
    """Points in an image-like frame of 14 pixels a centimetre, each frame a little larger than the one before."""
    random = np.random.default_rng(seed)
    scale = 14 * np.linspace(1, 1.2, len(rotation))[:, None, None]
    moved = scale * np.einsum("tij,nj->tni", rotation, shape) + random.normal(scale=50, size=(len(rotation), 1, 3))
    return moved + random.normal(size=moved.shape) * noise


def test_the_symmetric_shape_of_a_head_that_turns_is_recovered_exactly():
    shape = symmetric_shape(3)
    points = orthographic(shape, turned(np.linspace(-40, 50, 15)))
    solved, trust = solve_symmetric_shape(
        points, PRIOR.template, PRIOR.mirror, PRIOR.weights, PRIOR.eye_corners, PRIOR.eye_distance
    )
    assert np.abs(solved - shape)[RIGID].max() < 0.01
    np.testing.assert_allclose(solved[LANDMARKS.mirror] * (-1, 1, 1), solved, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(np.subtract(*solved[list(LANDMARKS.eye_corners)])), 8.9)
    assert trust.max() == 1
    assert not trust[~RIGID].any()


def test_an_asymmetric_face_gives_a_symmetric_shape_that_is_not_turned():
    """A raised corner of the mouth in all frames: the plane stays where the rest of the face has it."""
    crooked = symmetric_shape(4)
    crooked[[61, 146, 91, 76, 62, 78]] += (0.0, 0.8, 0.2)
    rotation = turned(np.linspace(-30, 30, 11))
    solved, trust = solve_symmetric_shape(
        orthographic(crooked, rotation), PRIOR.template, PRIOR.mirror, PRIOR.weights, PRIOR.eye_corners, 8.9
    )
    fit = align(solved, orthographic(crooked, rotation), trust)
    assert angle_deg(fit.rotation, rotation).max() < 0.5


def test_landmarks_that_move_against_the_rest_lose_trust():
    shape = symmetric_shape(5)
    points = orthographic(shape, turned(np.linspace(-20, 20, 21)), noise=0.5)
    moving = [13, 14, 61, 291]
    points[::2, moving, 1] += 20
    _, trust = solve_symmetric_shape(
        points, PRIOR.template, PRIOR.mirror, PRIOR.weights, PRIOR.eye_corners, PRIOR.eye_distance
    )
    assert trust[moving].max() < 0.05
    assert np.median(trust[RIGID]) > 0.5
