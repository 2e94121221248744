"""Makes synthetic heads, clips and instruments: a checkerboard with landmarks, and a face measured by its colour."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.reenactment import ReenactClip
from mggtalk.perception.identity import IdentityUnavailable
from mggtalk.perception.landmarks.face_measurement import FaceMeasurement
from mggtalk.records import HeadCloud, HeadFrame, SourceFrame

SIZE = 64
FOCAL = 2.0 * SIZE
DISTANCE_CM = 60.0
# OpenCV's camera in front of the head: x mirrored, y down, z away from the camera.
FACING = np.diag([-1.0, -1.0, -1.0, 1.0]) @ np.diag([-1.0, 1.0, 1.0, 1.0])


def head_to_camera(shift_cm=(0.0, 0.0), yaw_deg=0.0):
    yaw = np.deg2rad(yaw_deg)
    rotation = np.eye(4)
    rotation[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    transform = FACING @ rotation
    transform[:3, 3] = [*shift_cm, DISTANCE_CM]
    return transform


def make_frame(image, landmarks, transform, *, valid=None, mask=None, expression=None):
    """Make a frame whose landmarks project exactly; the head is a disc by default."""
    size = image.shape[0]
    intrinsics = np.array([[FOCAL, 0, size / 2], [0, FOCAL, size / 2], [0, 0, 1]])
    in_camera = landmarks @ transform[:3, :3].T + transform[:3, 3]
    projected = in_camera @ intrinsics.T
    rows, columns = np.mgrid[:size, :size] + 0.5
    disc = np.hypot(rows - size / 2, columns - size / 2) < 0.42 * size
    return HeadFrame(
        image=image,
        head_mask=disc if mask is None else mask,
        valid=np.ones((size, size), bool) if valid is None else valid,
        landmarks_px=(projected[:, :2] / projected[:, 2:]).astype(np.float32),
        landmarks=landmarks.astype(np.float32),
        expression=np.zeros(52, np.float32) if expression is None else expression,
        head_to_camera=transform.astype(np.float32),
        intrinsics=intrinsics.astype(np.float32),
    )


def grid_landmarks(half_width_cm=6.0, count=5):
    """Make a gently curved grid of points on the face."""
    steps = np.linspace(-half_width_cm, half_width_cm, count)
    x, y = np.meshgrid(steps, steps)
    return np.column_stack([x.ravel(), y.ravel(), 4.0 - 0.08 * (x.ravel() ** 2 + y.ravel() ** 2)])


def checkerboard(size=SIZE, cell=8):
    rows, columns = np.mgrid[:size, :size] // cell
    board = np.where((rows + columns) % 2, 220, 40).astype(np.uint8)
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    return np.stack([board, np.broadcast_to(ramp, (size, size)), np.broadcast_to(ramp[:, None], (size, size))], axis=-1)


class ColourMeasurer:
    """Finds a face wherever the image is not black, and reads its values off the mean colour."""

    name = "mean colour"

    def measure(self, image):
        if image.max() == 0:
            return None
        red, green, blue = image.reshape(-1, 3).mean(axis=0)
        landmarks = np.full((478, 2), red / 4, np.float32)
        return FaceMeasurement(landmarks, np.full(52, green / 255, np.float32), np.full(3, blue, np.float32))


class ColourEncoder:
    """Takes the mean colour for the identity."""

    name = "mean colour identity"

    def encode(self, image, landmarks_px):
        assert landmarks_px.shape == (478, 2)
        return image.reshape(-1, 3).mean(axis=0)


class PerfectReenactor:
    """Returns the driver's own image, found by its pose."""

    resolution = SIZE

    def __init__(self, clips):
        self._answers = {frame.head_to_camera.tobytes(): frame.image for frame in clips.frames}

    def reconstruct(self, source):
        return source

    def render(self, avatar, expression, head_to_camera):
        return self._answers[head_to_camera.tobytes()]

    def num_gaussians(self, avatar):
        return 1234


class SyntheticClips:
    """Holds six frames of a checkerboard head that drifts to the side, and turns if yaws are given."""

    def __init__(self, yaws_deg=(0.0,) * 6):
        landmarks = grid_landmarks()
        self.frames = [
            make_frame(np.roll(checkerboard(), 2 * step, axis=1), landmarks, head_to_camera((step, 0.0), yaw))
            for step, yaw in enumerate(yaws_deg)
        ]

    def meta(self, clip_id):
        return SimpleNamespace(fps=25.0)

    def head_frame(self, clip_id, frame, size):
        assert size == SIZE
        return self.frames[frame]

    def source_frame(self, clip_id, frame, size):
        rows, columns = np.mgrid[:size, :size]
        depth = np.where(self.frames[frame].head_mask, 50.0 + 0.1 * np.hypot(rows - 32, columns - 32), 0.0)
        return SourceFrame(self.head_frame(clip_id, frame, size), depth.astype(np.float32), np.zeros((size, size, 3)))

    def cloud(self, clip_id, frame):
        return small_cloud()


def small_cloud():
    positions = np.array([[-4.0, 0, 0], [-2.0, 3, 2], [4.0, 0, 0]], np.float32)
    normals = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0]], np.float32)
    return HeadCloud(positions, normals, np.zeros((3, 2), np.int16), np.array([-1, -1, 0], np.int32))


def write_frames(path: Path, frames, fps):
    """Stand in for the H.264 writer: write shape and frame rate as text."""
    frames = np.stack(list(frames))
    path.write_bytes(f"{frames.shape} {fps:g}".encode())


def name_frame(clip_id, frame):
    """Stand in for the drawing of an inspection: return its arguments as text."""
    return f"{clip_id} frame {frame}".encode()


@dataclass(frozen=True)
class Entry:
    clip_id: str = "0123456789abcdef-f000000"
    identity: str = "someone"
    num_frames: int = 6
    source_frames: tuple[int, ...] = (1, 4)


def make_stage(settings=None, reenactor=None, encoder=None, measurer=None, clips=None):
    clips = clips or SyntheticClips()
    return ReenactClip(
        settings or EvaluateConfig(panel_size=64),
        clips,
        reenactor or PerfectReenactor(clips),
        measurer or ColourMeasurer(),
        encoder or IdentityUnavailable("the weights are not here"),
        write_frames,
        draw_inspection=name_frame,
    )
