"""Provides a scored clip and a speed to the tests of the steps after scoring."""

import pytest

from mggtalk.evaluation.speed import Speed
from tests.unit.evaluation import synthetic


@pytest.fixture(scope="session")
def clip_result():
    (result,) = synthetic.make_stage()(synthetic.Entry())
    return result


@pytest.fixture
def speed():
    return Speed(12.0, 30.0, 1234, synthetic.SIZE, 1, "cpu", 1)
