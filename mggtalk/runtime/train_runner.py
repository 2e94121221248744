"""Runs a training function on the workers of Ray Train (gloo on CPU, NCCL on CUDA), or here in this process.

The function knows neither: it gets its rank and a way to report. Its reports come to `on_report` in the process that
started the run, which can therefore draw bars and write files wherever the workers are.

A worker that dies without a word (killed, out of memory, its node lost) costs the steps since the last checkpoint: all
workers are started again. Ray Train's own `FailureConfig` would do so after any exception too; but what the function
raises is the user's to mend or a bug, and would only be raised again.
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

MAX_RESTARTS = 3
"""Restarts of the workers with no new step in between; a run that dies every time must end."""

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
    max_restarts: int = MAX_RESTARTS,
) -> None:
    """Run `train_function(payload, worker, report)` on every worker, to the end.

    The function has to be one that can be started again, and then goes on from what it kept.

    Args:
        num_workers: processes that train together, one GPU each where `use_gpu`; `local` has one.
        storage: folder for Ray Train's own records of the run. On a cluster it must be one that all nodes see.
        on_report: gets here what the function reports; of steps that are done again after a restart only the new ones.
        launcher: `local` calls the function in this process, without Ray.
        max_restarts: after deaths of workers, with no new step in between.

    Raises:
        MggtalkError: the function raised it on a worker.
        StageBugError: the function raised anything else on a worker.
        StageError: the workers asked for are more than there are GPUs, or workers died again and again.
        Exception: `on_report` raised it.
    """
    if launcher == "local":
        if num_workers != 1:
            raise StageError(f"train: launcher `local` is one worker, got workers: {num_workers}")
        train_function(payload, _this_process(use_gpu), on_report)
        return
    with ray_session():
        _train_on_ray(train_function, payload, _resources(num_workers, use_gpu), storage, on_report, max_restarts)


@dataclass(frozen=True, slots=True)
class _Resources:
    """CPUs and GPUs of each worker."""

    num_workers: int
    cpus: float
    gpus: int


def _resources(num_workers: int, use_gpu: bool) -> _Resources:
    import ray  # noqa: PLC0415  after `ray_session` has set its environment

    available = ray.cluster_resources()
    if use_gpu and available.get("GPU", 0) < num_workers:
        raise StageError(f"train: workers: expected at most {int(available.get('GPU', 0))} (GPUs), got {num_workers}")
    cores = int(available["CPU"])
    cpus = 1 if use_gpu else cores // num_workers or cores / num_workers  # several workers on one core
    return _Resources(num_workers, cpus, int(use_gpu))


def _this_process(use_gpu: bool) -> Worker:
    if use_gpu:
        os.environ.update(growing_segments())
    else:
        torch.set_num_threads(local_workers())
    return Worker(rank=0, world_size=1, device=torch.device("cuda:0" if use_gpu else "cpu"))


def growing_segments() -> dict[str, str]:
    """Return what lets torch's allocator grow its segments of GPU memory; nothing where the environment configures it.

    Heads differ in their points from step to step. In segments of fixed size that left holes: 54 GB were held after 140
    steps where 22 were in use at most; 24 GB in growing ones, at the same pace (docs/results.md). torch reads the
    variable once, when it first turns to CUDA.
    """
    if {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys():
        return {}
    return {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


def _train_on_ray(
    train_function: TrainFunction[PayloadT],
    payload: PayloadT,
    resources: _Resources,
    storage: Path,
    on_report: Report,
    max_restarts: int,
) -> None:
    import ray.train.torch  # noqa: PLC0415  after `ray_session` has set its environment
    from ray.util.queue import Queue  # noqa: PLC0415
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    messages = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})  # outlives the nodes of the workers

    def on_worker() -> None:
        context = ray.train.get_context()
        device = ray.train.torch.get_device()
        if device.type == "cpu":
            torch.set_num_threads(max(1, int(resources.cpus)))
        worker = Worker(context.get_world_rank(), context.get_world_size(), device)
        try:
            train_function(payload, worker, lambda step, metrics: messages.put((step, dict(metrics))))
        except Exception as exception:
            messages.put((worker.rank, Failure.of(exception, f"train: on worker {worker.rank}")))
            raise

    latest = deaths = 0
    while True:
        listener = _Listener(messages, on_report, latest)
        died = _fit(on_worker, resources, storage, listener, is_last=deaths >= max_restarts)
        listener.check()
        if not died:
            return
        deaths = deaths + 1 if listener.latest == latest else 1
        latest = listener.latest
        _logger.warning("train: worker %s died after step %d; all of them are started again", died, latest)


def _fit(
    on_worker: Callable[[], None], resources: _Resources, storage: Path, listener: "_Listener", *, is_last: bool
) -> list[int]:
    """Run all workers, until they are done or one of them is gone, and return the ranks of those that died.

    Args:
        is_last: a death without a step that was new is an error now.

    Raises:
        MggtalkError, StageBugError: what was raised on a worker; of several, the user's, or the first, because
            others fail once it is gone.
        StageError: workers died for the last time, or as they were started.
    """
    import ray.train.torch  # noqa: PLC0415  after `ray_session` has set its environment
    from ray.train.v2.api.exceptions import TrainingFailedError  # noqa: PLC0415

    before = listener.latest
    trainer = ray.train.torch.TorchTrainer(
        on_worker,
        torch_config=ray.train.torch.TorchConfig(timeout_s=_GROUP_TIMEOUT_S),
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.num_workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker={"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})},
        ),
        run_config=ray.train.RunConfig(  # mypy reads Ray Train's former class
            name="ray_train",
            storage_path=os.fspath(storage.resolve()),
            worker_runtime_env=_worker_environment(resources),  # type: ignore[call-arg]
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as cause:
        listener.drain()
        failures = [failure for _, failure in listener.failures]
        died = sorted(set(getattr(cause, "worker_failures", ())) - {rank for rank, _ in listener.failures})
        of_the_user = [failure for failure in failures if failure.error is not None]
        if of_the_user or (failures and not died):
            (of_the_user or failures)[0].reraise()
        if not died or (is_last and listener.latest == before):
            who = f"worker {died}" if died else "a worker"  # one that dies as it is started has no rank yet
            raise StageError(f"train: {who} died without a word (killed, out of memory?)") from cause
        return died
    listener.drain()
    return []


def _worker_environment(resources: _Resources) -> dict[str, dict[str, str]]:
    """Return Ray's runtime environment of the workers; not set by the function, before which Ray turns to CUDA."""
    variables = growing_segments() if resources.gpus else {}
    return {"env_vars": variables} if variables else {}


class _Listener:
    """Takes messages off the queue while workers train: (step, metrics), (rank, failure), or None for the end.

    Attributes:
        latest: the last step that was reported; one up to it that comes again, after a restart, is not reported again.
        failures: what was raised on workers, in the order in which it was heard of.
    """

    def __init__(self, messages: Any, on_report: Report, latest: int) -> None:
        self.latest = latest
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
            elif number > self.latest and self._error is None:
                self.latest = number
                try:
                    self._on_report(number, content)
                except Exception as error:  # raised in `check`; workers may still fail, which is to be heard
                    self._error = error

    def drain(self) -> None:
        """Take what is left, then listen no more."""
        self._messages.put(None)
        self._thread.join()

    def check(self) -> None:
        """Raise what `on_report` raised, if anything; what was reported since then is lost.

        Raises:
            Exception: `on_report` raised it.
        """
        if self._error is not None:
            raise self._error
