import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.models.points.async_nonzero import AsyncNonzero, AsyncScalar


@given(st.integers(0, 4), st.integers(0, 5), st.integers(0, 3), st.floats(0, 1), st.integers(0, 2**31))
def test_indices_are_those_where_the_mask_holds(heads, rows, columns, fraction, seed):
    mask = torch.rand(heads, rows, columns, generator=torch.Generator().manual_seed(seed)) < fraction
    indices = AsyncNonzero(mask).indices()
    assert indices.dtype == torch.int64
    assert torch.equal(indices, mask.nonzero())


@pytest.mark.gpu
def test_the_host_is_told_a_number_before_the_device_has_done_what_was_launched_after_it():
    matrix = torch.rand(8192, 8192, device="cuda")
    mask = torch.rand(1000, device="cuda") < 0.5
    matrix @ matrix
    AsyncNonzero(mask).indices()  # CUDA loads a kernel at its first use, and may wait for the device to do so
    torch.cuda.synchronize()
    number, chosen = AsyncScalar(mask.sum()), AsyncNonzero(mask)
    for _ in range(20):
        matrix = matrix @ matrix
    done = torch.cuda.Event()
    done.record()
    assert number.wait() == len(chosen.indices())
    assert not done.query()
    assert torch.equal(chosen.indices(), mask.nonzero())
    assert not AsyncNonzero(mask & ~mask).indices().numel()
    assert AsyncNonzero(mask.new_empty(0, 3)).indices().shape == (0, 2)
