"""Tiny training functions for the tests of the runtime; worker processes import them by name."""

import os

import torch
from torch import distributed

from mggtalk.training.loop import Report, Worker


def sum_of_ranks(payload: str, worker: Worker, report: Report) -> None:
    """Add up something over all workers, and do on the last of them what the payload says."""
    total = torch.tensor([worker.rank + 1.0], device=worker.device)
    if worker.world_size > 1:
        distributed.all_reduce(total)
    if worker.rank == 0:
        report(1, {"total": float(total), "world_size": worker.world_size, "threads": torch.get_num_threads()})
    if worker.rank == worker.world_size - 1:
        match payload:
            case "bug":
                raise ZeroDivisionError("one over none")
            case "exit":
                os._exit(3)
    if worker.world_size > 1:
        distributed.barrier()
