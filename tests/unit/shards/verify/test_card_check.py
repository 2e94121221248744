"""`verify` computes the card again from the index."""

import json

from tests.support.verified_shards import edit, find_issues


def test_the_card_is_held_against_the_index(dataset):
    root, _ = dataset
    card = json.loads((root / "card.json").read_bytes())
    card["splits"]["train"]["clips"] = 4
    (root / "card.json").write_text(json.dumps(card))
    (issue,) = find_issues(root)
    assert str(issue) == "card.json: splits.train.clips: not what the index gives: got 4, expected 3"
    card["splits"]["train"]["clips"] = 3
    (root / "card.json").write_text(json.dumps(card))
    assert [str(issue) for issue in find_issues(root)] == ["card.json: not as it is written: sorted keys, two spaces"]
    edit(root / "CARD.md", lambda text: text.extend(b"More.\n"))
    assert [issue.file for issue in find_issues(root)] == ["card.json", "CARD.md"]
