import pickle
from pathlib import Path

import pytest

from mggtalk.errors import MggtalkError, SchemaVersionError, WeightsError
from mggtalk.runtime.failures import Failure, StageBugError


@pytest.mark.parametrize("error", [WeightsError("missing"), SchemaVersionError("version 9, expected 1")])
def test_an_error_of_the_user_comes_back_as_itself_from_another_process(error):
    carried = pickle.loads(pickle.dumps(Failure.of(error, "anywhere")))
    with pytest.raises(MggtalkError, match=f"^{error}$") as caught:
        carried.reraise()
    assert type(caught.value) is type(error)


def test_a_bug_that_passes_two_processes_keeps_the_first_place_and_trace():
    try:
        Path("nowhere").read_text()
    except FileNotFoundError as error:
        inner = Failure.of(error, "on record 'a'")
    with pytest.raises(StageBugError) as caught:
        inner.reraise()
    outer = Failure.of(caught.value, "on record 'b'")
    assert outer.description.startswith("on record 'a': FileNotFoundError: ")
    assert "on record 'b'" not in outer.description
    assert 'Path("nowhere").read_text()' in outer.description
