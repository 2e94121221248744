from collections.abc import Iterator

import pytest
import torch
import torch._dynamo  # torch loads it when it first needs it, which takes a second of that test's time


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small run faster on one thread, and tests run beside others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
