"""The ablation end to end on tiny shards: in pieces, resumed, and refused where a model is not what it should be."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import yaml

from mggtalk.artifacts import Artifacts
from mggtalk.errors import ParamsError, StageError
from mggtalk.evaluation.ablation import FULL, PaperRow, Variant
from mggtalk.evaluation.ablation import VARIANTS as PAPER_VARIANTS
from mggtalk.models.checkpoint import load_predictor
from mggtalk.params import Params, overridden, read_group
from mggtalk.records import Split, VideoRecord
from mggtalk.runtime import ablation
from mggtalk.runtime.ablation import AblateOptions, EvaluateStage
from mggtalk.runtime.stage_command import StageArguments
from mggtalk.shards import Shards
from mggtalk.stages.ingest.stage import write_videos
from mggtalk.stages.tables import CLIPS_FILE, write_rejects, write_rows
from mggtalk.stages.track.tables import ClipRow
from mggtalk.training.config import TrainConfig
from pipelines import train
from tests.support.paths import ROOT
from tests.support.synthetic_head import make_talking_clip, write_talking_shards

pytestmark = pytest.mark.usefixtures("local_ray", "face_landmarker_path")

CLIP_IDS = {Split.TRAIN: "00000000000000aa-f000000", Split.TEST: "22000000000000cc-f000000"}
TRAIN = {"steps": 2, "log_every": 1, "validation_pairs": 0, "checkpoint_every": 1} | {
    "workers": 1,
    "batch_size": 2,
    "track_pairs": 2,
    "augment": {"color": 0.1, "mirror": False, "roll_deg": 0.0, "zoom": 0.0, "shift": 0.0},
}
EVALUATE_STAGE = EvaluateStage("pipelines.evaluate")
MODEL = {"expression_size": 2, "resolution": 32, "unet_channels": 4, "feature_channels": 8, "hidden_channels": 16}
EVALUATE = {"max_frames_per_clip": 3, "panel_size": 64, "pictures_per_clip": 1, "speed_warmup": 0, "speed_repeats": 1}
# Variants of other sizes: what is tested is the run, not what a switch is worth.
VARIANTS = (
    Variant(FULL, {}, PaperRow(32.40, 18.95, 0.102)),
    Variant("narrow", {"train.model.hidden_channels": 8}, PaperRow(30.0, 20.0, 0.12)),
)


def row(row_type: Any, **values: Any) -> Any:
    """A row of a table, with empty values where none are given."""
    empty = {str: "", int: 0, float: 0.0, bool: False, Split: Split.TRAIN}
    hints = get_type_hints(row_type).items()
    return row_type(**{name: empty[hint] for name, hint in hints if hint in empty} | values)


@pytest.fixture
def arguments(tmp_path: Path) -> Iterator[StageArguments]:
    """Two people in shards, and the tables of the stages before."""
    artifacts = Artifacts(tmp_path / "artifacts")
    clips = [
        make_talking_clip(clip_id, seed=seed, num_frames=4, split=split)
        for seed, (split, clip_id) in enumerate(CLIP_IDS.items())
    ]
    write_talking_shards(artifacts.shards, clips)
    videos = [row(VideoRecord, video_id=clip_id.split("-")[0]) for clip_id in CLIP_IDS.values()]
    write_videos(artifacts.videos, videos, [])
    write_rows(artifacts.tracks / CLIPS_FILE, [row(ClipRow, clip_id=name) for name in CLIP_IDS.values()], ClipRow)
    write_rejects(artifacts.tracks, [])
    write_rejects(artifacts.shards, [])
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"] |= TRAIN
    params["train"]["model"] |= MODEL
    params["evaluate"] |= EVALUATE
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    threads = torch.get_num_threads()
    yield StageArguments(Params.load(tmp_path / "params.yaml"), artifacts)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def ablate(arguments: StageArguments, overrides: Mapping[str, Any] | None = None, **options: Any) -> None:
    arguments = replace(arguments, params=arguments.params.changed(overrides or {}))
    ablation.run(arguments, AblateOptions(launcher="local", **options), train.run, EVALUATE_STAGE, VARIANTS)


def test_an_ablation_in_pieces_gives_one_table(arguments, caplog):
    folder = arguments.artifacts.root / "ablation"
    ablate(arguments, evaluates=False)
    assert load_predictor(folder / "narrow" / "model").settings.hidden_channels == 8
    assert load_predictor(folder / "full" / "model").settings.hidden_channels == 16
    assert not (folder / "full" / "evaluation").exists()
    with caplog.at_level(logging.INFO):
        ablate(arguments, names=["full"], trains=False)
        ablate(arguments)
    assert "not in the table, for not trained and evaluated with these parameters: narrow" in caplog.text
    assert "full was evaluated before" in caplog.text
    assert caplog.text.count("done before") == 2  # no step is trained again
    content = json.loads((folder / "ablation.json").read_text())
    assert [row["variant"] for row in content["rows"]] == ["full", "narrow"]
    for entry in content["rows"]:
        metrics = json.loads((folder / entry["variant"] / "evaluation" / "metrics.json").read_text())
        assert entry["figures"]["self"] == metrics["self"]["model"]
        assert (folder / entry["variant"] / "evaluation" / "report.html").is_file()
    full, narrow = (entry["figures"]["self"]["psnr_head"] for entry in content["rows"])
    assert content["rows"][1]["difference"]["self"]["psnr_head"] == pytest.approx(narrow - full, abs=2e-6)
    assert content["counted"]["self_large_turn"]["frames"] > 0  # the synthetic head turns by 60 degrees
    assert content["data"] == Shards(arguments.artifacts.shards).index_sha256()
    assert "| narrow |" in (folder / "table.md").read_text()
    report = folder / "full" / "evaluation" / "metrics.json"
    before = report.read_bytes()
    report.write_text("{}")  # as another evaluation leaves its own there
    ablate(arguments, names=["full"], trains=False)
    assert json.loads(report.read_text())["self"] == json.loads(before)["self"]


def test_a_model_that_is_not_its_variant_s_is_refused(arguments):
    folder = arguments.artifacts.root / "ablation"
    with pytest.raises(StageError, match=r"full/model/model\.safetensors: no such file; train the variant full first"):
        ablate(arguments, trains=False)
    ablate(arguments, names=["full"], evaluates=False)
    (folder / "full" / "model").rename(folder / "narrow" / "model")
    wrong = r"narrow/model/config\.json: .*train\.model\.hidden_channels: got 16, expected 8$"
    with pytest.raises(StageError, match=wrong):
        ablate(arguments, names=["narrow"], trains=False)
    (folder / "narrow" / "model").rename(folder / "full" / "model")
    config = folder / "full" / "model" / "config.json"
    content = config.read_text()
    config.write_text(json.dumps(json.loads(content) | {"training": [1]}))
    with pytest.raises(StageError, match=r"training\.settings: got nothing that can be read"):
        ablate(arguments, names=["full"], trains=False)
    config.write_text(content)
    with pytest.raises(StageError, match=r"train\.steps: got 2, expected 3$"):  # another budget is another ablation
        ablate(arguments, names=["full"], trains=False, overrides={"train.steps": 3})


def test_every_variant_of_the_paper_has_its_switch_in_the_parameters():
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    full = read_group(content, "train", TrainConfig, "params.yaml").model
    for variant in PAPER_VARIANTS[1:]:
        changed = read_group(overridden(content, variant.overrides), "train", TrainConfig, variant.name).model
        (switch,) = (field.name for field in fields(full) if getattr(full, field.name) != getattr(changed, field.name))
        assert (getattr(full, switch), getattr(changed, switch)) == (True, False)
        assert variant.name == f"no_{switch}"


def test_overrides_and_names_are_read_strictly(arguments):
    with pytest.raises(ParamsError, match=r"variant full: train: unknown key 'step'"):
        ablate(arguments, overrides={"train.step": 3})
    with pytest.raises(ParamsError, match=r"train\.model\.hidden_channels: got 8, which is what makes narrow"):
        ablate(arguments, overrides={"train.model.hidden_channels": 8})
    with pytest.raises(ParamsError, match="groups train and evaluate only"):
        ablate(arguments, overrides={"shards.size": 64})
    with pytest.raises(StageError, match="--variants: got fat; expected some of full, narrow"):
        ablate(arguments, names=["fat"])
    assert not (arguments.artifacts.root / "ablation").exists()
