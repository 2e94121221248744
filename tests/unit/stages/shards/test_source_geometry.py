"""Depth backend, surface and cloud in a row, on the analytic head."""

import numpy as np
import pytest

from mggtalk.geometry.normal_integration import IntegrationSettings
from mggtalk.perception.depth.head_geometry import DepthAndNormals, HeadViews
from mggtalk.stages.shards.source_geometry import SourceReconstruction
from tests.support.analytic_head import YAWS, analytic_view, distance_cm


class KnownSurface:
    """A backend that says the truth, with noise."""

    name = "known"

    def __init__(self, views):
        self._views = views

    def __call__(self, views):
        depth = np.stack([view.noisy(0.3) for view in self._views]) * views.head
        normals = np.stack([view.normals for view in self._views]) * views.head[..., None]
        fell_back = np.arange(len(views)) == 1
        return DepthAndNormals(depth.astype(np.float32), normals.astype(np.float32), fell_back)


def reconstructed(views, valid=None, head=None):
    heads = np.stack([view.known for view in views]) if head is None else head
    given = HeadViews(
        np.zeros((*heads.shape, 3), np.uint8),
        heads,
        np.ones(heads.shape[1:], bool) if valid is None else valid,
        np.zeros((len(views), 478, 3)),
        np.stack([view.head_to_camera for view in views]),
        views[0].intrinsics,
    )
    settings = IntegrationSettings()
    return SourceReconstruction(KnownSurface(views), settings, stride=2, voxel_size=0.4)(given)


def test_every_view_has_its_own_surface_and_cloud():
    views = [analytic_view(yaw, 256) for yaw in YAWS]
    made = reconstructed(views)
    assert made.fell_back.tolist() == [False, True, False, False]
    for view, source in zip(views, made.geometry, strict=True):
        assert np.abs(source.depth - view.depth)[view.known].mean() < 0.06
        np.testing.assert_array_equal(source.normals, view.normals.astype(np.float32))
        assert (distance_cm(source.cloud.positions) < 0.4).mean() > 0.97
    mirrored = [int((source.cloud.mirrored_of >= 0).sum()) for source in made.geometry]
    assert mirrored[0] < mirrored[1] < mirrored[2] < mirrored[3]


@pytest.mark.parametrize("ends", [True, False])
def test_mirrored_points_stand_out_only_where_the_video_frame_has_ended(ends):
    view = analytic_view(0, 256)
    half = np.arange(256) < 128
    head = (view.known & half)[None]
    valid = np.broadcast_to(half if ends else np.ones(256, bool), (256, 256)).copy()
    (source,) = reconstructed([view], valid, head).geometry
    visible, mirrored = (source.cloud.mirrored_of < 0).sum(), (source.cloud.mirrored_of >= 0).sum()
    assert mirrored > 0.8 * visible if ends else mirrored < 0.1 * visible
