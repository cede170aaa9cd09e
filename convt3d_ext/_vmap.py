# SPDX-License-Identifier: BSD-3-Clause
"""vmap rules: a mapped dimension of size B becomes part of the batch, the groups or the channels.

    mapped              where B goes
    activation only     the batch (grad_weight sums over it: the channels of that operand)
    weight only         the result's channels within each group
    both                the groups

so that one call of the op does the work of the loop, and nothing is copied B times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Rule = Callable[..., tuple[Tensor, int]]


def _front(tensor: Tensor, dim: int | None, batched: bool) -> Tensor:
    """The mapped dimension first, if there is one, and a batch dimension after it."""
    if dim is not None:
        tensor = tensor.movedim(dim, 0)
    return tensor if batched else tensor.unsqueeze(0 if dim is None else 1)


def _into_batch(activation: Tensor) -> Tensor:
    """(B, N, C, ...) -> (B * N, C, ...)."""
    return activation.flatten(0, 1)


def _into_channels(tensor: Tensor, groups: int, channels_dim: int) -> Tensor:
    """(B, ..., g * c, ...) -> (..., g * B * c, ...): B next to its channels, within each group."""
    per_group = torch.unflatten(
        tensor, channels_dim, (groups, tensor.shape[channels_dim] // groups)
    )
    return per_group.movedim(0, channels_dim).flatten(channels_dim - 1, channels_dim + 1)


def _out_of_channels(tensor: Tensor, groups: int, mapped: int, channels_dim: int) -> Tensor:
    """Undoes _into_channels."""
    size = tensor.shape[channels_dim] // (groups * mapped)
    per_group = torch.unflatten(tensor, channels_dim, (groups, mapped, size))
    return per_group.movedim(channels_dim + 1, 0).flatten(channels_dim + 1, channels_dim + 2)


def _into_groups(tensor: Tensor) -> Tensor:
    """(B, N, C, ...) -> (N, B * C, ...)."""
    return tensor.movedim(0, 1).flatten(1, 2)


def _out_of_groups(tensor: Tensor, mapped: int) -> Tensor:
    """Undoes _into_groups."""
    return torch.unflatten(tensor, 1, (mapped, tensor.shape[1] // mapped)).movedim(1, 0)


def _unbatch(result: Tensor, batched: bool) -> Tensor:
    """Drops the batch dimension that _front added, after the mapped one."""
    return result if batched else result.squeeze(1)


def _padded(in_dims: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The dispatcher leaves out trailing arguments that are at their defaults."""
    return (*in_dims, None, None, None)[:3]


def _is_batched(tensor: Tensor, dim: int | None) -> bool:
    return tensor.dim() - (dim is not None) == 5


def _activation_and_weight(
    op: Callable[..., Tensor],
    mapped: int,
    in_dims: tuple[int | None, ...],
    first: Tensor,
    weight: Tensor,
    third: Any,
    parameters: tuple[Any, ...],
    kwargs: dict[str, Any],
    result_channels_dim: int,
) -> Tensor:
    """Forward and grad_input: (B, ...) results; result_channels_dim is weight's, 0 or 1."""
    first_dim, weight_dim, _ = in_dims
    stride, padding, output_padding, groups, dilation = parameters

    def run(a: Tensor, b: Tensor, groups: int) -> Tensor:
        return op(a, b, third, stride, padding, output_padding, groups, dilation, **kwargs)

    batched = _is_batched(first, first_dim)
    first, weight = _front(first, first_dim, batched), _front(weight, weight_dim, True)
    if weight_dim is None:
        result = run(_into_batch(first), weight, groups)
        result = torch.unflatten(result, 0, (mapped, result.shape[0] // mapped))
    elif first_dim is None:
        if result_channels_dim == 1:  # weight's second dimension has the channels of one group
            weight = weight.movedim(0, 1).flatten(1, 2)
        else:
            weight = _into_channels(weight, groups, 1)
        result = _out_of_channels(run(first, weight, groups), groups, mapped, 1)
    else:
        result = run(_into_groups(first), weight.flatten(0, 1), mapped * groups)
        result = _out_of_groups(result, mapped)
    return _unbatch(result, batched)


def _rule_forward(op: Callable[..., Tensor]) -> Rule:
    def rule(
        info: Any,
        in_dims: tuple[int | None, ...],
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = (1,),
        padding: Any = (0,),
        output_padding: Any = (0,),
        groups: int = 1,
        dilation: Any = (1,),
        **kwargs: Any,
    ) -> tuple[Tensor, int]:
        parameters = (stride, padding, output_padding, groups, dilation)
        input_dim, weight_dim, bias_dim = dims = _padded(in_dims)
        third = bias
        if bias is not None and weight_dim is not None:
            third = bias.unsqueeze(0) if bias_dim is None else bias.movedim(bias_dim, 0)
            third = third.expand(info.batch_size, -1)
            third = third.flatten() if input_dim is not None else _into_channels(third, groups, 1)
        elif bias_dim is not None:
            third = None
        if input_dim is None and weight_dim is None:
            result = op(input, weight, third, *parameters, **kwargs).unsqueeze(0)
        else:
            result = _activation_and_weight(
                op, info.batch_size, dims, input, weight, third, parameters, kwargs, 1
            )
        if bias is not None and bias_dim is not None and third is None:
            # One bias per slice, and no channels to put them into: a sum, rounded once more.
            bias = bias.movedim(bias_dim, 0)
            ones = [1] * (result.dim() - 5)  # the batch
            result = result + bias.reshape(bias.shape[0], *ones, bias.shape[1], 1, 1, 1)
        return result, 0

    return rule


def _rule_grad_input(op: Callable[..., Tensor]) -> Rule:
    def rule(
        info: Any,
        in_dims: tuple[int | None, ...],
        grad_output: Tensor,
        weight: Tensor,
        input_size: Any,
        stride: Any = (1,),
        padding: Any = (0,),
        output_padding: Any = (0,),
        groups: int = 1,
        dilation: Any = (1,),
        **kwargs: Any,
    ) -> tuple[Tensor, int]:
        parameters = (stride, padding, output_padding, groups, dilation)
        dims = (*in_dims[:2], None)
        return _activation_and_weight(
            op, info.batch_size, dims, grad_output, weight, input_size, parameters, kwargs, 0
        ), 0

    return rule


def _rule_grad_weight(op: Callable[..., Tensor]) -> Rule:
    def rule(
        info: Any,
        in_dims: tuple[int | None, ...],
        grad_output: Tensor,
        input: Tensor,
        kernel_size: Any,
        stride: Any = (1,),
        padding: Any = (0,),
        output_padding: Any = (0,),
        groups: int = 1,
        dilation: Any = (1,),
        **kwargs: Any,
    ) -> tuple[Tensor, int]:
        grad_dim, input_dim, *_ = in_dims
        mapped = info.batch_size

        def run(a: Tensor, b: Tensor, groups: int) -> Tensor:
            size = (kernel_size, stride, padding, output_padding, groups, dilation)
            return op(a, b, *size, **kwargs)

        batched = _is_batched(grad_output, grad_dim)
        grad_output = _front(grad_output, grad_dim, batched)
        input = _front(input, input_dim, batched)
        if input_dim is None:
            result = run(_into_channels(grad_output, groups, 2), input, groups)
            return torch.unflatten(result, 1, (mapped, result.shape[1] // mapped)), 1
        if grad_dim is None:
            result = run(grad_output, _into_channels(input, groups, 2), groups)
            return _out_of_channels(result, groups, mapped, 0), 0
        result = run(_into_groups(grad_output), _into_groups(input), mapped * groups)
        return torch.unflatten(result, 0, (mapped, result.shape[0] // mapped)), 0

    return rule


def _or_nothing(op: Callable[..., Tensor], rule: Rule) -> Rule:
    """The rule, and of no slices none: the op on a sum of them, zeros, has the result's sizes."""

    def either(
        info: Any, in_dims: tuple[int | None, ...], *args: Any, **kwargs: Any
    ) -> tuple[Tensor, int]:
        if info.batch_size > 0:
            return rule(info, in_dims, *args, **kwargs)
        zeros = [
            a.sum(dim) if isinstance(a, Tensor) and dim is not None else a
            for a, dim in zip(args, in_dims, strict=True)
        ]
        return op(*zeros, **kwargs).unsqueeze(0)[:0], 0

    return either


def register(library: torch.library.Library) -> None:
    """Registers the rules of the three ops."""
    ops = torch.ops.convt3d
    for name, rule, op in [
        ("forward", _rule_forward, ops.forward.default),
        ("grad_input", _rule_grad_input, ops.grad_input.default),
        ("grad_weight", _rule_grad_weight, ops.grad_weight.default),
    ]:
        torch.library.register_vmap(f"convt3d::{name}", _or_nothing(op, rule(op)), lib=library)
