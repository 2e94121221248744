import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mggtalk.geometry.normals import normals_from_depth
from mggtalk.perception.depth.head_geometry import FaceMeshGeometry, HeadViews
from mggtalk.perception.depth.mesh_depth import (
    HEAD_CENTER,
    HEAD_RADII,
    head_surface,
    mean_head_depth,
    rasterize,
    rasterize_depth,
    vertex_normals,
)
from tests.support.faces import INTRINSICS, LANDMARK_SETS, LANDMARKS, SIZE, person, posed_face, solid


def brute_force(pixels, depth, triangles, height, width):
    """Return the nearest plane through the corners, pixel by pixel; NaN within 1e-9 of an edge, where it is unsure."""
    image = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            hits, unsure = [], False
            for triangle in triangles:
                corners = np.column_stack((pixels[triangle], np.ones(3)))
                if abs(np.linalg.det(corners)) < 1e-9:
                    continue
                weights = np.linalg.solve(corners.T, (column + 0.5, row + 0.5, 1))
                unsure |= bool(np.abs(weights).min() < 1e-9)
                if weights.min() >= 0:
                    hits.append(weights @ depth[triangle])
            image[row, column] = np.nan if unsure else min(hits, default=0)
    return image


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_rasterised_depth_agrees_with_a_loop_over_pixels(seed, count):
    """Random triangles that overlap, leave the image and lie behind each other."""
    random = np.random.default_rng(seed)
    pixels, depth = random.uniform(-5, 15, (8, 2)), random.uniform(20, 60, 8)
    triangles = np.array([random.permutation(8)[:3] for _ in range(count)])
    expected = brute_force(pixels, depth, triangles, 9, 11)
    sure = ~np.isnan(expected)
    got = rasterize_depth(pixels, depth, triangles, 9, 11)
    np.testing.assert_allclose(got[sure], expected[sure], atol=1e-9)


def test_what_is_nearer_hides_what_is_behind_whatever_the_order():
    square = np.array([[1.0, 1.0], [9, 1], [1, 9], [9, 9]])
    pixels = np.concatenate((square, square + 3))
    depth = np.array([50.0] * 4 + [40.0] * 4)
    triangles = np.array([[0, 1, 2], [3, 2, 1], [4, 5, 6], [7, 6, 5]])
    image = rasterize_depth(pixels, depth, triangles, 14, 14)
    assert image[2, 2] == 50
    assert image[6, 6] == 40
    assert image[0, 0] == 0
    np.testing.assert_array_equal(rasterize_depth(pixels, depth, triangles[::-1], 14, 14), image)


def test_a_mesh_has_no_gaps_between_its_triangles():
    face = posed_face(yaw_deg=10)
    image = rasterize_depth(face.pixels, face.depth, LANDMARKS.triangles, SIZE, SIZE)
    assert (ndimage.binary_fill_holes(image > 0) == (image > 0)).all()


UNCUT = np.zeros((SIZE, SIZE), bool)


def ellipsoid_depth(head_to_camera, intrinsics, height, width):
    """Return z in cm where each pixel's ray meets the mean head, or passes closest to its surface."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack((columns, rows, np.ones_like(columns)), axis=-1) @ np.linalg.inv(intrinsics).T
    turn = head_to_camera[:3, :3].T
    direction = rays @ turn.T / HEAD_RADII
    origin = (-turn @ head_to_camera[:3, 3] - HEAD_CENTER) / HEAD_RADII
    squared = (direction**2).sum(axis=-1)
    along = -(direction @ origin) / squared
    return along - np.sqrt(np.maximum(along**2 - (origin @ origin - 1) / squared, 0))


def solve(face, head, landmarks=None):
    shape = face.landmark_set.neutral if landmarks is None else landmarks
    return head_surface(shape, face.head_to_camera, INTRINSICS, head, UNCUT, face.landmark_set).depth


@pytest.fixture(params=LANDMARK_SETS, ids=lambda landmarks: landmarks.name)
def landmarks(request):
    return request.param


@pytest.mark.parametrize("yaw_deg", [0, 30])
def test_inside_the_face_depth_is_that_of_the_mesh(yaw_deg, landmarks):
    face = posed_face(yaw_deg=yaw_deg, landmarks=landmarks)
    surface = face.surface_depth
    depth = solve(face, surface > 0)
    inner = ndimage.binary_erosion(surface > 0, iterations=4)
    same = np.abs(depth - surface)[inner] < 1e-4
    assert same.mean() > (0.99 if yaw_deg == 0 else 0.97)  # walls seen from the side are left to the extension


def test_landmarks_that_face_the_camera_lie_on_the_depth_map(landmarks):
    face = posed_face(yaw_deg=10, pitch_deg=5, landmarks=landmarks)
    depth = solve(face, np.ones((SIZE, SIZE), bool))
    for name in {"nose_tip", "forehead", "right_eye_inner", "left_mouth_corner"} & landmarks.points.keys():
        column, row = face.pixels[landmarks.points[name]].astype(int)
        assert depth[row, column] == pytest.approx(face.depth[landmarks.points[name]], abs=0.15)


@pytest.mark.parametrize("yaw_deg", [0, 15, 30])
def test_the_surface_of_a_head_does_not_tear_at_the_border_of_the_mesh(yaw_deg, landmarks):
    face = posed_face(yaw_deg=yaw_deg, landmarks=landmarks)
    inside = face.surface_depth > 0
    head = person(face.head_to_camera)["head"] | inside
    depth = solve(face, head)
    assert (depth[head] > 0).all()
    assert not depth[~head].any()
    # At the outline of the head itself the surface turns away from the camera.
    facing = ndimage.binary_erosion(head, iterations=3)
    facing &= ~inside | ndimage.binary_dilation(~inside, iterations=2)
    for axis in (0, 1):
        known = np.logical_and(*pairs(facing, axis))
        assert known.sum() > 2000
        assert np.abs(np.subtract(*pairs(depth, axis)))[known].max() < 1


def pairs(image, axis):
    return np.delete(image, -1, axis), np.delete(image, 0, axis)


def test_far_from_the_face_depth_is_that_of_the_mean_head():
    face = posed_face(yaw_deg=50)
    head = solid(face.head_to_camera, HEAD_CENTER, HEAD_RADII * 1.4)
    far = head & (ndimage.distance_transform_edt(face.surface_depth == 0) > 60)
    expected = mean_head_depth(face.head_to_camera, INTRINSICS, head, UNCUT)
    assert far.sum() > 1000
    assert np.abs(solve(face, head) - expected)[far].max() < 0.5


@pytest.mark.parametrize("yaw_deg", [0, 40])
def test_the_mean_head_behind_its_own_outline_is_itself(yaw_deg):
    pose = posed_face(yaw_deg=yaw_deg).head_to_camera
    outline = solid(pose, HEAD_CENTER, HEAD_RADII)
    depth = mean_head_depth(pose, INTRINSICS, outline, UNCUT)
    inner = ndimage.binary_erosion(outline, iterations=6)
    assert np.abs(depth - ellipsoid_depth(pose, INTRINSICS, SIZE, SIZE))[inner].max() < 0.5
    assert not depth[~outline].any()


@pytest.mark.parametrize("size", [0.88, 1.25])
def test_the_mean_head_is_as_wide_as_the_hair(size):
    """Its front stays in place, and at the outline it lies in the plane of the head's centre."""
    pose = posed_face(distance_cm=90).head_to_camera
    hair = solid(pose, HEAD_CENTER, HEAD_RADII * size)
    depth = mean_head_depth(pose, INTRINSICS, hair, UNCUT)
    middle = pose[2, :3] @ HEAD_CENTER + pose[2, 3]
    distance = ndimage.distance_transform_edt(hair)
    assert np.abs(depth - middle)[hair & (distance < 1.5)].mean() < 3.5
    assert depth[hair].min() == pytest.approx(middle - HEAD_RADII[2], abs=0.3)
    inner = hair & (distance > 8)
    assert np.abs(np.diff(depth, axis=1))[inner[:, 1:] & inner[:, :-1]].max() < 0.7
    assert (depth[inner] < middle - 2).all()


def test_where_the_image_ends_the_mean_head_goes_on():
    pose = posed_face().head_to_camera
    outline = solid(pose, HEAD_CENTER, HEAD_RADII)
    cut = np.zeros_like(outline)
    cut[:60] = True
    part = outline & ~cut
    whole = mean_head_depth(pose, INTRINSICS, outline, UNCUT)
    assert np.abs(mean_head_depth(pose, INTRINSICS, part, cut) - whole)[part].mean() < 0.1
    assert np.abs(mean_head_depth(pose, INTRINSICS, part, UNCUT) - whole)[part][:2000].mean() > 0.5


def test_an_open_mouth_lengthens_the_surface(landmarks):
    face = posed_face(landmarks=landmarks)
    opened = landmarks.neutral - np.clip((-3 - landmarks.neutral[:, 1:2]) / 5, 0, 1) * (0, 2.5, 0)
    everywhere = np.ones((SIZE, SIZE), bool)
    closed_depth, open_depth = solve(face, everywhere), solve(face, everywhere, opened)
    below_chin = int(face.pixels[landmarks.points["chin"], 1]) + 8
    assert open_depth[below_chin, SIZE // 2] < closed_depth[below_chin, SIZE // 2] - 0.5
    nose = tuple(face.pixels[landmarks.points["nose_tip"]].astype(int)[::-1])
    assert open_depth[nose] == pytest.approx(closed_depth[nose], abs=1e-3)


def test_a_face_outside_the_image_leaves_the_mean_head():
    face = posed_face()
    intrinsics = INTRINSICS + np.array([[0, 0, 900], [0, 0, 0], [0, 0, 0]])
    head = np.ones((SIZE, SIZE), bool)
    surface = head_surface(LANDMARKS.neutral, face.head_to_camera, intrinsics, head, UNCUT, LANDMARKS)
    np.testing.assert_allclose(surface.depth, mean_head_depth(face.head_to_camera, intrinsics, head, UNCUT), rtol=1e-6)


def test_normals_do_not_fold_where_mesh_and_mean_head_meet(landmarks):
    face = posed_face(yaw_deg=15, landmarks=landmarks)
    head = person(face.head_to_camera)["head"] | (face.surface_depth > 0)
    surface = head_surface(landmarks.neutral, face.head_to_camera, INTRINSICS, head, UNCUT, landmarks)
    forehead = np.zeros_like(head)
    column, row = face.pixels[landmarks.points["nose_tip"]].astype(int)
    forehead[row - 110 : row - 60, column - 30 : column + 30] = True
    steps = np.degrees(np.linalg.norm(np.diff(surface.normals, axis=0), axis=-1))[forehead[1:] & head[1:] & head[:-1]]
    assert np.percentile(steps, 99) < 8
    np.testing.assert_allclose(np.linalg.norm(surface.normals[forehead & head], axis=-1), 1, atol=1e-5)


def test_the_backend_gives_depth_and_its_normals(landmarks):
    face = posed_face(yaw_deg=15, landmarks=landmarks)
    head = person(face.head_to_camera)["head"] | (face.surface_depth > 0)
    geometry = FaceMeshGeometry(landmarks)
    image = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    seen = geometry(
        HeadViews(image, head[None], ~UNCUT, landmarks.neutral[None], face.head_to_camera[None], INTRINSICS)
    )
    depth, normals = seen.depth[0], seen.normals[0]
    assert geometry.name == "facemesh"
    assert depth.dtype == normals.dtype == np.float32
    np.testing.assert_allclose(depth, solve(face, head), atol=0.05)  # it works in the box of the head
    flat, known = normals_from_depth(torch.from_numpy(depth)[None], torch.from_numpy(INTRINSICS).float()[None])
    cosine = (normals * flat[0].numpy()).sum(axis=-1)
    on_mesh = ndimage.binary_erosion(face.surface_depth > 0, iterations=3)
    # On the mesh they are those of a smooth face: a few degrees from the flat triangles', and without their edges.
    assert 0.5 < np.degrees(np.arccos(np.median(cosine[on_mesh].clip(-1, 1)))) < 8
    np.testing.assert_allclose(np.linalg.norm(normals[on_mesh], axis=-1), 1, atol=1e-5)
    inner = on_mesh[:, 1:] & on_mesh[:, :-1]
    edges = [np.abs(np.diff(plane, axis=1)).sum(axis=-1)[inner] for plane in (normals, flat[0].numpy())]
    assert np.percentile(edges[0], 99) < 0.75 * np.percentile(edges[1], 99)
    assert known.sum() > 0.95 * head.sum()
    # The forehead of a head that turns to its left looks to the right of the image.
    column, row = posed_face(yaw_deg=15).pixels[LANDMARKS.points["forehead"]].astype(int)
    assert normals[row + 8, column, 0] > 0.1
    assert normals[row + 8, column, 2] < -0.7


def test_barycentric_coordinates_interpolate_linearly():
    face = posed_face(yaw_deg=20)
    seen = rasterize(face.pixels, face.depth, LANDMARKS.triangles, SIZE, SIZE)
    centers = np.argwhere(seen.covered)[:, ::-1] + 0.5
    np.testing.assert_allclose(seen.interpolate(face.pixels[LANDMARKS.triangles]), centers, atol=1e-6)
    depth = seen.interpolate(face.depth[LANDMARKS.triangles][..., None])[:, 0]
    np.testing.assert_allclose(depth, seen.depth[seen.covered])


def test_vertex_normals_of_a_ball_point_outwards():
    turn, height = np.meshgrid(np.arange(24) * np.pi / 12, np.linspace(-0.95, 0.95, 20))
    ring = np.sqrt(1 - height**2)
    points = np.stack((ring * np.cos(turn), ring * np.sin(turn), height), axis=-1).reshape(-1, 3) * 5
    quads = [(row * 24 + k, row * 24 + (k + 1) % 24, (row + 1) * 24 + k) for row in range(19) for k in range(24)]
    others = [(b, d + (b - a), d) for a, b, d in quads if (b - a) == 1]
    normals = vertex_normals(points, np.array(quads + others))
    inner = np.abs(points[:, 2]) < 4
    assert ((normals * points).sum(-1)[inner] > 5 * 0.98).all()


def test_where_the_video_frame_ends_the_head_goes_on():
    """Run the backend, whose box is that of the mask: nothing above the cut is in it."""
    face = posed_face()
    head = person(face.head_to_camera)["head"] | (face.surface_depth > 0)
    valid = np.ones_like(head)
    valid[:70] = False
    images = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    pose = face.head_to_camera[None]
    whole, part = (
        FaceMeshGeometry(LANDMARKS)(
            HeadViews(images, (head & seen)[None], seen, LANDMARKS.neutral[None], pose, INTRINSICS)
        ).depth[0]
        for seen in (~UNCUT, valid)
    )
    assert (head & ~valid).sum() > 500
    assert np.abs(part - whole)[head & valid].max() < 0.5


@pytest.mark.parametrize("point", ["left_eye_outer", "left_mouth_corner", "forehead"])
def test_what_hides_a_part_of_the_face_does_not_bend_the_rest(point):
    face = posed_face()
    head = person(face.head_to_camera)["head"] | (face.surface_depth > 0)
    column, row = face.pixels[LANDMARKS.points[point]]
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    hand = np.hypot(columns - column, rows - row) < 18
    seen = solve(face, head & ~hand)
    assert np.abs(seen - solve(face, head))[head & ~hand].max() < 3
