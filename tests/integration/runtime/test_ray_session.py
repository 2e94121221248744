import socket

import pytest

from mggtalk.errors import StageError
from mggtalk.runtime.ray_session import local_workers, ray_session


def test_the_number_of_workers_is_the_user_s_or_the_machine_s(monkeypatch):
    monkeypatch.setenv("MGGTALK_WORKERS", "3")
    assert local_workers() == 3
    monkeypatch.delenv("MGGTALK_WORKERS")
    assert local_workers() >= 1


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_a_number_of_workers_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("MGGTALK_WORKERS", text)
    with pytest.raises(StageError, match="MGGTALK_WORKERS: expected a whole number"):
        local_workers()


@pytest.mark.usefixtures("local_ray")
def test_a_session_inside_a_session_leaves_the_outer_one_running():
    import ray

    with ray_session():
        assert ray.is_initialized()
    assert ray.is_initialized()


def test_a_cluster_that_does_not_answer_is_an_error_at_once(monkeypatch):
    import ray

    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        with pytest.raises(StageError, match=f"no Ray cluster answers at '{address}'"), ray_session():
            pass
