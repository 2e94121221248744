"""Sorts the classes of face-parsing networks, by name, into parts of the head and others.

Source: Lee et al., MaskGAN, CVPR 2020 (CelebAMask-HQ), for the names.
"""

from collections.abc import Mapping
from pathlib import Path

from mggtalk.errors import WeightsError

_SIDED = ("brow", "eyebrow", "eye", "ear", "lip")
_HEAD = {
    *("skin", "face", "face_skin", "nose", "mouth", "inner_mouth", "teeth", "hair", "hat"),
    *("eye_g", "eye_glass", "eyeglass", "eyeglasses", "glasses", "sunglasses"),  # CelebAMask-HQ: `eye_g`
    *("ear_r", "earring", "earrings"),  # CelebAMask-HQ: `ear_r` is an earring, not the right ear
    *(f"{side}{part}" for part in _SIDED for side in ("l_", "r_", "left_", "right_")),
    *(f"{side}lip" for side in ("u_", "upper_", "lower_")),  # `l_lip` is the lower one
    *("brows", "eyes", "ears", "lips"),
}
_NOT_HEAD = {
    *("background", "neck", "neck_l", "necklace", "cloth", "clothes", "clothing", "body", "body_skin", "hand", "hands"),
}


def head_classes(labels: Mapping[int, str], source: Path | str) -> tuple[int, ...]:
    """Return the indices of the classes that belong to a head.

    Args:
        labels: class -> name, `id2label` of a network's configuration. source: of the labels, for the message.

    Raises:
        WeightsError: a name is unknown, or none belongs to a head.
    """
    names = {int(number): name.strip().lower().replace(" ", "_").replace("-", "_") for number, name in labels.items()}
    if unknown := sorted({name for name in names.values() if name not in _HEAD | _NOT_HEAD}):
        raise WeightsError(
            f"{source}: labels {', '.join(unknown)} are unknown; expected names of a face's parts, such as "
            "skin, l_eye, u_lip, hair, eye_g, ear_r, hat, neck, neck_l, cloth, background"
        )
    classes = tuple(number for number, name in sorted(names.items()) if name in _HEAD)
    if not classes:
        raise WeightsError(f"{source}: no label is of a head; got {', '.join(names.values())}")
    return classes
