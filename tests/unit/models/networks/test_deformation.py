import dataclasses

import pytest
import torch

from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.models.networks.deformation import BoundPoints, DeformationField, Displacement, _spread
from mggtalk.models.points.packed_to_padded import PackedToPadded
from tests.unit.models.small import perturb, small_model

CALM, OPEN = torch.zeros(2, 2), torch.ones(2, 2)
NEUTRAL = torch.from_numpy(landmark_set("mediapipe_478").neutral).float()
GRID = torch.tensor([[-0.05, -0.05, 0.0], [0.05, -0.05, 0.0], [-0.05, 0.05, 0.0], [0.05, 0.05, 0.0]])
"""Offsets of four children, a millimetre apart."""
CHEEKS = [50, 205, 280, 425, 187, 411, 117, 346]


def make_field(scale: float) -> DeformationField:
    torch.manual_seed(0)
    field = DeformationField(small_model())
    perturb(field, scale=scale)
    return field


def some_faces() -> tuple[torch.Tensor, torch.Tensor]:
    """Points and landmarks of two heads."""
    generator = torch.Generator().manual_seed(1)
    landmarks = torch.stack((NEUTRAL, NEUTRAL * 1.1)) + 0.05 * torch.randn(2, 478, 3, generator=generator)
    return torch.randn(2, 20, 3, generator=generator) * 8, landmarks


def bound_to(
    field: DeformationField, points: torch.Tensor, landmarks: torch.Tensor, offsets: torch.Tensor = GRID
) -> BoundPoints:
    """Bind points of two heads, those of the first one first."""
    head = torch.arange(2).repeat_interleave(points.shape[1])
    count = len(head)
    pixel_footprint = torch.full((count,), 0.1)
    packing = PackedToPadded.of(head, 2)
    return field.bind(points.flatten(0, 1), offsets.expand(count, -1, -1), pixel_footprint, packing, landmarks)


def stretching(blendshapes: torch.Tensor) -> DeformationField:
    """Return a field whose first coefficient moves landmarks so, and whose MLP says nothing."""
    field = make_field(0.0)
    field.init_blendshapes(torch.stack((blendshapes, torch.zeros_like(blendshapes)), dim=-1))
    return field


def test_unchanged_expression_moves_nothing_whatever_the_weights():
    for scale in (0.1, 1.0, 10.0):
        field, (points, landmarks) = make_field(scale), some_faces()
        assert (field(points, landmarks, CALM) == 0).all()
        displacement = field.displace(bound_to(field, points, landmarks), CALM)
        assert all((part == 0).all() for part in (displacement.parents, displacement.children, displacement.gradient))


def test_untrained_field_moves_nothing():
    assert (make_field(0.0)(*some_faces(), OPEN) == 0).all()


def test_each_point_follows_the_expression_of_its_own_head():
    moved = make_field(0.5)(*some_faces(), torch.tensor([[0.0, 0.0], [1.0, 0.5]]))
    assert (moved[0] == 0).all()
    assert (moved[1].norm(dim=1) > 0).all()


def test_back_and_forth_are_opposite():
    field = make_field(0.5)
    torch.testing.assert_close(field(*some_faces(), OPEN), -field(*some_faces(), -OPEN))


def test_displacement_keeps_within_its_limit():
    moved = make_field(10.0)(*some_faces(), OPEN)
    limit = small_model().max_displacement_cm
    assert moved.abs().max() <= limit
    assert moved.abs().max() > 0.9 * limit


def test_a_face_that_sits_elsewhere_moves_with_its_landmarks():
    """Uses a field without the position encoding: the surface's own displacement follows the landmarks."""
    field = make_field(0.5)
    with torch.no_grad():
        next(field.body.parameters())[:, : field.encoding.channels] = 0
    _, landmarks = some_faces()
    points = landmarks[:, :20] + 0.05
    shift = torch.tensor([0.0, 1.3, -0.4])
    torch.testing.assert_close(
        field(points, landmarks, OPEN), field(points + shift, landmarks + shift, OPEN), atol=1e-3, rtol=1e-3
    )
    assert (field(points, landmarks, OPEN) - field(points + shift, landmarks, OPEN)).abs().max() > 0.1


def test_landmarks_start_with_their_blendshapes_and_points_between_them_with_the_mean():
    field, (_, landmarks) = make_field(0.0), some_faces()
    blendshapes = torch.randn(478, 3, 2, generator=torch.Generator().manual_seed(2)) * 0.1
    field.init_blendshapes(blendshapes)
    moved = blendshapes.sum(dim=-1)
    expected = torch.tanh(moved / field.max_displacement) * field.max_displacement
    torch.testing.assert_close(
        field(landmarks[:, CHEEKS], landmarks, OPEN), expected[CHEEKS].expand(2, -1, -1), atol=1e-3, rtol=0
    )
    triangles = field.surface.triangles[~field.surface.is_between_lids.any(dim=1)][::50]
    middles = landmarks[:, triangles].mean(dim=2)
    torch.testing.assert_close(
        field(middles, landmarks, OPEN), moved[triangles].mean(dim=1).expand(2, -1, -1), atol=5e-3, rtol=0
    )
    with pytest.raises(ValueError, match=r"blendshapes: expected \(478, 3, 2\), got \(68, 3, 2\)"):
        field.init_blendshapes(blendshapes[:68])


def test_bound_points_move_as_points_that_are_asked_for_alone():
    field, (points, landmarks) = make_field(0.5), some_faces()
    expression_delta = torch.tensor([[0.3, -0.2], [1.0, 0.5]])
    displacement = field.displace(bound_to(field, points, landmarks), expression_delta)
    torch.testing.assert_close(
        displacement.parents.reshape(2, -1, 3), field(points, landmarks, expression_delta), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("count", [1, 4])
def test_children_and_gradient_follow_a_face_that_stretches(count):
    """The surface becomes a fifth wider, half as high and slanted; its points and their children do."""
    matrix = torch.tensor([[0.2, 0.0, 0.0], [0.4, -0.5, 0.0], [0.0, 0.0, 0.0]])  # of rows: x' gets 0.4 y
    field, offsets = stretching(NEUTRAL @ matrix), GRID[:count] if count > 1 else torch.zeros(1, 3)
    landmarks = NEUTRAL.expand(2, -1, -1)
    points = landmarks[:, field.surface.triangles[::7]].mean(dim=2)
    expression_delta = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    displacement = field.displace(bound_to(field, points, landmarks, offsets), expression_delta)
    size = torch.tensor([1.0, 0.5]).repeat_interleave(points.shape[1])
    expected = size[:, None, None] * (offsets @ matrix)
    flat = field.surface.triangles[::7]
    normal = torch.linalg.cross(*(NEUTRAL[flat[:, corner]] - NEUTRAL[flat[:, 0]] for corner in (1, 2)), dim=1)
    faces_ahead = (torch.nn.functional.normalize(normal, dim=1)[:, 2] > 0.97).repeat(2)
    assert faces_ahead.sum() >= 4
    assert (displacement.children - expected)[faces_ahead].abs().max() < 0.01
    if count == 1:
        assert (displacement.gradient == 0).all()
    else:
        of_two = torch.diag(torch.tensor([1.0, 1.0, 0.0]))
        apart = displacement.gradient - size[:, None, None] * matrix.T @ of_two
        assert apart[faces_ahead].abs().max() < 0.12
        assert apart[faces_ahead].abs().mean() < 0.02


def test_the_gradient_is_as_exact_where_depth_jumps():
    generator = torch.Generator().manual_seed(0)
    turns = torch.linalg.qr(torch.randn(500, 3, 3, generator=generator)).Q
    offsets = (GRID.expand(500, -1, -1) * 10).clone()
    offsets[..., 2] = torch.randint(-200, 200, (500, 4), generator=generator).float()
    offsets = offsets @ turns * 0.1
    exact = offsets.double()
    squares = exact.mT @ exact / 0.01 + 0.01 * torch.eye(3, dtype=torch.float64)
    expected = exact @ torch.linalg.inv(squares) / 0.01
    spread = _spread(offsets, torch.full((500,), 0.1))
    torch.testing.assert_close(spread, expected.float(), atol=1e-3, rtol=1e-3)


def test_children_teach_nothing_and_parents_do():
    field, (points, landmarks) = make_field(0.5), some_faces()
    displacement = field.displace(bound_to(field, points, landmarks), OPEN)
    assert not displacement.children.requires_grad
    assert not displacement.gradient.requires_grad
    displacement.parents.sum().backward()
    assert field.blendshapes.grad is not None
    assert field.blendshapes.grad.abs().max() > 0


def test_displacements_of_visible_and_mirrored_points_are_taken_apart_in_order():
    whole = Displacement(torch.rand(5, 3), torch.rand(5, 4, 3), torch.rand(5, 3, 3))
    first, second = whole.split(2, 3)
    for entry in dataclasses.fields(Displacement):
        parts = [getattr(part, entry.name) for part in (first, second)]
        assert [len(part) for part in parts] == [2, 3]
        assert torch.equal(torch.cat(parts), getattr(whole, entry.name))
