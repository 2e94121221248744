import dataclasses

import pytest

from mggtalk.config import validate
from mggtalk.errors import ParamsError
from mggtalk.models.config import ModelConfig
from tests.unit.models.small import small_model


def test_sizes_that_fit_are_taken():
    assert validate(dataclasses.asdict(small_model()), ModelConfig, "params.yaml: train.model") == small_model()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resolution", 36),
        ("point_stride", 3),
        ("point_stride", 0),
        ("unet_channels", 6),
        ("unet_channels", 0),
        ("feature_channels", 10),
        ("hidden_channels", "many"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name(key, value):
    values = dataclasses.asdict(small_model()) | {key: value}
    with pytest.raises(ParamsError, match=rf"params\.yaml: train\.model.*{key}"):
        validate(values, ModelConfig, "params.yaml: train.model")
