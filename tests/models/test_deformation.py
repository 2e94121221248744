import pytest
import torch

from mggtalk.models.deformation import DeformationField
from tests.models.small import perturb, small_model

CALM, OPEN = torch.zeros(2, 2), torch.ones(2, 2)


def make_field(scale: float) -> DeformationField:
    torch.manual_seed(0)
    field = DeformationField(small_model())
    perturb(field, scale=scale)
    return field


def some_faces() -> tuple[torch.Tensor, torch.Tensor]:
    """Points and landmarks of two heads."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 20, 3, generator=generator) * 8, torch.randn(2, 478, 3, generator=generator) * 5


def test_unchanged_expression_moves_nothing_whatever_the_weights():
    for scale in (0.1, 1.0, 10.0):
        assert (make_field(scale)(*some_faces(), CALM) == 0).all()


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
    """Where position alone says nothing, a landmark's own direction goes with it."""
    field = make_field(0.5)
    with torch.no_grad():
        next(field.body.parameters())[:, : field.encoding.channels] = 0
    points, landmarks = some_faces()
    points = landmarks[:, :20] + 0.05
    shift = torch.tensor([0.0, 1.3, -0.4])
    torch.testing.assert_close(
        field(points, landmarks, OPEN), field(points + shift, landmarks + shift, OPEN), atol=1e-4, rtol=1e-3
    )
    assert (field(points, landmarks, OPEN) - field(points + shift, landmarks, OPEN)).abs().max() > 0.1


def test_points_start_with_the_blendshapes_of_the_landmarks_around_them():
    field, (_, landmarks) = make_field(0.0), some_faces()
    blendshapes = torch.randn(478, 3, 2, generator=torch.Generator().manual_seed(2)) * 0.1
    field.start(blendshapes)
    alone = torch.cdist(landmarks, landmarks).topk(2, largest=False).values[..., 1] > 1.0
    assert alone.sum() > 20
    expected = blendshapes.sum(dim=-1).expand(2, -1, -1)
    torch.testing.assert_close(field(landmarks, landmarks, OPEN)[alone], expected[alone], atol=1e-2, rtol=0)
    halfway = (landmarks[:, :1] + landmarks[:, 1:2]) / 2
    pair = landmarks[:, :2]
    between = (expected[:, :1] + expected[:, 1:2]) / 2
    with pytest.raises(ValueError, match=r"blendshapes: expected \(478, 3, 2\), got \(68, 3, 2\)"):
        field.start(blendshapes[:68])
    field_of_two = DeformationField(small_model())
    with torch.no_grad():
        field_of_two.landmarks.data = field.landmarks[:2]
        field_of_two.blendshapes.data = blendshapes[:2]
    torch.testing.assert_close(field_of_two(halfway, pair, OPEN), between, atol=1e-3, rtol=0)
