import cv2
import numpy as np
import pytest
import torch

from mggtalk.errors import StageError
from mggtalk.geometry.cameras import project, transform_points
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.models.batches import DriverBatch
from mggtalk.models.points.condition_masks import EyeMouthMasks
from tests.support.synthetic_head import facing_camera
from tests.unit.models.small import driver_and_target, small_predictor, source_batch

SIZE = 128
SETS = ("mediapipe_478", "ibug_68")


def seen_from(*yaws, distance=None):
    poses = np.stack([facing_camera(yaw) for yaw in yaws]).astype(np.float32)
    if distance is not None:
        poses[:, 2, 3] = distance
    camera = torch.tensor([[500.0, 0, SIZE / 2], [0, 500.0, SIZE / 2], [0, 0, 1]])
    return DriverBatch(torch.zeros(len(yaws), 2), torch.from_numpy(poses), camera.expand(len(yaws), 3, 3))


def neutral(name):
    return torch.from_numpy(landmark_set(name).neutral).float().unsqueeze(0)


def yawning(name="mediapipe_478"):
    face = neutral(name)
    lower_lip = landmark_set(name).contours["lips_inner"]
    middle = face[:, list(lower_lip), 1].mean()
    for index in lower_lip:
        if face[0, index, 1] < middle:
            face[0, index, 1] -= 2.0
    return face


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("yaw", [0.0, 25.0])
def test_eyes_and_mouth_are_what_their_contours_enclose(name, yaw):
    face, driver = yawning(name), seen_from(yaw)
    planes = EyeMouthMasks(name)(face, driver, SIZE, SIZE)[0]
    pixels = project(transform_points(driver.head_to_camera, face), driver.intrinsics)[0].numpy()
    contours = landmark_set(name).contours
    for plane, parts in ((planes[0], ("right_eye", "left_eye")), (planes[2], ("lips_inner",))):
        away = np.full((SIZE, SIZE), -np.inf)
        for part in parts:
            contour = pixels[list(contours[part])]
            for row, column in np.ndindex(SIZE, SIZE):
                here = cv2.pointPolygonTest(contour, (column + 0.5, row + 0.5), measureDist=True)
                away[row, column] = max(away[row, column], here)
        assert (plane.numpy() == (away > 0))[np.abs(away) > 1e-3].all()
        assert (away > 0).sum() > 40


def test_an_iris_is_where_its_ring_is_and_ends_at_the_lids():
    face, driver = neutral("mediapipe_478"), seen_from(0.0)
    eyes, iris, _ = EyeMouthMasks("mediapipe_478")(face, driver, SIZE, SIZE)[0]
    pixels = project(transform_points(driver.head_to_camera, face), driver.intrinsics)[0]
    assert (iris <= eyes).all()
    for middle, *ring in landmark_set("mediapipe_478").irises.values():
        column, row = pixels[middle].long().tolist()
        assert iris[row, column] > 0.9
        radius = (pixels[ring] - pixels[middle]).norm(dim=-1).mean()
        rows, columns = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
        away = ((columns - pixels[middle, 0]).square() + (rows - pixels[middle, 1]).square()).sqrt() / radius
        beside = (away > 1.6) & (away < 2.0)
        assert iris[beside].max() < 0.05
        assert eyes[beside].any()


def test_lids_that_are_shut_show_no_eye():
    face = neutral("mediapipe_478")
    for name in ("right_eye", "left_eye"):
        lids = list(landmark_set("mediapipe_478").contours[name])
        face[0, lids, 1] = face[0, lids, 1].mean()
    eyes, iris, _ = EyeMouthMasks("mediapipe_478")(face, seen_from(0.0), SIZE, SIZE)[0]
    assert eyes.sum() < 3
    assert iris.sum() < 3


@pytest.mark.parametrize("name", SETS)
def test_lids_that_are_nearly_shut_are_shown_as_clearly_as_open_ones(name):
    face = neutral(name)
    for eye in ("right_eye", "left_eye"):
        lids = list(landmark_set(name).contours[eye])
        height = face[0, lids, 1] - face[0, lids, 1].mean()
        face[0, lids, 1] -= 0.7 * height
        face[0, lids, 2] += 3 * height.clamp(min=0)  # the upper lid lies on the eyeball, so the slit looks up or down
    eyes = EyeMouthMasks(name)(face, seen_from(0.0), SIZE, SIZE)[0, 0]
    assert torch.equal(eyes.unique(), torch.tensor([0.0, 1.0]))


def test_landmarks_without_irises_show_none():
    planes = EyeMouthMasks("ibug_68")(neutral("ibug_68"), seen_from(0.0), SIZE, SIZE)
    assert planes.shape == (1, EyeMouthMasks.NUM_PLANES, SIZE, SIZE)
    assert (planes[0, 1] == 0).all()
    assert planes[0, 0].any()


@pytest.mark.parametrize("name", SETS)
def test_what_is_turned_away_fades_until_it_is_gone(name):
    masks, yaws = EyeMouthMasks(name), (0.0, 60.0, 80.0, 130.0, 180.0)
    planes = masks(yawning(name).repeat(len(yaws), 1, 1), seen_from(*yaws), SIZE, SIZE)
    brightest = planes.amax(dim=(2, 3))
    assert torch.equal(brightest[0, [0, 2]], torch.ones(2))
    assert (brightest[3:] == 0).all()
    side = planes[1, 0].nonzero()[:, 1].float()
    assert planes[1, 0].unique().numel() <= 3  # nothing, and two eyes that fade by themselves
    assert side.max() - side.min() > 3
    assert planes[2, 0].amax() <= planes[1, 0].amax()


def test_heads_of_a_batch_have_their_own():
    masks, face = EyeMouthMasks("mediapipe_478"), neutral("mediapipe_478")
    both = masks(torch.cat((face, yawning())), seen_from(0.0, 20.0), SIZE, SIZE)
    assert torch.equal(both[:1], masks(face, seen_from(0.0), SIZE, SIZE))
    assert torch.equal(both[1:], masks(yawning(), seen_from(20.0), SIZE, SIZE))


def test_an_image_need_not_be_square():
    masks, face, driver = EyeMouthMasks("mediapipe_478"), yawning(), seen_from(10.0)
    assert torch.equal(masks(face, driver, 70, 100), masks(face, driver, SIZE, SIZE)[..., :70, :100])


def test_what_is_behind_the_camera_is_not_drawn():
    driver = seen_from(0.0)
    driver.head_to_camera[:, [0, 2]] *= -1  # half a turn about the camera, so it faces the camera as before
    assert EyeMouthMasks("mediapipe_478")(yawning(), seen_from(0.0), SIZE, SIZE).any()
    assert not EyeMouthMasks("mediapipe_478")(yawning(), driver, SIZE, SIZE).any()
    around = EyeMouthMasks("mediapipe_478")(yawning(), seen_from(0.0, distance=0.0), SIZE, SIZE)
    assert not around.any()


def test_an_iris_that_no_camera_could_see_takes_no_other_with_it():
    face, driver, masks = neutral("mediapipe_478"), seen_from(0.0), EyeMouthMasks("mediapipe_478")
    whole = masks(face, driver, SIZE, SIZE)[0, 1]
    pose = driver.head_to_camera[0]
    right, left = landmark_set("mediapipe_478").irises.values()
    face[0, list(right)] = -pose[:3, :3].T @ pose[:3, 3]  # where the camera is
    eyes, iris, _ = masks(face, driver, SIZE, SIZE)[0]
    assert iris.isfinite().all()
    assert eyes.any()
    assert 0.4 * whole.sum() < iris.sum() < 0.6 * whole.sum()
    face[0, list(left)] = face[0, left[0]].clone()  # no ring
    iris = masks(face, driver, SIZE, SIZE)[0, 1]
    assert iris.isfinite().all()
    assert iris.sum() < 2


def test_unknown_landmarks_are_named():
    with pytest.raises(StageError, match="landmark set 'none'"):
        EyeMouthMasks("none")


@torch.no_grad()
def test_blendshapes_open_what_the_source_has_shut():
    predictor = small_predictor(64)
    source = source_batch([(0, 0.0, (0.0, 0.0))], size=64)
    blendshapes = torch.zeros_like(predictor.deformation.blendshapes)
    lower = list(landmark_set("mediapipe_478").contours["lips_inner"][:11])
    blendshapes[lower, 1, 0] = -1.5
    predictor.deformation.init_blendshapes(blendshapes)
    moved = predictor.deformation.displaced_landmarks(source.landmarks, torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(moved - source.landmarks, 2 * blendshapes[None, :, :, 0])
    driver = DriverBatch(source.expression, source.head_to_camera, source.intrinsics)
    before, after = (predictor.condition_masks(face, driver, 64, 64)[0, 2].sum() for face in (source.landmarks, moved))
    assert after > before + 20


@torch.no_grad()
def test_inpainting_gets_the_condition_masks_of_the_driven_face():
    predictor, views = small_predictor(64), [(0, 10.0, (0.3, 0.1)), (1, -5.0, (0.0, 0.2))]
    predictor.deformation.blendshapes.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    source = source_batch(views, size=64)
    driver = driver_and_target([(0, -15.0, (1.0, 0.0)), (1, 20.0, (0.4, 0.6))], size=64)[0]
    inputs = []
    predictor.inpainting.register_forward_pre_hook(lambda _, given: inputs.append(given[3]))
    avatar = predictor.reconstruct(source)
    predictor.compose(avatar, predictor.animate(avatar, driver.expression), driver)
    expression_delta = driver.expression - source.expression
    moved = source.landmarks + torch.einsum("lxc,bc->blx", predictor.deformation.blendshapes, expression_delta)
    assert torch.equal(inputs[0], predictor.condition_masks(moved, driver, 64, 64))
    assert inputs[0].any()
