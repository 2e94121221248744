"""Scores the predictor during training, on fixed pairs of the validation split."""

import math
from collections.abc import Sequence

import torch

from mggtalk.models.predictor import TalkingHeadPredictor
from mggtalk.records import Split
from mggtalk.shards.reader import Shards
from mggtalk.training.config import TrainConfig
from mggtalk.training.data.host_batch import HostBatch
from mggtalk.training.data.pairs import FramePair, PairReader, collate_tracks
from mggtalk.training.images import NUM_ROWS, Reported, row, sheet


def validate_pairs(
    predictor: TalkingHeadPredictor, shards: Shards, settings: TrainConfig, device: torch.device
) -> dict[str, Reported]:
    """Return the mean PSNR in dB over head pixels and over all valid pixels; empty if the split is.

    `val/pairs` shows some of the pairs, a row each: source, target, rendered head, final image.

    Source: PSNR = -10 log10(MSE) of values in [0, 1].
    """
    if not shards.clips(Split.VAL) or settings.validation_pairs < 1:
        return {}
    reader = PairReader(shards, Split.VAL, settings.model.resolution, settings.seed)
    pairs = [reader.sampler.pair(number) for number in range(settings.validation_pairs)]
    shown = shown_pairs(pairs)
    head, full, rows = [], [], []
    with torch.no_grad():
        for number, pair in enumerate(pairs):
            (source_frame, target_frame), tracks = reader.read(pair), collate_tracks([reader.read_tracks(pair)])
            source, driver, target, _ = HostBatch.of((source_frame,), (target_frame,), tracks).unpack(device)
            avatar = predictor.reconstruct(source)
            children = predictor.densify(avatar, predictor.animate(avatar, driver.expression))
            condition_masks = predictor.render_condition_masks(avatar, driver)
            rendered, alpha = predictor.render(children, driver)
            image = predictor.inpaint(avatar, rendered, alpha, condition_masks, driver.expression)
            error = (image.clamp(0, 1) - target.image).square().mean(dim=1, keepdim=True)
            head.append(_psnr(error, target.head_mask * target.valid))
            full.append(_psnr(error, target.valid))
            if number in shown:
                rows.append(row((source.image, target.image, rendered[:, :3], image)))
    means = {"val/psnr_head": sum(head) / len(head), "val/psnr": sum(full) / len(full)}
    return {**means, "val/pairs": sheet(rows)}


def shown_pairs(pairs: Sequence[FramePair]) -> set[int]:
    """Return the numbers of the pairs on the sheet: the first of each clip, then the first of the rest."""
    firsts = {pair.clip_id: number for number, pair in reversed([*enumerate(pairs)])}.values()
    return set(sorted(range(len(pairs)), key=lambda number: number not in firsts)[:NUM_ROWS])


def _psnr(error: torch.Tensor, mask: torch.Tensor) -> float:
    mean = float((error * mask).sum() / mask.sum().clamp(min=1))
    return -10 * math.log10(max(mean, 1e-10))
