import pytest
import torch

from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.models.points.surface_binding import FaceSurface, SurfaceBinding

MEDIAPIPE = FaceSurface("mediapipe_478")
NEUTRAL = torch.from_numpy(landmark_set("mediapipe_478").neutral).float()
EYE = list(landmark_set("mediapipe_478").contours["right_eye"])
RIGHT_IRIS, LEFT_IRIS = slice(468, 473), slice(473, 478)


def bind(points: torch.Tensor, surface: FaceSurface = MEDIAPIPE, landmarks: torch.Tensor = NEUTRAL) -> SurfaceBinding:
    return surface.bind(points[None], landmarks[None])


def interpolated(points: torch.Tensor, moved: torch.Tensor, surface: FaceSurface = MEDIAPIPE) -> torch.Tensor:
    """Return where points on the neutral face go when its landmarks go by `moved`."""
    return bind(points, surface).interpolate(surface.control_points(moved[None]))[0]


def on_surface(count: int = 200, seed: int = 0) -> torch.Tensor:
    """Return points within triangles of the neutral face."""
    generator = torch.Generator().manual_seed(seed)
    triangles = MEDIAPIPE.triangles[torch.randint(len(MEDIAPIPE.triangles), (count,), generator=generator)]
    weights = torch.rand(count, 3, generator=generator) + 0.05
    return (NEUTRAL[triangles] * (weights / weights.sum(dim=1, keepdim=True)).unsqueeze(-1)).sum(dim=1)


def test_a_vertex_goes_with_its_own_landmark():
    moved = torch.randn(478, 3, generator=torch.Generator().manual_seed(0))
    moved[468:] = 0
    outside = [
        number for number in range(468) if number not in {*EYE, *landmark_set("mediapipe_478").contours["left_eye"]}
    ]
    torch.testing.assert_close(interpolated(NEUTRAL[outside], moved), moved[outside], atol=1e-3, rtol=0)


def test_points_between_landmarks_keep_their_place_on_a_face_that_is_moved_and_sheared():
    generator = torch.Generator().manual_seed(1)
    matrix, shift = torch.randn(3, 3, generator=generator), torch.randn(3, generator=generator)
    points = on_surface()
    placed = bind(points).on_surface(MEDIAPIPE.control_points((NEUTRAL @ matrix + shift)[None]))[0]
    torch.testing.assert_close(placed, points @ matrix + shift, atol=2e-3, rtol=0)


def test_points_off_the_surface_go_with_what_is_next_to_them():
    hair = torch.tensor([[0.0, 20.0, -5.0], [3.0, 18.0, 0.0]])
    binding = bind(hair)
    assert (binding.barycentric[..., :3] >= 0).all()
    torch.testing.assert_close(binding.barycentric[..., :3].sum(dim=-1), torch.ones(1, 2))
    assert (binding.barycentric[..., 3:] == 0).all()
    nearest_points = binding.on_surface(MEDIAPIPE.control_points(NEUTRAL[None]))[0]
    assert (nearest_points[:, 1] > NEUTRAL[:, 1].max() - 1.5).all()


def test_the_point_of_the_surface_next_to_each_point_is_found():
    """Against distances to a dense sample of every triangle, which know nothing of edges and corners."""
    generator = torch.Generator().manual_seed(2)
    points = on_surface(500) + 0.3 * torch.randn(500, 3, generator=generator)
    steps = torch.tensor([(a, b, 16 - a - b) for a in range(17) for b in range(17 - a)]) / 16
    samples = (steps @ NEUTRAL[MEDIAPIPE.triangles]).flatten(0, 1)
    nearest = torch.cdist(points, samples).amin(dim=1)
    nearest_points = bind(points).on_surface(MEDIAPIPE.control_points(NEUTRAL[None]))[0]
    away = (points - nearest_points).norm(dim=1)
    assert (away <= nearest + 1e-4).float().mean() > 0.98
    assert (nearest - away).abs().max() < 0.1


def test_children_are_bound_where_they_would_by_themselves():
    points = on_surface(300)
    children = points.unsqueeze(1) + 0.03 * torch.randn(300, 2, 3, generator=torch.Generator().manual_seed(3))
    parents, families = MEDIAPIPE.bind_families(points[None], children[None], NEUTRAL[None])
    alone = bind(points)
    assert torch.equal(parents.control_points, alone.control_points)
    assert torch.equal(parents.barycentric, alone.barycentric)
    control_points = MEDIAPIPE.control_points(NEUTRAL[None])
    apart = families.on_surface(control_points)[0] - bind(children.flatten(0, 1)).on_surface(control_points).reshape(
        300, 2, 3
    )
    assert (apart.norm(dim=-1) > 0.01).float().mean() < 0.02
    assert apart.norm(dim=-1).max() < 0.2
    assert torch.equal(families.control_points[..., 3:], parents.control_points[..., None, 3:].expand(-1, -1, 2, -1))


def test_lids_go_their_own_ways():
    """Skin on a lid goes with it, and is not held back by the other one, nor taken along by the iris between them."""
    lids = [*EYE, *landmark_set("mediapipe_478").contours["left_eye"]]
    moved = torch.zeros(478, 3)
    moved[lids] = torch.randn(len(lids), 3, generator=torch.Generator().manual_seed(4)) * 0.2
    moved[RIGHT_IRIS], moved[LEFT_IRIS] = torch.tensor([0.3, 0.1, 0.0]), torch.tensor([-0.3, 0.0, 0.0])
    for seed in range(5):
        landmarks = NEUTRAL + 0.02 * torch.randn(478, 3, generator=torch.Generator().manual_seed(seed))
        binding = bind(landmarks[lids], landmarks=landmarks)
        torch.testing.assert_close(
            binding.interpolate(MEDIAPIPE.control_points(moved[None]))[0], moved[lids], atol=2e-3, rtol=0
        )


def test_the_eyeball_goes_with_its_iris_and_with_the_lids():
    iris = NEUTRAL[RIGHT_IRIS].mean(dim=0, keepdim=True)
    look = torch.zeros(478, 3)
    look[RIGHT_IRIS] = torch.tensor([0.3, 0.0, 0.0])
    torch.testing.assert_close(interpolated(iris, look), look[[468]], atol=1e-3, rtol=0)
    assert (interpolated(NEUTRAL[[1, 4, 152, 362]], look) == 0).all()
    assert (interpolated(iris, look.roll(5, 0)) == 0).all()
    closing = torch.zeros(478, 3)
    closing[EYE] = torch.tensor([0.0, -0.2, 0.1])
    # Landmarks of the iris that stay where they are under closed lids keep the eyeball there.
    assert interpolated(iris, closing).abs().max() < 1e-3
    closing[RIGHT_IRIS] = closing[EYE[0]]
    torch.testing.assert_close(interpolated(iris, closing), closing[EYE[:1]], atol=1e-3, rtol=0)


def test_heads_of_a_batch_are_apart():
    points, shift = on_surface(50), torch.tensor([0.7, -0.2, 0.1])
    landmarks = torch.stack((NEUTRAL, NEUTRAL * 1.2))
    binding = MEDIAPIPE.bind(torch.stack((points, points * 1.2)), landmarks)
    moved = torch.stack((torch.zeros(478, 3), shift.expand(478, 3)))
    result = binding.interpolate(MEDIAPIPE.control_points(moved))
    assert (result[0] == 0).all()
    torch.testing.assert_close(result[1], shift.expand(50, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(binding.barycentric[0], binding.barycentric[1], atol=1e-3, rtol=0)


def test_values_at_landmarks_learn_from_the_points_that_they_move():
    values = torch.zeros(1, 478, 3, requires_grad=True)
    bind(on_surface(50)).interpolate(MEDIAPIPE.control_points(values)).sum().backward()
    assert values.grad is not None
    assert float(values.grad.sum()) == pytest.approx(150, rel=1e-3)


def test_a_set_without_irises_and_with_fewer_landmarks_than_vertices():
    surface = FaceSurface("ibug_68")
    neutral = torch.from_numpy(landmark_set("ibug_68").neutral).float()
    points = on_surface(100)
    binding = surface.bind(points[None], neutral[None])
    shift = torch.tensor([0.0, 1.0, -0.5])
    moved = binding.interpolate(surface.control_points((neutral + shift)[None]))[0]
    stayed = binding.interpolate(surface.control_points(neutral[None]))[0]
    torch.testing.assert_close(moved - stayed, shift.expand(100, 3), atol=1e-4, rtol=0)
    assert (stayed - points).norm(dim=1).mean() < 0.1
    assert (binding.barycentric[..., 3:] == 0).all()
