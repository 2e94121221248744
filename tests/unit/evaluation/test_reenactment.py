import math

import cv2
import numpy as np
import pytest

from mggtalk.config import validate
from mggtalk.errors import ParamsError
from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.reenactment import driver_frames, evenly_spread, source_frames, turn_deg
from mggtalk.evaluation.results import COPY_SOURCE, DRIVER, MESH_WARP, METHODS, MODEL, image_name
from mggtalk.records import Rejected, RejectReason, Split
from mggtalk.shards.protocol import PSNR_CAP_DB
from tests.unit.evaluation import synthetic


def decoded(png):
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB))


def scores_of(result, method):
    return [driven.scores[method] for driven in result.driven]


def detected_of(result, name):
    return [driven.detected[name] for driven in result.driven]


def test_a_perfect_model_reaches_the_best_value_of_every_metric():
    (result,) = synthetic.make_stage(encoder=synthetic.ColourEncoder())(synthetic.Entry())
    for scores in scores_of(result, MODEL):
        assert scores.psnr == scores.psnr_head == PSNR_CAP_DB
        assert scores.ssim == pytest.approx(1.0)
        assert scores.ssim_head == pytest.approx(1.0)
        assert scores.csim == pytest.approx(1.0)
        assert scores.aed == scores.apd == scores.akd == 0.0


def test_the_source_is_the_first_source_frame_and_the_others_drive(clip_result):
    assert clip_result.source_frame == 1
    assert clip_result.frames == (0, 2, 3, 4, 5)
    assert all(set(driven.scores) == set(METHODS) for driven in clip_result.driven)
    assert {driven.source_frame for driven in clip_result.driven} == {1}
    assert clip_result.driven_far == ()


def test_copying_gets_worse_the_farther_the_driver_is(clip_result):
    by_frame = dict(zip(clip_result.frames, scores_of(clip_result, COPY_SOURCE), strict=True))
    assert by_frame[2].psnr_head < PSNR_CAP_DB
    assert by_frame[5].psnr_head < by_frame[2].psnr_head


def test_the_warp_follows_the_driver_better_than_copying(clip_result):
    def mean(method):
        return np.mean([scores.psnr_head for scores in scores_of(clip_result, method)])

    assert mean(MESH_WARP) > mean(COPY_SOURCE) + 3.0


def test_frames_without_a_face_have_no_face_metrics():
    class BlackReenactor(synthetic.PerfectReenactor):
        def render(self, avatar, expression, head_to_camera):
            return np.zeros((self.resolution, self.resolution, 3), np.uint8)

    stage = synthetic.make_stage(reenactor=BlackReenactor(synthetic.SyntheticClips()))
    (result,) = stage(synthetic.Entry())
    assert detected_of(result, MODEL) == [False] * 5
    assert detected_of(result, DRIVER) == detected_of(result, COPY_SOURCE) == [True] * 5
    assert all(math.isnan(scores.aed) and math.isnan(scores.akd) for scores in scores_of(result, MODEL))
    assert all(math.isfinite(scores.psnr) for scores in scores_of(result, MODEL))


def test_the_images_are_those_of_the_drivers():
    settings = EvaluateConfig(panel_size=64, pictures_per_clip=2)
    (result,) = synthetic.make_stage(settings)(synthetic.Entry())
    assert len(result.shown_frames) == 2
    clips = synthetic.SyntheticClips()
    for frame in result.shown_frames:
        for panel in (DRIVER, MODEL):
            assert np.array_equal(decoded(result.images[image_name(frame, panel)]), clips.frames[frame].image)
    assert np.array_equal(decoded(result.images["source.png"]), clips.frames[1].image)


def test_the_inspection_is_that_of_the_source_frame(clip_result):
    assert clip_result.images["inspection.jpg"] == b"0123456789abcdef-f000000 frame 1"


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


class CountingMeasurer(synthetic.ColourMeasurer):
    def __init__(self):
        self.count = 0

    def measure(self, image):
        self.count += 1
        return super().measure(image)


TURNING = (0.0, 10.0, -30.0, 31.0, 12.0, -8.0)


def test_each_driver_s_turn_is_against_its_source():
    (result,) = synthetic.make_stage(clips=synthetic.SyntheticClips(TURNING))(synthetic.Entry())
    assert [driven.turn_deg for driven in result.driven] == pytest.approx([10.0, 40.0, 21.0, 2.0, 18.0], abs=1e-4)
    assert [driven.frame for driven in result.large_turns(20.0)] == [2, 3]
    assert [driven.frame for driven in result.large_turns(50.0)] == []


def test_further_sources_are_driven_by_large_turns_only():
    settings = EvaluateConfig(panel_size=64, sources_per_clip=2)
    measurer = CountingMeasurer()
    stage = synthetic.make_stage(settings, clips=synthetic.SyntheticClips(TURNING), measurer=measurer)
    (result,) = stage(synthetic.Entry(source_frames=(1, 3, 5)))
    pairs = [(driven.source_frame, driven.frame) for driven in (*result.driven, *result.driven_far)]
    assert pairs[:5] == [(1, 0), (1, 2), (1, 3), (1, 4), (1, 5)]
    assert pairs[5:] == [(3, 0), (3, 1), (3, 2), (3, 5)]  # of the second source, 31 degrees: not frame 4, 19 from it
    assert [driven.frame for driven in result.large_turns(20.0)] == [2, 3, 0, 1, 2, 5]
    assert {driven.scores[MODEL].psnr for driven in result.driven_far} == {PSNR_CAP_DB}
    assert measurer.count == 6 + 2 * len(pairs)  # each frame of the clip once; what the model and the warp made of each


def test_a_far_driver_is_worse_to_copy_than_a_near_one():
    settings = EvaluateConfig(panel_size=64, sources_per_clip=2)
    (result,) = synthetic.make_stage(settings, clips=synthetic.SyntheticClips(TURNING))(synthetic.Entry())
    first, second = (source.scores[COPY_SOURCE] for source in (result.driven[1], result.driven_far[0]))
    assert (result.driven[1].frame, result.driven_far[0].frame) == (2, 2)
    assert first.psnr_head > second.psnr_head  # frame 1 was rolled by less than frame 4


def test_turns_go_the_short_way_round():
    poses = [synthetic.head_to_camera(yaw_deg=yaw).astype(np.float32) for yaw in (170.0, -170.0)]
    assert turn_deg(*poses) == pytest.approx(20.0, abs=1e-4)
    assert turn_deg(poses[0], poses[0]) == 0.0


def test_sources_are_the_first_and_evenly_spread():
    entry = synthetic.Entry(num_frames=50, source_frames=(0, 8, 16, 24, 32, 40, 48))
    assert source_frames(entry, EvaluateConfig()) == [0]
    assert source_frames(entry, EvaluateConfig(sources_per_clip=3)) == [0, 16, 32]
    assert source_frames(entry, EvaluateConfig(sources_per_clip=9)) == list(entry.source_frames)


def test_driver_frames_step_and_limit():
    entry = synthetic.Entry(num_frames=20, source_frames=(4, 9))
    assert driver_frames(entry, EvaluateConfig(frame_step=4, max_frames_per_clip=3)) == [0, 8, 12]
    assert driver_frames(entry, EvaluateConfig(frame_step=4, max_frames_per_clip=3), 8) == [0, 4, 12]


def test_images_are_evenly_spread():
    assert evenly_spread(9, 3) == [1, 4, 7]
    assert evenly_spread(2, 5) == [0, 1]


def test_the_config_reads_strictly_and_checks_ranges():
    assert validate({"split": "val", "frame_step": 2}, EvaluateConfig, "params.yaml: evaluate").split is Split.VAL
    with pytest.raises(ParamsError, match="unknown key 'frame_steps'"):
        validate({"frame_steps": 2}, EvaluateConfig, "params.yaml: evaluate")
    with pytest.raises(ParamsError, match="frame_step: got 0, expected at least 1"):
        validate({"frame_step": 0}, EvaluateConfig, "params.yaml: evaluate")
    with pytest.raises(ParamsError, match="sources_per_clip: got 0, expected at least 1"):
        validate({"sources_per_clip": 0}, EvaluateConfig, "params.yaml: evaluate")
    with pytest.raises(ParamsError, match=r"large_turn_deg: got 0\.0, expected more than 0"):
        validate({"large_turn_deg": 0}, EvaluateConfig, "params.yaml: evaluate")
    with pytest.raises(ParamsError, match="panel_size: got 63"):
        validate({"panel_size": 63}, EvaluateConfig, "params.yaml: evaluate")
