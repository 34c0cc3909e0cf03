"""A network whose weights are parted among processes: each holds a slice of every tensor."""

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

# What our engines call on a network beside its forward.
_FORWARD = ("encode", "features", "forward_features", "forward_head")


def shard(network: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Part a network's weights among processes; a layer is put together when it computes, and parted again.

    Args:
        network: The same weights in each process; it is changed in place, and keeps the names of its weights.
        mesh: The processes, along ``"data_parallel"``.

    Returns:
        The same network.

    References:
        Rajbhandari et al., "ZeRO", SC 2020; Zhao et al., "PyTorch FSDP", VLDB 2023; torch's ``fully_shard``.
    """
    among = mesh["data_parallel"]
    # Blocks first, the whole last, as fully_shard wants it: what stands in no block is the whole's own.
    rows = [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.Sequential | nn.ModuleList) and name.count(".") <= 1
    ]
    for row in reversed(rows):
        for block in row.children():
            if next(block.parameters(), None) is not None and not isinstance(block, nn.ModuleList):
                fully_shard(block, mesh=among)
    fully_shard(network, mesh=among)
    for name in _FORWARD:
        if callable(getattr(network, name, None)):
            register_fsdp_forward_method(network, name)
    return network


def put_together(tensor: Tensor) -> Tensor:
    """Give all of a tensor; of one that is parted, in every process at once.

    Args:
        tensor: A parameter, its gradient or an average, parted or not.

    Returns:
        The whole tensor.

    Example:
        >>> import torch
        >>> put_together(torch.ones(2))
        tensor([1., 1.])

    References:
        torch's DTensor.
    """
    found: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return found


def parted_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut this process's slice out of a whole tensor, where its model is parted.

    Args:
        tensor: All of it, the same in every process.
        like: A parameter.

    Returns:
        The tensor on the parameter's device, parted as that is.

    Example:
        >>> import torch
        >>> parted_like(torch.ones(2), torch.zeros(2))
        tensor([1., 1.])

    References:
        torch's DTensor.
    """
    if not isinstance(like, DTensor):
        return tensor.to(like.device)
    # No source: every process has all of it, and nothing needs to be sent.
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
