"""Several processes that train one torch network: they form a group, exchange rows and words, and part."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from numpy.typing import NDArray
from torch import Tensor

from eyeground.data.order import seed_from, share
from eyeground.model.optimization import Device
from eyeground.model.processes import ALONE, Processes, ProcessFailed, ProcessLost, Started, Strategy, started
from eyeground.model.torch.sharding import shard

T = TypeVar("T")

# Fabric announces every start; ours stands in the engine's description.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

# A process that dies closes its connections and is missed at once. This long it may be busy with something else, such
# as writing a large checkpoint, or gone without a word, as after a power cut.
_PATIENCE = timedelta(minutes=15)
# But one machine may read a large set for hours longer than another.
_READING = timedelta(days=1)
# What gloo says of a connection whose other end is gone; NCCL has a class of error of its own.
_BROKEN = ("onnection closed", "onnection reset", "onnection refused", "roken pipe", "imed out", "imeout", "Read error")


def meet(*, device: Device = "auto", strategy: Strategy = "auto") -> Processes:
    """Join the processes that torchrun or SLURM has started with this one.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        strategy: ``"fsdp"`` parts the weights among the processes; ``"auto"`` and ``"ddp"`` give each all of them.

    Returns:
        The group; one process alone where none was started beside it.

    Raises:
        ValueError: If the devices are not to be had.
        ProcessLost: If the others do not come.

    Example:
        >>> meet().world
        1

    References:
        Lightning Fabric for the environments.
    """
    how = started()
    return ALONE if how is None or how.world == 1 else Together(how, device=device, strategy=strategy)


class Together:
    """A group of processes; its verbs are those of ``eyeground.model.processes.Processes``.

    Args:
        how: How this one was started; there are as many on each machine.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        strategy: ``"auto"``, ``"ddp"`` or ``"fsdp"``.

    Raises:
        ValueError: If the devices are not to be had.
        ProcessLost: If the others do not come.

    References:
        Lightning Fabric for setting up; torch.distributed for talking.
    """

    def __init__(self, how: Started, *, device: Device, strategy: Strategy) -> None:
        self.rank, self.world = how.rank, how.world
        self.sharded = strategy == "fsdp"
        self._environment: ClusterEnvironment
        try:
            self._environment = TorchElasticEnvironment() if how.by == "torchrun" else SLURMEnvironment()
        except RuntimeError as error:  # Fabric wants --ntasks-per-node
            raise ValueError(str(error)) from error
        self._nodes, self._accelerator = how.nodes, device
        try:
            self.device = self.fabric().device
            # Words and small numbers lie in the processor's memory, where NCCL does not reach.
            self._talk: Any = dist.new_group(backend="gloo", timeout=_PATIENCE)
            self._wait: Any = dist.new_group(backend="gloo", timeout=_READING)
        except RuntimeError as error:
            if not _broken(error):
                raise
            where = ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
            raise ProcessLost(
                f"the {self.world} processes of this run did not come together at {where} "
                f"({str(error).partition(chr(10))[0]}). If another run meets there, give MASTER_PORT another number"
            ) from error

    def fabric(self, *, precision: Any = "32-true", thawing: bool = False) -> Fabric:
        """Give what sets up networks and optimizers for this group.

        Args:
            precision: Fabric's word for it.
            thawing: Whether parts of the network begin to learn later.

        Returns:
            Fabric, launched.

        Raises:
            ValueError: If the devices are not to be had.
        """
        cuda = self._accelerator in ("auto", "cuda") and torch.cuda.is_available()
        common: dict[str, Any] = {"process_group_backend": "nccl" if cuda else "gloo", "timeout": _PATIENCE}
        strategy = (
            ModelParallelStrategy(shard, data_parallel_size=self.world, tensor_parallel_size=1, **common)
            if self.sharded
            # A gradient that lies in the buffer it is sent from needs no memory of its own.
            else DDPStrategy(find_unused_parameters=thawing, gradient_as_bucket_view=True, **common)
        )
        try:
            fabric = Fabric(
                accelerator=self._accelerator,
                devices=self.world // self._nodes,
                num_nodes=self._nodes,
                strategy=strategy,
                precision=precision,
                plugins=[self._environment],
            )
        except Exception as error:  # Fabric raises its own kinds for a device that is not there
            raise ValueError(
                f"{self.world // self._nodes} processes on this machine cannot have device {self._accelerator!r} each "
                f"({error}); start fewer, or try device=cpu"
            ) from error
        fabric.launch()
        return fabric

    def share(self, count: int) -> NDArray[np.int64]:
        """Say which places of a batch are this process's."""
        return share(count, rank=self.rank, world=self.world)

    def own(self, rows: Tensor) -> Tensor:
        """Cut this process's share out of what was made for a whole batch."""
        return rows[torch.from_numpy(self.share(len(rows))).to(rows.device)]

    def whole(self, rows: Tensor) -> Tensor:
        """Put together what each process made of its share; a gradient goes back to this process's rows."""
        counts = [int(count) for count in self.total(*(len(rows) * (rank == self.rank) for rank in range(self.world)))]
        places = [share(sum(counts), rank=rank, world=self.world) for rank in range(self.world)]
        if [len(each) for each in places] != counts:
            raise ValueError(f"rows of {counts} images are not the processes' shares of a batch of {sum(counts)}")
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows.detach()
        pieces = [torch.empty_like(padded) for _ in counts]
        with self.guard():
            dist.all_gather(pieces, padded, group=self._talk if rows.device.type == "cpu" else None)
        pieces = [piece[:count] for piece, count in zip(pieces, counts, strict=True)]
        pieces[self.rank] = rows
        return torch.cat(pieces)[torch.from_numpy(np.argsort(np.concatenate(places))).to(rows.device)]

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Add up numbers over all processes."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        with self.guard():
            dist.all_reduce(sums, group=self._talk)
        return tuple(sums.tolist())

    def every(self, item: T) -> list[T]:
        """Give everybody what each has."""
        found: list[Any] = [None] * self.world
        with self.guard():
            dist.all_gather_object(found, item, group=self._talk)
        return found

    def first(self, work: Callable[[], T]) -> T:
        """Let the first process do something, and give everybody its answer."""
        answer: list[Any] = [False, None]  # whether it was done, and what it gave
        try:
            if self.rank == 0:
                answer = [True, work()]
        finally:
            with self.guard():
                dist.broadcast_object_list(answer, src=0, group=self._talk)
        if not answer[0]:
            raise SystemExit(0)
        done: T = answer[1]
        return done

    def together(self, work: Callable[[], T]) -> T:
        """Do something in every process that may fail for reasons a person can mend."""
        wrong = None
        try:
            with self.guard():
                made = work()
        except Exception as error:
            if _of_torch(error) or isinstance(error, ProcessLost):
                raise  # nobody knows where the others are: this one ends, and they notice
            wrong = error
        with self.guard():
            dist.barrier(group=self._wait)
        told = self.every(str(wrong) if wrong else "")
        failed = [(rank, words) for rank, words in enumerate(told) if words]
        if not failed:
            return made
        self.part()
        if wrong:
            raise wrong
        raise ProcessFailed("; ".join(f"process {rank + 1} of {self.world}: {words}" for rank, words in failed))

    def seed(self, seed: int) -> int:
        """Make a seed of which no two processes draw the same."""
        return seed if self.rank == 0 else seed_from(seed, "process", self.rank)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn a broken connection inside the block into ``ProcessLost``."""
        try:
            yield
        except RuntimeError as error:
            if _broken(error):
                minutes = _PATIENCE.total_seconds() / 60
                raise ProcessLost(
                    f"another of the {self.world} processes of this run has ended, or was silent for {minutes:.0f} "
                    "minutes"
                ) from error
            raise

    def part(self) -> None:
        """End the work together: the first process goes on alone, the others end here with exit code 0."""
        with self.guard():
            dist.barrier(group=self._talk)
        dist.destroy_process_group()
        if self.rank:
            raise SystemExit(0)


def fabric_of(processes: Processes, *, device: Device, precision: Any = "32-true", thawing: bool = False) -> Fabric:
    """Give what sets up a network and its optimizer.

    Args:
        processes: Who trains it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``; a group has chosen before.
        precision: Fabric's word for it.
        thawing: Whether parts of the network begin to learn later.

    Returns:
        Fabric, ready to set up.

    Raises:
        ValueError: If the device is not to be had.

    Example:
        >>> fabric_of(ALONE, device="cpu").device
        device(type='cpu')

    References:
        Lightning Fabric.
    """
    if isinstance(processes, Together):
        return processes.fabric(precision=precision, thawing=thawing)
    try:
        # Named, so that Fabric does not look for others of a SLURM job.
        return Fabric(accelerator=device, devices=1, precision=precision, plugins=[LightningEnvironment()])
    except Exception as error:  # Fabric raises its own kinds for a device that is not there
        raise ValueError(f"device {device!r} cannot be used here ({error}); try device=auto or device=cpu") from error


def _of_torch(error: BaseException) -> bool:
    """Whether an error is torch's own, not one of ours: ours are classes that say what is wrong."""
    return type(error) is RuntimeError or type(error).__module__.partition(".")[0] == "torch"


def _broken(error: BaseException) -> bool:
    """Whether an error says that the other end of a connection is gone."""
    return isinstance(error, dist.DistError) or (_of_torch(error) and any(sign in str(error) for sign in _BROKEN))
