import dataclasses
import json

import yaml

from mggtalk.evaluation.metrics import METRICS
from mggtalk.records import Split
from mggtalk.shards import CardContext, write_card
from mggtalk.shards.card.card import summarise
from mggtalk.shards.protocol import PROTOCOL_VERSION, shards_protocol
from tests.support.shard_samples import make_clip

CONTEXT = CardContext(
    name="people",
    description="Ünïcode people.",
    examples="ab" * 32,
    protocol=shards_protocol(size=512, crop_margin=1.2, head_parsing="selfie"),
    parameters={"jpeg_quality": 95, "size": 512},
    models={"face_landmarker": "64" * 32},
    code="c0de" * 16,
    tools={"mediapipe": "1.2.2", "opencv": "5.0.0"},
    rejects={"NO_FACE": 3, "TOO_SHORT": 1},
)


def dataset(tmp_path, write_dataset):
    clips = [make_clip("0" * 16, num_frames=90, size=8, audio=b"fLaC"), make_clip("f" * 16, split=Split.VAL)]
    return write_dataset(tmp_path / "shards", clips)


def test_card_json_counts_what_is_there(tmp_path, write_dataset):
    write_card(tmp_path, dataset(tmp_path, write_dataset), CONTEXT)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["total"] | {"bytes": 0} == {
        "identities": 2,
        "videos": 2,
        "clips": 2,
        "samples": 3,
        "frames": 93,
        "source_frames": 47,
        "hours": round(93 / 25 / 3600, 4),
        "shards": 2,
        "bytes": 0,
    }
    assert {split: counts["clips"] for split, counts in card["splits"].items()} == {"train": 1, "val": 1, "test": 0}
    assert card["licenses"]["CC-BY-4.0"]["identities"] == 2
    assert card["sound"]["present"] == {"clips": 1, "hours": 0.001, "dbfs": [-23.0, -23.0, -23.0]}
    assert card["sound"]["none"] == {"clips": 1, "hours": 0.0, "dbfs": None}
    assert card["sound"]["silent"]["clips"] == card["sound"]["broken"]["clips"] == 0
    assert card["rejects"] == {"NO_FACE": 3, "TOO_SHORT": 1}
    assert card["examples"] == "ab" * 32
    assert (card["protocol"]["version"], set(card["protocol"]["metrics"])) == (PROTOCOL_VERSION, set(METRICS))
    assert card["code"] == "c0de" * 16
    assert (card["schema_version"], card["models"]) == (2, {"face_landmarker": "64" * 32})


def test_card_md_opens_with_front_matter_for_the_hub_and_says_it_all(tmp_path, write_dataset):
    write_card(tmp_path, dataset(tmp_path, write_dataset), CONTEXT)
    _, front_matter, body = (tmp_path / "CARD.md").read_text().split("---\n", 2)
    header = yaml.safe_load(front_matter)
    assert (header["license"], header["pretty_name"]) == (["cc-by-4.0"], "people")
    assert header["configs"][0]["data_files"] == [
        {"split": "train", "path": "train/*.tar"},
        {"split": "val", "path": "val/*.tar"},
    ]
    for line in [
        "Ünïcode people.",
        f"Code of the stage (digest): `{'c0de' * 16}`",
        "| train | 1 | 1 | 1 | 90 | 45 |",
        "* `CC-BY-4.0`: 2 clips of 2 identities",
        "| present | 1 | 0.001 | -23.0, -23.0, -23.0 |",
        "| none | 1 | 0.0 |  |",
        "* `NO_FACE`: 3",
        "jpeg_quality: 95",
        f"* `face_landmarker`: `{'64' * 32}`",
        "* opencv 5.0.0",
        "](examples.jpg)",
        f"version: {PROTOCOL_VERSION}",
        "  margin: 1.2",
        "head_mask: selfie",
    ]:
        assert line in body


def test_same_inputs_same_bytes(tmp_path, write_dataset):
    rows = dataset(tmp_path, write_dataset)
    shuffled = dataclasses.replace(
        CONTEXT,
        parameters=dict(sorted(CONTEXT.parameters.items(), reverse=True)),
        tools=dict(sorted(CONTEXT.tools.items(), reverse=True)),
        rejects=dict(sorted(CONTEXT.rejects.items(), reverse=True)),
    )
    write_card(tmp_path / "a", rows, CONTEXT)
    write_card(tmp_path / "b", reversed(rows), shuffled)
    for name in ("CARD.md", "card.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_empty_data_set_has_a_card(tmp_path):
    write_card(tmp_path, [], CardContext("nothing"))
    text = (tmp_path / "CARD.md").read_text()
    assert "No clips." in text
    assert "Nothing." in text
    assert "examples.jpg" not in text
    assert "Metric protocol" not in text


def test_the_level_of_a_clip_is_the_mean_power_of_its_samples(tmp_path, write_dataset):
    rows = write_dataset(tmp_path / "shards", [make_clip("0" * 16, num_frames=128, size=8, audio=b"fLaC")])
    loud_then_silent = [dataclasses.replace(rows[0], audio_dbfs=-20.0), dataclasses.replace(rows[1], audio_dbfs=None)]
    assert summarise(loud_then_silent, CONTEXT)["sound"]["present"]["dbfs"] == [-23.0] * 3
