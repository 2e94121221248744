"""Runs a training function on the workers of Ray Train (gloo on CPU, NCCL on CUDA), or here in this process.

The function knows neither: it gets its place among the workers and a way to report. What it reports comes to
`on_report` in the process that started the run, which so can draw bars and write files wherever the workers are.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Literal, TypeVar

import torch

from mggtalk.errors import StageError
from mggtalk.runtime.failures import Failure
from mggtalk.runtime.ray_session import local_workers, ray_session
from mggtalk.training.loop import Report, Worker

_logger = logging.getLogger(__name__)

PayloadT = TypeVar("PayloadT")
TrainFunction = Callable[[PayloadT, Worker, Report], None]
Launcher = Literal["ray", "local"]

_GROUP_TIMEOUT_S = 600
"""Until a worker that waits for the others gives up; validation and checkpoints on worker 0 take well under this."""


def run_training(
    train_function: TrainFunction[PayloadT],
    payload: PayloadT,
    *,
    num_workers: int,
    use_gpu: bool,
    storage: Path,
    on_report: Report,
    launcher: Launcher = "ray",
) -> None:
    """Run `train_function(payload, worker, report)` on every worker, to the end.

    Args:
        num_workers: processes that train together, one GPU each where `use_gpu`; `local` has one.
        storage: folder for Ray Train's own records of the run. On a cluster it must be one that all nodes see.
        on_report: gets here what the function reports.
        launcher: `local` calls the function in this process, without Ray.

    Raises:
        MggtalkError: the function raised it on a worker.
        StageBugError: the function raised anything else on a worker.
        StageError: the workers asked for are more than there are GPUs, or a worker died.
        Exception: `on_report` raised it.
    """
    if launcher == "local":
        if num_workers != 1:
            raise StageError(f"train: launcher `local` is one worker, got workers: {num_workers}")
        train_function(payload, _this_process(use_gpu), on_report)
        return
    with ray_session():
        _train_on_ray(train_function, payload, _share(num_workers, use_gpu), storage, on_report)


@dataclass(frozen=True, slots=True)
class _Share:
    """What each of the workers gets of the machine or cluster."""

    num_workers: int
    cpus: float
    gpus: int


def _share(num_workers: int, use_gpu: bool) -> _Share:
    import ray  # noqa: PLC0415  after `ray_session` has set its environment

    available = ray.cluster_resources()
    if use_gpu and available.get("GPU", 0) < num_workers:
        raise StageError(f"train: workers: expected at most {int(available.get('GPU', 0))} (GPUs), got {num_workers}")
    cores = int(available["CPU"])
    cpus = 1 if use_gpu else cores // num_workers or cores / num_workers  # more workers than cores share them
    return _Share(num_workers, cpus, int(use_gpu))


def _this_process(use_gpu: bool) -> Worker:
    if not use_gpu:
        torch.set_num_threads(local_workers())
    return Worker(rank=0, world_size=1, device=torch.device("cuda:0" if use_gpu else "cpu"))


def _train_on_ray(
    train_function: TrainFunction[PayloadT], payload: PayloadT, share: _Share, storage: Path, on_report: Report
) -> None:
    import ray.train  # noqa: PLC0415  after `ray_session` has set its environment
    import ray.train.torch  # noqa: PLC0415
    from ray.train.v2.api.exceptions import TrainingFailedError  # noqa: PLC0415
    from ray.util.queue import Queue  # noqa: PLC0415

    messages = Queue(actor_options={"num_cpus": 0})
    listener = _Listener(messages, on_report)

    def on_worker() -> None:
        context = ray.train.get_context()
        device = ray.train.torch.get_device()
        if device.type == "cpu":
            torch.set_num_threads(max(1, int(share.cpus)))
        worker = Worker(context.get_world_rank(), context.get_world_size(), device)
        try:
            train_function(payload, worker, lambda step, metrics: messages.put((step, dict(metrics))))
        except Exception as exception:
            messages.put((worker.rank, Failure.of(exception, f"train: on worker {worker.rank}")))
            raise

    trainer = ray.train.torch.TorchTrainer(
        on_worker,
        torch_config=ray.train.torch.TorchConfig(timeout_s=_GROUP_TIMEOUT_S),
        scaling_config=ray.train.ScalingConfig(
            num_workers=share.num_workers,
            use_gpu=share.gpus > 0,
            resources_per_worker={"CPU": share.cpus, **({"GPU": share.gpus} if share.gpus else {})},
        ),
        run_config=ray.train.RunConfig(name="ray_train", storage_path=os.fspath(storage.resolve())),
    )
    try:
        trainer.fit()
    except TrainingFailedError as cause:
        listener.drain()
        died = set(getattr(cause, "worker_failures", ())) - {rank for rank, _ in listener.failures}
        if died or not listener.failures:
            raise StageError(f"train: worker {sorted(died)} died without a word (killed, out of memory?)") from cause
        listener.failures[0][1].reraise()  # the first: others fail because it is gone
    listener.stop()


class _Listener:
    """Takes messages off the queue while workers train: (step, metrics), (rank, failure), or None for the end."""

    def __init__(self, messages: Any, on_report: Report) -> None:
        self.failures: list[tuple[int, Failure]] = []
        self._error: Exception | None = None
        self._messages = messages
        self._on_report = on_report
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while (message := self._messages.get()) is not None:
            number, content = message
            if isinstance(content, Failure):
                self.failures.append((number, content))
            elif self._error is None:
                try:
                    self._on_report(number, content)
                except Exception as error:  # raised in `stop`; workers may still fail, which is to be heard
                    self._error = error

    def drain(self) -> None:
        """Take what is left, then listen no more."""
        self._messages.put(None)
        self._thread.join()

    def stop(self) -> None:
        """Take what is left, then listen no more.

        Raises:
            Exception: `on_report` raised it; what was reported since then is lost.
        """
        self.drain()
        if self._error is not None:
            raise self._error
