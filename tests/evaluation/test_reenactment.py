import math

import cv2
import numpy as np
import pytest

from mggtalk.errors import ParamsError
from mggtalk.evaluation.reenactment import EvaluateConfig, driver_frames, evenly_spread
from mggtalk.evaluation.results import COPY_SOURCE, DRIVER, MESH_WARP, METHODS, MODEL, picture_name
from mggtalk.params import validate
from mggtalk.records import Rejected, RejectReason, Split
from mggtalk.shards.protocol import PSNR_CAP_DB
from tests.evaluation import synthetic


def decoded(png):
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB))


def test_a_perfect_model_reaches_the_best_value_of_every_metric():
    (result,) = synthetic.make_stage(encoder=synthetic.ColourEncoder())(synthetic.Entry())
    for scores in result.scores[MODEL]:
        assert scores.psnr == scores.psnr_head == PSNR_CAP_DB
        assert scores.ssim == pytest.approx(1.0)
        assert scores.csim == pytest.approx(1.0)
        assert scores.aed == scores.apd == scores.akd == 0.0


def test_the_source_is_the_first_source_frame_and_the_others_drive(clip_result):
    assert clip_result.source_frame == 1
    assert clip_result.frames == (0, 2, 3, 4, 5)
    assert set(clip_result.scores) == set(METHODS)
    assert all(len(scores) == 5 for scores in clip_result.scores.values())


def test_copying_gets_worse_the_farther_the_driver_is(clip_result):
    by_frame = dict(zip(clip_result.frames, clip_result.scores[COPY_SOURCE], strict=True))
    assert by_frame[2].psnr_head < PSNR_CAP_DB
    assert by_frame[5].psnr_head < by_frame[2].psnr_head


def test_the_warp_follows_the_driver_better_than_copying(clip_result):
    def mean(method):
        return np.mean([scores.psnr_head for scores in clip_result.scores[method]])

    assert mean(MESH_WARP) > mean(COPY_SOURCE) + 3.0


def test_frames_without_a_face_have_no_face_metrics():
    class BlackReenactor(synthetic.PerfectReenactor):
        def render(self, avatar, expression, head_to_camera):
            return np.zeros((self.resolution, self.resolution, 3), np.uint8)

    stage = synthetic.make_stage(reenactor=BlackReenactor(synthetic.SyntheticClips()))
    (result,) = stage(synthetic.Entry())
    assert result.detected[MODEL] == (False,) * 5
    assert result.detected[DRIVER] == result.detected[COPY_SOURCE] == (True,) * 5
    assert all(math.isnan(scores.aed) and math.isnan(scores.akd) for scores in result.scores[MODEL])
    assert all(math.isfinite(scores.psnr) for scores in result.scores[MODEL])


def test_the_pictures_are_those_of_the_drivers():
    settings = EvaluateConfig(panel_size=64, pictures_per_clip=2)
    (result,) = synthetic.make_stage(settings)(synthetic.Entry())
    assert len(result.shown_frames) == 2
    clips = synthetic.SyntheticClips()
    for frame in result.shown_frames:
        for panel in (DRIVER, MODEL):
            assert np.array_equal(decoded(result.pictures[picture_name(frame, panel)]), clips.frames[frame].image)
    assert np.array_equal(decoded(result.pictures["source.png"]), clips.frames[1].image)


def test_the_inspection_is_that_of_the_source_frame(clip_result):
    assert clip_result.pictures["inspection.jpg"] == b"0123456789abcdef-f000000 frame 1"


def test_the_video_has_two_rows_of_two_panels_at_the_drivers_rate():
    (result,) = synthetic.make_stage(EvaluateConfig(panel_size=64, frame_step=2))(synthetic.Entry())
    assert result.frames == (0, 2, 4)
    assert result.video == b"(3, 128, 128, 3) 12.5"


@pytest.mark.parametrize(("num_frames", "source_frames"), [(1, (0,)), (6, ())])
def test_a_clip_that_nothing_can_drive_is_rejected(num_frames, source_frames):
    entry = synthetic.Entry(num_frames=num_frames, source_frames=source_frames)
    (rejection,) = synthetic.make_stage()(entry)
    assert isinstance(rejection, Rejected)
    assert (rejection.key, rejection.reason) == (entry.clip_id, RejectReason.TOO_SHORT)


def test_a_render_of_another_size_is_named():
    class SmallReenactor(synthetic.PerfectReenactor):
        def render(self, avatar, expression, head_to_camera):
            return np.zeros((8, 8, 3), np.uint8)

    with pytest.raises(ValueError, match=r"model gave uint8 \(8, 8, 3\), expected the driver's uint8 \(64, 64, 3\)"):
        list(synthetic.make_stage(reenactor=SmallReenactor(synthetic.SyntheticClips()))(synthetic.Entry()))


def test_driver_frames_step_and_limit():
    entry = synthetic.Entry(num_frames=20, source_frames=(4, 9))
    assert driver_frames(entry, EvaluateConfig(frame_step=4, max_frames_per_clip=3)) == [0, 8, 12]


def test_pictures_are_evenly_spread():
    assert evenly_spread(9, 3) == [1, 4, 7]
    assert evenly_spread(2, 5) == [0, 1]


def test_the_config_reads_strictly_and_checks_ranges():
    assert validate({"split": "val", "frame_step": 2}, EvaluateConfig, "params.yaml: evaluate").split is Split.VAL
    with pytest.raises(ParamsError, match="unknown key 'frame_steps'"):
        validate({"frame_steps": 2}, EvaluateConfig, "params.yaml: evaluate")
    with pytest.raises(ParamsError, match="frame_step: got 0, expected at least 1"):
        validate({"frame_step": 0}, EvaluateConfig, "params.yaml: evaluate")
    with pytest.raises(ParamsError, match="panel_size: got 63"):
        validate({"panel_size": 63}, EvaluateConfig, "params.yaml: evaluate")
