"""The names that `import mggtalk` offers."""

import numpy as np
import pytest

import mggtalk
from mggtalk.models.checkpoint import dump_predictor
from mggtalk.models.reenactor import Reenactor
from mggtalk.records import Split
from mggtalk.shards import Shards
from tests.support.synthetic_head import make_talking_clip, write_talking_shards
from tests.unit.models.small import small_predictor


def test_every_public_name_can_be_had_and_no_other():
    for name in mggtalk.__all__:
        assert getattr(mggtalk, name) is not None
        assert name in dir(mggtalk)
    assert mggtalk.Split is Split
    with pytest.raises(AttributeError, match="module 'mggtalk' has no attribute 'open_shard'"):
        mggtalk.open_shard  # type: ignore[attr-defined]  # noqa: B018


def test_a_trained_model_animates_a_head_of_a_data_set(tmp_path):
    clip_id = "22000000000000cc-f000000"
    write_talking_shards(tmp_path / "shards", [make_talking_clip(clip_id, num_frames=2, split=Split.TEST)])
    (tmp_path / "model").mkdir()
    for name, content in dump_predictor(small_predictor(), {}).items():
        (tmp_path / "model" / name).write_bytes(content)

    shards = mggtalk.open_shards(tmp_path / "shards", "test")
    model = mggtalk.load_model(str(tmp_path / "model"), "cpu")
    assert isinstance(shards, Shards)
    assert isinstance(model, Reenactor)
    clip = shards.clips()[0]
    head = model.reconstruct(shards.source_frame(clip.clip_id, clip.source_frames[0], model.resolution))
    driver = shards.head_frame(clip.clip_id, 1, model.resolution)
    image = model.render(head, driver.expression, driver.head_to_camera)
    assert image.shape == (model.resolution, model.resolution, 3)
    assert image.dtype == np.uint8
