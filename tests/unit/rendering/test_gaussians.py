import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mggtalk.rendering import Gaussians, rotation_matrices
from tests.unit.rendering.scenes import GAUSSIAN_FIELDS, cloud


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4).filter(lambda q: sum(v * v for v in q) > 1e-3))
def test_rotation_matrices_agree_with_scipy(quaternion):
    matrix = rotation_matrices(torch.tensor(quaternion, dtype=torch.float64))
    expected = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
    torch.testing.assert_close(matrix, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_to_converts_every_tensor():
    converted = cloud(1, 3, (0.1, 1.0), seed=0).to(torch.float32)
    assert {getattr(converted, name).dtype for name in GAUSSIAN_FIELDS} == {torch.float32}


@pytest.mark.parametrize("name", GAUSSIAN_FIELDS)
def test_a_tensor_of_another_shape_is_named(name):
    fields = {field: getattr(cloud(2, 3, (0.1, 1.0), seed=0), field) for field in GAUSSIAN_FIELDS}
    fields[name] = fields[name][:1] if name != "means" else fields[name][..., :2]
    with pytest.raises(ValueError, match=rf"Gaussians\.{name}: expected shape"):
        Gaussians(**fields)
