"""`verify` draws `examples.jpg` again from the shards."""

import hashlib
import json
from dataclasses import replace

import numpy as np

from mggtalk.shards import write_card
from mggtalk.shards.codecs import images
from mggtalk.shards.verify.dataset_check import verify
from tests.support.verified_shards import CONTEXT, find_issues


def test_examples_that_the_shards_do_not_give_are_found(dataset):
    root, rows = dataset
    other = images.encode_rgb(np.full((256, 384, 3), 77, np.uint8), 90)
    assert images.decode_rgb((root / "examples.jpg").read_bytes()).shape == (256, 384, 3)
    stated = json.loads((root / "card.json").read_bytes())["examples"]
    (root / "examples.jpg").write_bytes(other)
    (issue,) = find_issues(root)
    assert (issue.file, issue.expected) == ("examples.jpg", stated)
    write_card(root, rows.values(), replace(CONTEXT, examples=hashlib.sha256(other).hexdigest()))
    (issue,) = find_issues(root)
    assert str(issue) == "examples.jpg: not the image that the shards give"


def test_a_wrong_hash_of_the_examples_is_the_cards_fault(dataset):
    root, rows = dataset
    write_card(root, rows.values(), replace(CONTEXT, examples="0" * 64))
    assert [issue.file for issue in find_issues(root)] == ["card.json"]


def test_examples_of_another_jpeg_encoder_are_a_note(dataset):
    root, rows = dataset
    content = images.encode_rgb(images.decode_rgb((root / "examples.jpg").read_bytes()), 98)
    (root / "examples.jpg").write_bytes(content)
    write_card(root, rows.values(), replace(CONTEXT, examples=hashlib.sha256(content).hexdigest()))
    result = verify(root)
    assert result.issues == []
    assert result.notes == ["examples.jpg: shows what the shards hold; another version of OpenCV wrote it"]


def test_examples_are_there_if_and_only_if_the_card_names_them(dataset):
    root, rows = dataset
    content = (root / "examples.jpg").read_bytes()
    (root / "examples.jpg").unlink()
    assert [str(issue) for issue in find_issues(root)] == ["examples.jpg: missing, but the card names it"]
    (root / "examples.jpg").write_bytes(content)
    write_card(root, rows.values(), replace(CONTEXT, examples=""))
    assert ("examples.jpg", "a file that does not belong here") in [
        (issue.file, issue.what) for issue in find_issues(root)
    ]
