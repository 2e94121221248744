import torch

from mggtalk.models.deformation import DeformationField
from tests.models.small import perturb, small_model


def make_field(scale: float) -> DeformationField:
    torch.manual_seed(0)
    field = DeformationField(small_model())
    perturb(field, scale=scale)
    return field


def some_points() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, 3, generator=generator) * 8, torch.arange(40) % 2


def test_unchanged_expression_moves_nothing_whatever_the_weights():
    points, head = some_points()
    expression = torch.rand(2, 2)
    for scale in (0.1, 1.0, 10.0):
        assert (make_field(scale)(points, head, expression, expression) == 0).all()


def test_untrained_field_moves_nothing():
    points, head = some_points()
    assert (make_field(0.0)(points, head, torch.zeros(2, 2), torch.ones(2, 2)) == 0).all()


def test_each_point_follows_the_expression_of_its_own_head():
    points, head = some_points()
    moved = make_field(0.5)(points, head, torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [1.0, 0.5]]))
    assert (moved[head == 0] == 0).all()
    assert (moved[head == 1].norm(dim=1) > 0).all()


def test_back_and_forth_are_opposite():
    points, head = some_points()
    calm, open_mouth = torch.zeros(2, 2), torch.ones(2, 2)
    field = make_field(0.5)
    torch.testing.assert_close(field(points, head, calm, open_mouth), -field(points, head, open_mouth, calm))


def test_displacement_keeps_within_its_limit():
    points, head = some_points()
    moved = make_field(10.0)(points, head, torch.zeros(2, 2), torch.ones(2, 2))
    limit = small_model().max_displacement_cm
    assert moved.abs().max() <= limit
    assert moved.abs().max() > 0.9 * limit
