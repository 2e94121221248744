"""Draws docs/sample_strip.webp: the source image, the driver and the rendered head of the sample's held-out clip.

    python -m scripts.make_sample_strip MODEL SHARDS

MODEL is a folder that `train` wrote, SHARDS the shards of the sample data set. The strip shows the sample woman alone
(video by Wolfgang Langer on Pexels, whose licence allows it).
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mggtalk.fingerprint import PROJECT_ROOT
from mggtalk.models.checkpoint import load_predictor
from mggtalk.models.reenactor import Reenactor
from mggtalk.records import Split
from mggtalk.shards import Shards

OUTPUT = PROJECT_ROOT / "docs" / "sample_strip.webp"
FRAME_STEP = 2
"""Every second frame is drawn, so 12.5 a second."""
NUM_FRAMES = 48
CAPTIONS = ("source image", "driving video", "rendered head")
_CAPTION_PX = 28


def main(model: Path, shards_folder: Path) -> None:
    """Render the held-out clip and write the strip."""
    reenactor, shards = Reenactor(load_predictor(model), "cpu"), Shards(shards_folder)
    clip = shards.clips(Split.TEST)[0]
    size, source_frame = reenactor.resolution, clip.source_frames[0]
    source = shards.source_frame(clip.clip_id, source_frame, size)
    head = reenactor.reconstruct(source)
    rows, columns = np.nonzero(source.frame.valid)  # what lies outside the video frame is black
    inside = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    strips = []
    for number in range(NUM_FRAMES):
        driver = shards.head_frame(clip.clip_id, source_frame + 1 + number * FRAME_STEP, size)
        rendered = reenactor.render(head, driver.expression, driver.head_to_camera)
        strips.append(
            Image.fromarray(
                _captioned(np.hstack([image[inside] for image in (source.frame.image, driver.image, rendered)]))
            )
        )
    strips[0].save(
        OUTPUT, save_all=True, append_images=strips[1:], duration=40 * FRAME_STEP, loop=0, quality=72, method=6
    )


def _captioned(images: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height_with_caption width 3"]:
    caption = np.full((_CAPTION_PX, images.shape[1], 3), 255, np.uint8)
    for column, text in enumerate(CAPTIONS):
        left = column * images.shape[1] // len(CAPTIONS) + 8
        cv2.putText(caption, text, (left, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack((images, caption))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
