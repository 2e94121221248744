import dataclasses

import numpy as np
import pytest
import torch

from mggtalk.geometry.cameras import project, transform_points
from mggtalk.models.batches import SourceBatch
from mggtalk.models.networks.geometry_refinement import (
    GeometryRefinement,
    HeadPoints,
    lift_points,
    select_mirrored_points,
)
from tests.unit.models.small import perturb, small_model, source_batch

VIEWS = [(0, 25.0, (0.0, 0.0)), (1, -40.0, (1.0, 0.0))]


def no_offset(source: SourceBatch, stride: int) -> torch.Tensor:
    batch, _, height, width = source.depth.shape
    return torch.zeros(batch, 1, height // stride, width // stride)


def hidden_twins(points: HeadPoints, source: SourceBatch, offset: torch.Tensor, voxel_size: float) -> torch.Tensor:
    return select_mirrored_points(points, source, offset, voxel_size).nonzero()[:, 0]


def surface_points(source: SourceBatch) -> tuple[np.ndarray, np.ndarray]:
    """Head-space surface point of every pixel of a single source, and which pixels are the head's; in numpy."""
    depth = source.depth[0, 0].double().numpy()
    known = (source.head_mask[0, 0].numpy() > 0.5) & (depth > 0)
    camera, matrix = source.intrinsics[0].double().numpy(), source.head_to_camera[0].double().numpy()
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    points = pixels @ np.linalg.inv(camera).T * depth[..., None]
    return (points - matrix[:3, 3]) @ matrix[:3, :3], known


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_points_are_the_means_of_the_surface_under_their_cells(stride):
    source = source_batch(VIEWS[:1])
    points = lift_points(source, no_offset(source, stride), stride)
    surface, known = surface_points(source)
    expected_cells = []
    expected = []
    for row in range(32 // stride):
        for column in range(32 // stride):
            cell = np.s_[row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
            if known[cell].mean() > 0.5:
                expected_cells.append((row, column))
                expected.append(surface[cell][known[cell]].mean(axis=0))
    assert points.cell.tolist() == [list(cell) for cell in expected_cells]
    np.testing.assert_allclose(points.positions.numpy(), np.stack(expected), atol=1e-4)


def test_children_sit_on_the_pixels_that_they_stand_for():
    source = source_batch(VIEWS)
    points = lift_points(source, no_offset(source, 2), 2)
    known = (source.head_mask > 0.5) & (source.depth > 0)
    children = points.positions.unsqueeze(1) + points.child_offsets
    seen = project(
        transform_points(source.head_to_camera[points.batch_index], children), source.intrinsics[points.batch_index]
    )
    corner = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])  # row by row, as pixels lie in a cell
    pixel = points.cell.unsqueeze(1) * 2 + corner
    covered = known[points.batch_index.unsqueeze(1), 0, pixel[..., 0], pixel[..., 1]]
    assert 0.5 < covered.float().mean() < 1
    centres = pixel.flip(-1) + 0.5
    assert (seen - centres)[covered].abs().max() < 1e-3
    assert (points.child_offsets[~covered] == 0).all()
    colors = source.image[points.batch_index.unsqueeze(1), :, pixel[..., 0], pixel[..., 1]]
    assert torch.equal(points.child_colors[covered], colors[covered])
    parents = points.colors.unsqueeze(1).expand_as(colors)
    assert torch.equal(points.child_colors[~covered], parents[~covered])


def test_offset_moves_a_point_along_its_ray_by_as_much_depth():
    source = source_batch(VIEWS)
    offset = torch.linspace(-2, 2, 16 * 16).reshape(1, 1, 16, 16).expand(2, -1, -1, -1)
    still, moved = lift_points(source, no_offset(source, 2), 2), lift_points(source, offset, 2)

    def in_camera(points: HeadPoints) -> torch.Tensor:
        return transform_points(source.head_to_camera[points.batch_index], points.positions.unsqueeze(1))

    before, after = in_camera(still)[:, 0, 2], in_camera(moved)[:, 0, 2]
    row, column = still.cell.unbind(dim=1)
    torch.testing.assert_close(after - before, offset[0, 0, row, column], atol=1e-4, rtol=0)
    drift = project(in_camera(still), source.intrinsics[still.batch_index]) - project(
        in_camera(moved), source.intrinsics[still.batch_index]
    )
    assert drift.abs().max() < 0.02  # a mean of rays is one ray but for the weights of nearer pixels


def test_positions_follow_the_depth_offset_in_the_gradient():
    source = source_batch(VIEWS[:1])
    offset = no_offset(source, 2).requires_grad_()
    points = lift_points(source, offset, 2)
    points.positions[:, 2].sum().backward()
    assert offset.grad is not None
    row, column = points.cell.unbind(dim=1)
    # Away from the camera is along -z of a head that looks at it.
    assert (offset.grad[0, 0, row, column] < -0.5).all()
    reached = torch.zeros(16, 16, dtype=torch.bool)
    reached[row, column] = True
    assert (offset.grad[0, 0][~reached] == 0).all()


def test_normals_are_those_of_the_ellipsoid():
    source = source_batch(VIEWS[:1], size=64)
    points = lift_points(source, no_offset(source, 2), 2)
    away = torch.nn.functional.normalize(points.positions - torch.tensor([0.0, 0.0, -3.0]), dim=1)
    assert ((points.normals * away).sum(dim=1) > 0.9).all()
    torch.testing.assert_close(points.normals.norm(dim=1), torch.ones(len(points.batch_index)))


def test_spacing_is_the_distance_of_neighbouring_pixels():
    source = source_batch([(0, 0.0, (0.0, 0.0))])
    points = lift_points(source, no_offset(source, 2), 2)
    across = (points.child_offsets[:, 1] - points.child_offsets[:, 0])[:, 0]
    middle = (points.cell[:, 1] == 7) & (points.cell[:, 0] > 5) & (points.cell[:, 0] < 10)
    torch.testing.assert_close(points.pixel_footprint[middle], across[middle], rtol=0.05, atol=0)


def test_batch_of_two_is_two_batches_of_one():
    both = source_batch(VIEWS)
    points = lift_points(both, no_offset(both, 2), 2)
    hidden = hidden_twins(points, both, no_offset(both, 2), 2.4)
    first = 0
    for number, view in enumerate(VIEWS):
        single = source_batch([view])
        alone = lift_points(single, no_offset(single, 2), 2)
        own = points.batch_index == number
        for field in dataclasses.fields(HeadPoints):
            if field.name != "batch_index":
                assert torch.equal(getattr(points, field.name)[own], getattr(alone, field.name)), field.name
        assert torch.equal(hidden[own[hidden]] - first, hidden_twins(alone, single, no_offset(single, 2), 2.4))
        first += len(alone.batch_index)


def test_mirrored_twice_is_the_same_and_once_reflects_x():
    source = source_batch(VIEWS)
    points = lift_points(source, no_offset(source, 2), 2)
    everything = torch.arange(len(points.batch_index))
    once = points.mirrored(everything)
    twice = once.mirrored(everything)
    for field in dataclasses.fields(HeadPoints):
        assert torch.equal(getattr(twice, field.name), getattr(points, field.name)), field.name
    flip = torch.tensor([-1.0, 1.0, 1.0])
    for name in ("positions", "normals", "child_offsets"):
        assert torch.equal(getattr(once, name), getattr(points, name) * flip), name
    for name in ("batch_index", "cell", "pixel_footprint", "colors", "child_colors"):
        assert torch.equal(getattr(once, name), getattr(points, name)), name


@pytest.mark.parametrize("voxel_size", [0.7, 2.4])
def test_hidden_points_are_those_whose_mirror_voxel_is_empty_and_which_hide_nothing(voxel_size):
    source = source_batch(VIEWS)
    points = lift_points(source, no_offset(source, 2), 2)
    heads, positions = points.batch_index.tolist(), points.positions.numpy()

    def voxel(head: int, position: np.ndarray) -> tuple[int, ...]:
        return (head, *np.floor(position / np.float32(voxel_size)).astype(int).tolist())

    occupied = {voxel(*point) for point in zip(heads, positions, strict=True)}
    mirrored = [voxel(head, position * [-1, 1, 1]) for head, position in zip(heads, positions, strict=True)]
    free = [number for number, cell in enumerate(mirrored) if cell not in occupied]
    hidden = hidden_twins(points, source, no_offset(source, 2), voxel_size).tolist()
    assert set(hidden) <= set(free)
    assert len(hidden) > 0.8 * len(free)  # the head is symmetric: few mirror images come to lie before its surface


def test_mirror_images_stand_out_only_where_the_video_frame_has_ended():
    """Half of the head is taken for no head: its mirror images would be seen there, unless nothing is known of it."""
    source = source_batch([(0, 0.0, (0.0, 0.0))])
    half = torch.ones_like(source.head_mask)
    half[..., 16:] = 0
    seen = dataclasses.replace(source, head_mask=source.head_mask * half, depth=source.depth * half)
    points = lift_points(seen, no_offset(seen, 2), 2)
    counts = [
        len(hidden_twins(points, dataclasses.replace(seen, valid=valid), no_offset(seen, 2), 0.7))
        for valid in (torch.ones_like(half), half)
    ]
    assert counts[0] < 0.1 * len(points.batch_index)
    assert counts[1] > 0.8 * len(points.batch_index)


@pytest.mark.parametrize("moved_cm", [-3.0, 3.0])
def test_the_refined_surface_decides_what_would_be_hidden(moved_cm):
    source = source_batch(VIEWS)
    points = lift_points(source, no_offset(source, 2), 2)
    before = hidden_twins(points, source, no_offset(source, 2), 0.7)
    after = hidden_twins(points, source, torch.full_like(no_offset(source, 2), moved_cm), 0.7)
    assert (len(after) < len(before)) == (moved_cm > 0)


def test_refinement_starts_at_nothing_and_keeps_within_its_limit():
    source = source_batch(VIEWS)
    torch.manual_seed(0)
    refinement = GeometryRefinement(small_model())
    start = refinement(source)
    assert start.shape == (2, 1, 16, 16)
    assert (start == 0).all()
    perturb(refinement, scale=3.0)
    far = refinement(source).abs().max()
    assert 1.5 < far <= small_model().max_depth_offset_cm


def test_refinement_sees_nothing_outside_the_head():
    source = source_batch(VIEWS)
    torch.manual_seed(0)
    refinement = GeometryRefinement(small_model())
    perturb(refinement)
    noise = torch.rand(source.image.shape) * (1 - source.head_mask)
    other = dataclasses.replace(source, image=source.image * source.head_mask + noise)
    assert torch.equal(refinement(source), refinement(other))


def test_evidence_is_how_squarely_the_camera_sees_a_point_and_how_much_of_a_head_is_around():
    source = source_batch(VIEWS)
    points = lift_points(source, no_offset(source, 2), 2)
    facing, around = points.source_visibility.unbind(dim=1)
    to_head = torch.linalg.inv(source.head_to_camera)[points.batch_index]
    to_camera = torch.nn.functional.normalize(to_head[:, :3, 3] - points.positions, dim=-1)
    assert torch.allclose(facing, (to_camera * points.normals).sum(dim=-1), atol=1e-4)
    mask = np.pad(source.head_mask[:, 0].numpy(), ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(mask, (3, 3), axis=(1, 2))  # 1/32 of 32 px to either side
    fractions = np.nanmean(windows, axis=(-2, -1))
    known = ((source.head_mask > 0.5) & (source.depth > 0))[:, 0].numpy()
    for number in range(0, len(around), 7):
        head, (row, column) = int(points.batch_index[number]), (2 * points.cell[number]).tolist()
        cell = np.s_[head, row : row + 2, column : column + 2]
        assert float(around[number]) == pytest.approx(float(fractions[cell][known[cell]].mean()), abs=1e-5)
    assert around.min() < 0.8 < around.max() == 1
    assert torch.equal(points.mirrored(torch.tensor([3, 1])).source_visibility, points.source_visibility[[3, 1]])
