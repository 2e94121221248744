"""Real faces, tracked once for all tests of the stages."""

from pathlib import Path

import pytest

from mggtalk.records import TrackedVideo, VideoRecord
from tests.support.footage import first_frames, late_tone, record_of, tracked_video, write_frames


@pytest.fixture(scope="session")
def tracked_face(sample_videos, track_models) -> TrackedVideo:
    """The whole of `single_face.mp4`."""
    return tracked_video(record_of(sample_videos["single_face.mp4"]), track_models)


@pytest.fixture(scope="session")
def talking_video(sample_videos, tmp_path_factory) -> VideoRecord:
    """72 frames, more than one chunk, of the face there and back again, with a tone from 1 s on."""
    there = first_frames(sample_videos["single_face.mp4"], 36)
    folder: Path = tmp_path_factory.mktemp("talking")
    path = write_frames(folder / "talking.mp4", there + there[::-1], late_tone(72 / 25))
    return record_of(path, has_audio=True)


@pytest.fixture(scope="session")
def tracked_talk(talking_video, track_models) -> TrackedVideo:
    """Its tracks: one clip."""
    return tracked_video(talking_video, track_models)
