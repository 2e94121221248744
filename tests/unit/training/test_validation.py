import dataclasses
import math

import pytest
import torch

from mggtalk.models.predictor import TalkingHeadPredictor
from mggtalk.records import Split
from mggtalk.training.data.pairs import PairReader
from mggtalk.training.images import image_metrics, scalar_metrics
from mggtalk.training.validation import validate_pairs
from tests.support.synthetic_head import make_talking_clip, write_talking_shards
from tests.unit.models.small import small_model, small_predictor
from tests.unit.training.small import small_training

CPU = torch.device("cpu")


def test_validation_measures_the_images(shards):
    settings = small_training(validation_pairs=3)
    metrics = validate_pairs(small_predictor(), shards, settings, CPU)
    again = validate_pairs(small_predictor(), shards, settings, CPU)
    assert scalar_metrics(metrics) == scalar_metrics(again)
    assert image_metrics(metrics)["val/pairs"].pixels.tobytes() == image_metrics(again)["val/pairs"].pixels.tobytes()

    class Grey(TalkingHeadPredictor):
        """Answers with one grey: its error is known."""

        def inpaint(self, avatar, rendered, alpha, openings, expression):
            return torch.full_like(super().inpaint(avatar, rendered, alpha, openings, expression), 0.5)

    grey = scalar_metrics(
        validate_pairs(Grey(small_model()), shards, dataclasses.replace(settings, validation_pairs=1), CPU)
    )
    pair = PairReader(shards, Split.VAL, 32, seed=0).sampler.pair(0)
    target = shards.head_frame(pair.clip_id, pair.target_frame, 32)
    image = torch.from_numpy(target.image).double() / 255
    error = (image - 0.5).square().mean(dim=-1)
    mask = torch.from_numpy(target.head_mask)
    assert grey["val/psnr"] == pytest.approx(-10 * math.log10(float(error.mean())), abs=1e-3)
    assert grey["val/psnr_head"] == pytest.approx(-10 * math.log10(float(error[mask].mean())), abs=1e-3)


def test_no_validation_clips_give_no_metrics(tmp_path):
    shards = write_talking_shards(tmp_path, [make_talking_clip("00000000000000aa-f000000", num_frames=2)])
    assert validate_pairs(small_predictor(), shards, small_training(validation_pairs=2), CPU) == {}
