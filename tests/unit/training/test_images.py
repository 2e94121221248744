import numpy as np
import torch

from mggtalk.models.batches import collate_drivers, collate_sources
from mggtalk.records import Split
from mggtalk.training.data.pairs import FramePair, PairReader
from mggtalk.training.images import NUM_ROWS, PANEL_PX, LoggedImage, Reported, image_metrics, row, scalar_metrics, sheet
from mggtalk.training.validation import shown_pairs, validate_pairs
from tests.unit.models.small import perturb, small_predictor
from tests.unit.training.small import small_training

CPU = torch.device("cpu")


def test_validation_shows_pairs_beside_their_renders(shards):
    settings, predictor = small_training(validation_pairs=NUM_ROWS + 1), small_predictor()
    perturb(predictor, scale=0.05)
    shown = image_metrics(validate_pairs(predictor, shards, settings, CPU))["val/pairs"].pixels
    assert shown.shape == (NUM_ROWS * 32, 4 * 32, 3)
    reader = PairReader(shards, Split.VAL, 32, seed=0)
    for number, line in enumerate(np.split(shown, NUM_ROWS)):
        pair = reader.sampler.pair(number)
        source, target = (shards.head_frame(pair.clip_id, at, 32) for at in (pair.source_frame, pair.target_frame))
        sources = collate_sources([shards.source_frame(pair.clip_id, pair.source_frame, 32)])
        with torch.no_grad():
            _, images = predictor(sources, collate_drivers([target]))
        assert images.head is not None
        assert images.image is not None
        renders = [image[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255 for image in (images.head, images.image)]
        expected = np.concatenate((source.image, target.image, *renders), axis=1)
        assert np.abs(line - expected).max() <= 1.01


def test_fewer_pairs_than_rows_are_all_shown(shards):
    shown = image_metrics(validate_pairs(small_predictor(), shards, small_training(validation_pairs=2), CPU))
    assert shown["val/pairs"].pixels.shape == (2 * 32, 4 * 32, 3)


def test_the_sheet_shows_as_many_clips_as_it_can():
    def shown(clips: str) -> set[int]:
        return shown_pairs([FramePair(clip, 0, 0) for clip in clips])

    assert NUM_ROWS == 4
    assert shown("aaabacad") == {0, 3, 5, 7}
    assert shown("aaabaaaa") == {0, 1, 2, 3}
    assert shown("aaaaab") == {0, 1, 2, 5}
    assert shown("abcdef") == {0, 1, 2, 3}
    assert shown("aa") == {0, 1}


def test_large_panels_shrink_by_areas_and_colours_are_cut_off():
    image = torch.zeros(1, 3, 2 * PANEL_PX, 2 * PANEL_PX)
    image[:, 0, ::2] = 1.0
    image[:, 1] = 7.0
    image[:, 2] = -7.0
    shown = sheet([row([image, image])]).pixels
    assert shown.shape == (PANEL_PX, 2 * PANEL_PX, 3)
    assert (shown == [128, 255, 0]).all()


def test_metrics_are_told_apart_from_images():
    image = LoggedImage(np.zeros((1, 1, 3), np.uint8))
    metrics: dict[str, Reported] = {"loss/total": 1.0, "val/pairs": image}
    assert scalar_metrics(metrics) == {"loss/total": 1.0}
    assert image_metrics(metrics) == {"val/pairs": image}
