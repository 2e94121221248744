import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.models.networks.decoders import (
    Densification,
    IdentityEncoder,
    RawGaussians,
    SymmetricDecoder,
    VisibleDecoder,
)
from mggtalk.models.networks.deformation import Displacement
from mggtalk.models.networks.geometry_refinement import HeadPoints, lift_points, select_mirrored_points
from mggtalk.models.points.gaussian_init import log_gap, log_stretch, rotation_along, rotation_to_normal, turned_about_z
from mggtalk.rendering.gaussians import rotation_matrices
from tests.unit.models.small import perturb, small_model, source_batch

VIEWS = [(0, 25.0, (0.0, 0.0)), (1, -40.0, (1.0, 0.0))]
MIRROR = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))


def covariances(gaussians: RawGaussians) -> torch.Tensor:
    rotations = rotation_matrices(gaussians.rotations)
    return rotations @ torch.diag_embed((2 * gaussians.log_scales).exp()) @ rotations.transpose(1, 2)


def still(points: HeadPoints) -> Displacement:
    return Displacement(
        parents=torch.zeros_like(points.positions),
        children=torch.zeros_like(points.child_offsets),
        gradient=torch.zeros(len(points.batch_index), 3, 3),
    )


class Scene:
    """Points and features of two heads, and the visible Gaussians of a decoder with or without trained weights."""

    def __init__(self, *, trained: bool) -> None:
        torch.manual_seed(0)
        settings = small_model()
        source = source_batch(VIEWS)
        offset = torch.zeros(2, 1, 16, 16)
        self.points: HeadPoints = lift_points(source, offset, 2)
        self.mirror_index = select_mirrored_points(self.points, source, offset, settings.voxel_size_cm).nonzero()[:, 0]
        self.mirrored = self.points.mirrored(self.mirror_index)
        self.features = IdentityEncoder(settings)(source)
        self.visible_decoder = VisibleDecoder(settings)
        if trained:
            perturb(self.visible_decoder)
        self.still = still(self.points)
        self.expressions = torch.zeros(len(self.points.batch_index), 2 * settings.expression_size)
        self.visible: RawGaussians = self.visible_decoder(self.points, self.still, self.features, self.expressions)

    def decode_mirrored(self, decoder: SymmetricDecoder) -> RawGaussians:
        told, of_visible = self.expressions[self.mirror_index], self.visible.select(self.mirror_index)
        made: RawGaussians = decoder(self.mirrored, still(self.mirrored), self.features, told, of_visible)
        return made


def test_features_have_one_cell_for_each_parent_and_tell_heads_apart():
    features = Scene(trained=False).features
    assert features.shape == (2, small_model().feature_channels, 16, 16)
    assert (features[0] - features[1]).abs().max() > 1e-2


def test_encoder_sees_only_the_head():
    source = source_batch(VIEWS)
    torch.manual_seed(0)
    encoder = IdentityEncoder(small_model())
    hollow = dataclasses.replace(source, image=source.image * source.head_mask)
    assert torch.equal(encoder(source), encoder(hollow))


def test_untrained_visible_gaussians_lie_on_their_points_in_the_colours_of_the_source():
    scene = Scene(trained=False)
    assert torch.equal(scene.visible.means, scene.points.positions)
    assert torch.equal(scene.visible.colors[:, :3], scene.points.colors)
    assert (scene.visible.colors[:, 3:] == 0).all()
    assert (scene.visible.opacity_logits.sigmoid() > 0.9).all()


def test_untrained_visible_gaussians_are_discs_as_wide_as_the_gaps_between_them():
    scene = Scene(trained=False)
    number_of = {
        tuple(cell): number
        for number, cell in enumerate(scene.points.cell.tolist())
        if scene.points.batch_index[number] == 0
    }
    middle = [number_of[row, column] for row in range(6, 10) for column in range(6, 10)]
    below = [number_of[row + 1, column] for row in range(6, 10) for column in range(6, 10)]
    gap = (scene.points.positions[below] - scene.points.positions[middle]).norm(dim=1)
    width, height, thickness = scene.visible.log_scales[middle].exp().unbind(dim=1)
    torch.testing.assert_close(width, height)
    # Neighbours at one to two standard deviations cover the surface without a visible grid.
    assert ((gap / width > 1.2) & (gap / width < 2.5)).all()
    assert ((thickness / width > 0.3) & (thickness / width < 0.7)).all()
    axis = rotation_matrices(scene.visible.rotations)[:, :, 2]
    torch.testing.assert_close(axis, scene.points.normals, atol=1e-5, rtol=0)


def test_visible_gaussians_follow_the_displacement():
    scene = Scene(trained=False)
    displacement = dataclasses.replace(scene.still, parents=torch.rand(scene.points.positions.shape))
    moved = scene.visible_decoder(scene.points, displacement, scene.features, scene.expressions)
    torch.testing.assert_close(moved.means, scene.points.positions + displacement.parents)


def test_visible_gaussians_stretch_with_the_surface_under_them():
    """A lid that closes over the eye: half as high, a fifth wider."""
    scene = Scene(trained=False)
    gradient = torch.diag(torch.tensor([0.2, -0.5, 0.0])).expand(len(scene.points.batch_index), 3, 3)
    normals = torch.tensor([0.0, 0.0, 1.0]).expand_as(scene.points.normals)
    points = dataclasses.replace(scene.points, normals=normals, view_dirs=-normals)
    displacement = dataclasses.replace(scene.still, gradient=gradient)
    before = scene.visible_decoder(points, scene.still, scene.features, scene.expressions).log_scales
    after = scene.visible_decoder(points, displacement, scene.features, scene.expressions).log_scales
    expected = torch.tensor([1.2, 0.5, 1.0]).expand_as(after)
    torch.testing.assert_close((after - before).exp(), expected, atol=1e-5, rtol=0)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_turned_gaussians_stretch_along_their_own_axes(x, y, z):
    rotation = torch.tensor([[1.0, x, y, z]])
    axes = rotation_matrices(rotation)[0]
    along_its_own = axes @ torch.diag(torch.tensor([1.0, -0.3, 0.0])) @ axes.T
    stretch = log_stretch(axes.unsqueeze(0), along_its_own.unsqueeze(0)).exp()
    torch.testing.assert_close(stretch, torch.tensor([[2.0, 0.7, 1.0]]), atol=1e-4, rtol=0)


@given(st.floats(0, 2 * math.pi), st.floats(0, 1.55), st.floats(0, math.pi), st.floats(0, 2 * math.pi))
def test_surfels_reach_from_pixel_to_pixel_where_the_surface_recedes(turn, tilt, polar, azimuth):
    """However the camera stands: along the tilt as wide as it takes, and across it as wide as they were."""
    frame = rotation_matrices(
        torch.tensor(
            [
                [
                    math.cos(polar / 2),
                    *(math.sin(polar / 2) * axis for axis in (math.cos(azimuth), math.sin(azimuth), 0.0)),
                ]
            ]
        )
    )[0]
    view_dirs = frame @ torch.tensor([0.0, 0.0, -1.0])
    recedes = frame @ torch.tensor([math.cos(turn), math.sin(turn), 0.0])
    normal = -math.cos(tilt) * view_dirs + math.sin(tilt) * recedes
    rotation = rotation_along(normal.unsqueeze(0), view_dirs.unsqueeze(0))
    axes = rotation_matrices(rotation)
    gap = log_gap(axes, view_dirs.unsqueeze(0))[0].exp()
    torch.testing.assert_close(axes[0, :, 2], normal, atol=3e-3, rtol=0)
    expected = min(max(0.5 / max(math.cos(tilt), 1e-6), 1.0), 4.0)
    assert float(gap[0]) == pytest.approx(expected, rel=0.05)
    assert float(gap[1]) == pytest.approx(1.0, abs=0.02)
    assert float(gap[2]) == 1.0


def test_quaternions_are_turned_about_z_as_their_matrices_are():
    generator = torch.Generator().manual_seed(0)
    rotations, angle = torch.randn(5, 4, generator=generator), torch.randn(5, generator=generator)
    zero = torch.zeros_like(angle)
    before = rotation_matrices(torch.stack((angle.cos(), zero, zero, angle.sin()), dim=-1))
    torch.testing.assert_close(
        rotation_matrices(turned_about_z(rotations, angle)), rotation_matrices(rotations) @ before
    )


def test_a_shear_stretches_what_it_lengthens():
    """x' = x + y: the y axis becomes a diagonal, the x axis stays."""
    gradient = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    stretch = log_stretch(torch.eye(3).unsqueeze(0), gradient).exp()
    torch.testing.assert_close(stretch, torch.tensor([[1.0, math.sqrt(2), 1.0]]))


def test_no_gaussian_collapses_or_grows_beyond_bounds():
    gradient = torch.diag(torch.tensor([-1.0, 50.0, 0.0])).unsqueeze(0)
    torch.testing.assert_close(log_stretch(torch.eye(3).unsqueeze(0), gradient).exp(), torch.tensor([[0.25, 3.0, 1.0]]))


def test_trained_decoders_heed_the_expression_of_each_point():
    """An eye that opens shows what no displacement of lids could."""
    scene = Scene(trained=True)
    decoder = SymmetricDecoder(small_model())
    perturb(decoder)
    before, mirrored_before = scene.visible, scene.decode_mirrored(decoder)
    scene.expressions[0] = 1.0
    after = scene.visible_decoder(scene.points, scene.still, scene.features, scene.expressions)
    change = (after.colors - before.colors).abs().amax(dim=1)
    assert change[0] > 1e-3
    assert change[1:].max() < 1e-6
    scene.expressions[scene.mirror_index[0]] = 1.0
    mirrored_change = (scene.decode_mirrored(decoder).colors - mirrored_before.colors).abs().amax(dim=1)
    assert mirrored_change[0] > 1e-3


def test_untrained_symmetric_gaussians_mirror_the_untrained_twins():
    scene = Scene(trained=False)
    visible = scene.visible.select(scene.mirror_index)
    mirrored = scene.decode_mirrored(SymmetricDecoder(small_model()))
    assert len(scene.mirror_index) > 5
    assert torch.equal(mirrored.means, visible.means @ MIRROR)


def test_untrained_symmetric_gaussians_mirror_the_shape_and_look_of_trained_twins():
    scene = Scene(trained=True)
    visible = scene.visible.select(scene.mirror_index)
    mirrored = scene.decode_mirrored(SymmetricDecoder(small_model()))
    expected = MIRROR @ covariances(visible) @ MIRROR
    assert (expected - covariances(visible)).abs().max() > 1e-2 * expected.abs().max()
    torch.testing.assert_close(covariances(mirrored), expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(mirrored.colors, visible.colors)
    assert torch.equal(mirrored.opacity_logits, visible.opacity_logits)


def test_symmetric_decoder_heeds_its_twin():
    scene = Scene(trained=True)
    decoder = SymmetricDecoder(small_model())
    perturb(decoder)
    before = scene.decode_mirrored(decoder)
    before_change = {name: getattr(scene.visible, name) for name in RawGaussians.__slots__}
    visible = scene.visible.select(scene.mirror_index)
    scene.visible = RawGaussians(**before_change | {"features": scene.visible.features + 1})
    residual = (scene.decode_mirrored(decoder).colors - visible.colors) - (before.colors - visible.colors)
    assert residual.abs().max() > 1e-3


def test_densification_makes_one_child_for_each_pixel_next_to_its_siblings():
    scene = Scene(trained=False)
    children = Densification(small_model())(scene.visible, scene.points, scene.still)
    count = len(scene.points.batch_index)
    assert len(children.means) == 4 * count
    by_parent = children.means.reshape(count, 4, 3)
    torch.testing.assert_close(by_parent, scene.points.positions.unsqueeze(1) + scene.points.child_offsets)
    assert torch.equal(children.rotations.reshape(count, 4, 4)[:, 3], scene.visible.rotations)


def test_untrained_children_have_the_colours_of_their_pixels_and_a_share_of_the_size():
    scene = Scene(trained=False)
    children = Densification(small_model())(scene.visible, scene.points, scene.still)
    torch.testing.assert_close(children.colors[:, :3], scene.points.child_colors.flatten(0, 1), atol=1e-6, rtol=0)
    scales = children.log_scales.reshape(-1, 4, 3).exp()
    torch.testing.assert_close(scales, scene.visible.log_scales.exp().unsqueeze(1).expand(-1, 4, -1) / 2)


def test_untrained_children_keep_what_was_learned_of_their_parents():
    scene = Scene(trained=True)
    children = Densification(small_model())(scene.visible, scene.points, scene.still)
    learned = scene.visible.colors[:, :3] - scene.points.colors
    assert learned.abs().max() > 1e-2
    expected = scene.points.child_colors + learned.unsqueeze(1)
    torch.testing.assert_close(children.colors[:, :3], expected.flatten(0, 1), atol=1e-6, rtol=0)


def test_siblings_differ_once_trained():
    scene = Scene(trained=True)
    densification = Densification(small_model())
    perturb(densification)
    children = densification(scene.visible, scene.points, scene.still)
    torch.testing.assert_close(children.features[0::4], children.features[3::4])
    scales = children.log_scales.reshape(-1, 4, 3)
    assert (scales[:, 0] - scales[:, 3]).abs().max() > 1e-2


@given(st.floats(0, math.pi), st.floats(0, 2 * math.pi))
def test_rotation_takes_z_to_any_normal(polar, azimuth):
    normal = torch.tensor([[math.sin(polar) * math.cos(azimuth), math.sin(polar) * math.sin(azimuth), math.cos(polar)]])
    turned = rotation_matrices(rotation_to_normal(normal))[:, :, 2]
    # Within 0.1 degrees of -z the half turn about x stands in.
    torch.testing.assert_close(turned, normal, atol=2e-3, rtol=0)
    if polar < 3.1:
        torch.testing.assert_close(turned, normal, atol=2e-5, rtol=0)


def test_rotation_to_normal_at_its_corners():
    normals = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    rotations = rotation_to_normal(normals)
    torch.testing.assert_close(rotations.norm(dim=1), torch.ones(4))
    axes = rotation_matrices(rotations)[:, :, 2]
    expected = np.array([[0, 0, 1], [0, 0, -1], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(axes.numpy(), expected, atol=1e-6)
