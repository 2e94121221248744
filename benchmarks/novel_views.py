"""Renders held-out heads from new views: `python -m benchmarks.novel_views MODEL SHARDS OUT.png [--people 6]`.

Draws one row per person of the split `test`: the source, which is the most frontal frame with geometry, and the head
in its own expression, turned to one side, as it is, and turned to the other. There is no ground truth to compare with.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8

from mggtalk.geometry.head.head_pose import rotation_angles
from mggtalk.models.checkpoint import load_predictor
from mggtalk.models.reenactor import Reenactor
from mggtalk.records import Split
from mggtalk.shards import Shards

Image = UInt8[np.ndarray, "size size 3"]


def frontal_frames(shards: Shards, people: int) -> dict[str, tuple[str, int]]:
    """Return clip and frame of the most frontal source frame, for the `people` with the most frontal ones."""
    best: dict[str, tuple[float, str, int]] = {}
    for clip in shards.clips(Split.TEST):
        for number in clip.source_frames:
            tracks, index = shards.sample_tracks(clip.clip_id, number)
            yaw = abs(float(rotation_angles(tracks.head_to_camera[index, :3, :3])[0]))
            if clip.identity not in best or yaw < best[clip.identity][0]:
                best[clip.identity] = (yaw, clip.clip_id, number)
    chosen = sorted(best.items(), key=lambda item: item[1][0])[:people]
    return {name: (clip_id, number) for name, (_, clip_id, number) in chosen}


def turned(head_to_camera: Float32[np.ndarray, "4 4"], degrees: float) -> Float32[np.ndarray, "4 4"]:
    """Return the pose after a turn about the head's own vertical axis."""
    angle = np.radians(degrees)
    turn = np.eye(4, dtype=np.float32)
    turn[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    return np.asarray(head_to_camera @ turn)


def row(reenactor: Reenactor, shards: Shards, clip_id: str, number: int, turn: float) -> Image:
    """Return source, head turned to one side, as it is, and to the other."""
    source = shards.source_frame(clip_id, number, reenactor.resolution)
    head = reenactor.reconstruct(source)
    poses = [turned(source.frame.head_to_camera, degrees) for degrees in (-turn, 0.0, turn)]
    views = [reenactor.render(head, source.frame.expression, pose) for pose in poses]
    return np.hstack([source.frame.image, *views])


def main() -> None:
    """Write the image and name its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--turn", type=float, default=30.0, help="degrees")
    options = parser.parse_args()
    shards = Shards(options.shards)
    reenactor = Reenactor(load_predictor(options.model), "cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for name, (clip_id, number) in frontal_frames(shards, options.people).items():
        print(f"{name}: clip {clip_id}, frame {number}", flush=True)
        rows.append(row(reenactor, shards, clip_id, number, options.turn))
    cv2.imwrite(str(options.out), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
