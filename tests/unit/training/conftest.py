from collections.abc import Iterator

import pytest
import torch
import torch._dynamo  # torch loads it when it first needs it, which takes a second of that test's time

from mggtalk.records import Split
from mggtalk.shards import Shards
from tests.support.synthetic_head import make_talking_clip, write_talking_shards


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, which suits small networks, and undo the deterministic mode that training switches on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Write shards of two people to train on and a third for validation."""
    clips = [
        make_talking_clip("00000000000000aa-f000000", seed=0),
        make_talking_clip("11000000000000bb-f000000", seed=1, num_frames=4),
        make_talking_clip("22000000000000cc-f000000", seed=2, num_frames=4, split=Split.VAL),
    ]
    return write_talking_shards(tmp_path_factory.mktemp("talking"), clips)
