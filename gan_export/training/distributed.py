"""The process group of a run, and its communication.

Each process computes its share of every batch: rows rank, rank + size, ...  All of them generate the random numbers of
the whole batch and use their own rows, so that these are the same for any number of processes.
Gradients are averaged after each backward pass, so every process makes the same update.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Group:
    """A process's rank of `size`, and its number on its machine; only rank 0 writes."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def rows(self, drawn: Tensor, dim: int = 0) -> Tensor:
        """Return this process's rows of values for the whole batch."""
        if self.size == 1:
            return drawn
        return drawn[(slice(None),) * dim + (slice(self.rank, None, self.size),)]

    @torch.no_grad()
    def average(self, tensors: list[Tensor]) -> None:
        """Replace each of `tensors` by its mean over the processes."""
        if self.size == 1:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        first = 0
        for t in tensors:
            t.copy_(flat[first : first + t.numel()].view(t.shape))
            first += t.numel()

    def any_rank(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether it is set in any process."""
        if self.size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return tuple(bool(f) for f in votes)


ALONE = Group()


@contextmanager
def process_group(rank: int, size: int, meeting: str, local: int = 0, *, nccl: bool = False) -> Iterator[Group]:
    """Join the process group at `meeting`: file://PATH, tcp://HOST:PORT of rank 0's machine, or env://.

    local: this process's number on its machine
    nccl:  use NCCL for tensors on a GPU, one GPU per process; gloo is used for all others
    """
    dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", init_method=meeting, rank=rank, world_size=size)
    try:
        yield Group(rank, size, local)
    finally:
        dist.destroy_process_group()


class Sum(torch.autograd.Function):
    """The sum over the processes, differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed: Tensor = Sum.apply(gradient)
        return summed


class SyncBatchNorm(torch.nn.BatchNorm2d):
    """A BatchNorm whose training statistics are those of the batches of all processes, which have equal sizes.

    torch's own doesn't support CPU tensors.  If `together` is off, only this process's batch is used.
    """

    together = True

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and self.together):
            return super().forward(input)
        count = input.numel() // input.shape[1] * dist.get_world_size()
        full = input.float() if input.dtype == torch.bfloat16 else input  # under autocast: too coarse for sums
        mean = Sum.apply(full.sum((0, 2, 3))) / count
        centered = full - mean[:, None, None]
        variance = Sum.apply(centered.square().sum((0, 2, 3))) / count
        self._follow(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normal: Tensor = centered * scale[:, None, None] + self.bias[:, None, None]
        return normal.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def synchronized(net: torch.nn.Module) -> None:
    """Replace every BatchNorm of `net` by one over all processes, with the same weights and keys."""
    for module in net.modules():
        if type(module) is torch.nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm
