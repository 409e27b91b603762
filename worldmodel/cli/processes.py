"""Joining the processes that ``torchrun`` starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from worldmodel.errors import BadValue, WorldModelError


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes that torchrun started, if it did, and yield this one's device.

    Numbers that decide something travel between processors (gloo), gradients between accelerators (such as NCCL).

    Raises:
        BadValue: the machine has fewer accelerators than processes.
        WorldModelError: another process is gone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    backend = dist.get_default_backend_for_device(device)
    if device.type != "cpu":
        index, there = int(os.environ.get("LOCAL_RANK", "0")), torch.accelerator.device_count()
        if index >= there:
            raise BadValue(f"torchrun: {index + 1} or more processes on a machine with {there} {device.type} devices")
        device = torch.device(device.type, index)
        torch.accelerator.set_device_index(index)
        backend = f"cpu:gloo,{device.type}:{backend}"
    store, rank, size = next(rendezvous("env://"))
    fresh = PrefixStore(f"start-{_restarts()}", store)
    patience = timedelta(hours=6)  # the first process may have to collect and decode the dataset
    dist.init_process_group(backend, store=fresh, rank=rank, world_size=size, timeout=patience)
    try:
        yield device
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "closed by peer" in str(error) or "reset by peer" in str(error):
            raise WorldModelError("another process ended; what it said is the reason") from error
        raise
    dist.destroy_process_group()


def _restarts() -> int:
    """How often torchrun has started this process again.

    It may give all of them one store, in which the addresses of the dead still stand: pytorch#135712. On one node the
    number keeps them apart; each node counts for itself.

    Raises:
        BadValue: several nodes were started so that nothing keeps them apart.
    """
    count = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if int(os.environ.get("GROUP_WORLD_SIZE", "1")) == 1:
        return count
    if count and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise BadValue("torchrun: to start again on several nodes, set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 on each")
    return 0
