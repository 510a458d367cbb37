"""Batch norm over a batch that lies in several processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class GlobalBatchNorm(_BatchNorm):
    """Batch norm whose statistics are those of all processes' samples, on any device.

    In evaluation mode it is PyTorch's own. Values and gradients are those of one process with the whole batch; shares
    need not be equal. PyTorch's `SyncBatchNorm` does the same on GPUs, faster, and nowhere else.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm takes [B, C, ...], not {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """x [B, C, ...] -> the same shape."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float()
        axes = [0, *range(2, x.dim())]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = torch.tensor(float(x.numel() // x.shape[1]), device=x.device, dtype=torch.float64)
        dist.all_reduce(count)
        n = count.to(x.dtype)
        mean = _sum_over_processes(x.sum(axes)) / n
        centred = x - mean.view(shape)
        variance = _sum_over_processes(centred.square().sum(axes)) / n
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * (n / (n - 1)))
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, unbiased: Tensor) -> None:
        """Move the running statistics [C] towards a batch's."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


def over_processes(model: nn.Module, device: str) -> nn.Module:
    """The model with every batch norm replaced by one over all processes: parameters, buffers and names stay."""
    if device != "cpu":
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        converted: nn.Module = convert(model)
        return converted
    for name, module in list(model.named_modules()):
        if isinstance(module, _BatchNorm) and name:
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], _converted(module))
    return model


def _converted(module: _BatchNorm) -> GlobalBatchNorm:
    out = GlobalBatchNorm(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
    out._parameters, out._buffers = module._parameters, module._buffers
    out.training = module.training
    return out


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over processes; every process's gradient reaches every other's term."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        out = values.detach().clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        out = gradients[0].contiguous().clone()
        dist.all_reduce(out)
        return out


def _sum_over_processes(values: Tensor) -> Tensor:
    return _SumOverProcesses.apply(values)  # type: ignore[no-any-return]
