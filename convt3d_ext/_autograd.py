# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives of the three ops, reverse and forward, of any order.

Each op is linear in each of its two operands and its derivatives are the other two ops:

    op          first        second   d/d first              d/d second
    forward     input        weight   grad_input(g, weight)  grad_weight(g, input)
    grad_input  grad_output  weight   forward(g, weight)     grad_weight(grad_output, g)
    grad_weight grad_output  input    forward(input, g)      grad_input(grad_output, g)

They are kernels of the dispatcher's Autograd key, as those of aten's own ops are. So they see one
level of torch.func at a time, work under every transform and mode, and Dynamo does not look inside.
torch.library.register_autograd gives neither forward mode (its tangent is a silent zero) nor
torch.func.grad. Only what the wanted gradients need is saved and computed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad

_C = torch._C
_AFTER_AUTOGRAD = _C._after_autograd_keyset

Parameters = tuple[Any, ...]  # stride, padding, output_padding, groups, dilation


class _Bilinear(torch.autograd.Function):
    """What the three ops share: `first`, `second` and a `third` argument that only forward derives.

    The inputs of apply() are (call, first, second, third, parameters, allow_tf32).
    """

    @staticmethod
    def forward(
        ctx: Any,
        call: Callable[..., Tensor],
        first: Tensor,
        second: Tensor,
        third: Any,
        parameters: Parameters,
        allow_tf32: bool,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.parameters, ctx.allow_tf32 = parameters, allow_tf32
        ctx.third = None if isinstance(third, Tensor) else third
        ctx.first_extents, ctx.second_extents = first.shape[-3:], second.shape[-3:]
        _, needs_first, needs_second, *_ = ctx.needs_input_grad
        if forward_ad._current_level >= 0:
            # ctx.saved_tensors is then this, in jvp and in backward alike.
            ctx.save_for_forward(first, second)
            ctx.save_for_backward(first, second)
        else:
            ctx.save_for_backward(first if needs_second else None, second if needs_first else None)
        ctx.second_format = memory_format_of(second) if needs_second else None
        return call(first, second, third, *parameters, allow_tf32=allow_tf32)


def memory_format_of(tensor: Tensor) -> torch.memory_format:
    """channels_last_3d for what is dense in that order and in no other, else contiguous."""
    channels_last = (
        tensor.dim() == 5
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last_3d)
    )
    return torch.channels_last_3d if channels_last else torch.contiguous_format


class _Forward(_Bilinear):
    """output = forward(input, weight, bias)."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> Any:
        if grad is None:
            return (None,) * 6
        _, needs_input, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        input, weight = ctx.saved_tensors
        kwargs = {"allow_tf32": ctx.allow_tf32}
        grad_input = grad_weight = grad_bias = None
        if needs_input:
            grad_input = OPS.grad_input(grad, weight, ctx.first_extents, *ctx.parameters, **kwargs)
        if needs_weight:
            grad_weight = OPS.grad_weight(
                grad, input, ctx.second_extents, *ctx.parameters, **kwargs
            ).contiguous(memory_format=ctx.second_format)
        if needs_bias:
            grad_bias = grad.sum((0, 2, 3, 4) if grad.dim() == 5 else (1, 2, 3))
        return None, grad_input, grad_weight, grad_bias, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        _, d_input, d_weight, d_bias, *_ = tangents
        input, weight = ctx.saved_tensors
        parts = []
        if d_input is not None:
            parts.append((d_input, weight))
        if d_weight is not None:
            parts.append((input, d_weight))
        if not parts:  # the bias alone
            parts.append((torch.zeros_like(input), weight))
        biases = [d_bias] + [None] * (len(parts) - 1)
        return _sum(OPS.forward, parts, biases, ctx)


class _GradInput(_Bilinear):
    """grad_input(grad_output, weight), of the given input_size."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> Any:
        if grad is None:
            return (None,) * 6
        _, needs_grad_output, needs_weight, *_ = ctx.needs_input_grad
        grad_output, weight = ctx.saved_tensors
        kwargs = {"allow_tf32": ctx.allow_tf32}
        first = second = None
        if needs_grad_output:
            first = OPS.forward(grad, weight, None, *ctx.parameters, **kwargs)
        if needs_weight:
            second = OPS.grad_weight(
                grad_output, grad, ctx.second_extents, *ctx.parameters, **kwargs
            ).contiguous(memory_format=ctx.second_format)
        return None, first, second, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _jvp_of_gradient(OPS.grad_input, ctx, tangents)


class _GradWeight(_Bilinear):
    """grad_weight(grad_output, input), of the given kernel_size."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> Any:
        if grad is None:
            return (None,) * 6
        _, needs_grad_output, needs_input, *_ = ctx.needs_input_grad
        grad_output, input = ctx.saved_tensors
        kwargs = {"allow_tf32": ctx.allow_tf32}
        first = second = None
        if needs_grad_output:
            first = OPS.forward(input, grad, None, *ctx.parameters, **kwargs)
        if needs_input:
            second = OPS.grad_input(
                grad_output, grad, ctx.second_extents, *ctx.parameters, **kwargs
            )
        return None, first, second, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _jvp_of_gradient(OPS.grad_weight, ctx, tangents)


def _sum(
    op: Callable[..., Tensor],
    pairs: Sequence[tuple[Tensor, Tensor]],
    thirds: Sequence[Any],
    ctx: Any,
) -> Tensor:
    total: Tensor | None = None
    for (first, second), third in zip(pairs, thirds, strict=True):
        part = op(first, second, third, *ctx.parameters, allow_tf32=ctx.allow_tf32)
        total = part if total is None else total + part
    assert total is not None
    return total


def _jvp_of_gradient(op: Callable[..., Tensor], ctx: Any, tangents: Sequence[Any]) -> Tensor:
    """D op(first, second) = op(d first, second) + op(first, d second)."""
    _, d_first, d_second, *_ = tangents
    first, second = ctx.saved_tensors
    pairs = []
    if d_first is not None:
        pairs.append((d_first, second))
    if d_second is not None:
        pairs.append((first, d_second))
    return _sum(op, pairs, [ctx.third] * len(pairs), ctx)


class OPS:
    """The public overloads; backward calls these, so that its own derivatives exist."""

    forward = torch.ops.convt3d.forward.default
    grad_input = torch.ops.convt3d.grad_input.default
    grad_weight = torch.ops.convt3d.grad_weight.default


def _kernel(op: Any, function: type[_Bilinear]) -> Callable[..., Tensor]:
    """The op's kernel for the Autograd key."""
    # One level of torch.func, which is what the dispatcher hands to a kernel: Function.apply itself
    # would start again at the outermost level.
    parent: Any = super(torch.autograd.Function, function)
    apply: Callable[..., Tensor] = parent.apply

    def kernel(
        keyset: Any,
        first: Tensor,
        second: Tensor,
        third: Any = None,
        stride: Any = (1,),
        padding: Any = (0,),
        output_padding: Any = (0,),
        groups: int = 1,
        dilation: Any = (1,),
        *,
        allow_tf32: bool = True,
    ) -> Tensor:
        keyset = keyset & _AFTER_AUTOGRAD
        transformed = _C._are_functorch_transforms_active()
        gradients, tangents = _C.is_grad_enabled(), forward_ad._current_level >= 0

        def call(*args: Any, **kwargs: Any) -> Tensor:
            with contextlib.ExitStack() as stack:
                if transformed:  # the levels below this one record, too: apply() turned it off
                    stack.enter_context(torch.set_grad_enabled(gradients))
                    stack.enter_context(forward_ad._set_fwd_grad_enabled(True))
                stack.enter_context(_C._AutoDispatchBelowAutograd())
                result: Tensor = op.redispatch(keyset, *args, **kwargs)
            return result

        parameters = (stride, padding, output_padding, groups, dilation)
        if not tangents and not (gradients and _C._any_requires_grad(first, second, third)):
            return call(first, second, third, *parameters, allow_tf32=allow_tf32)
        if not transformed:
            return apply(call, first, second, third, parameters, allow_tf32)
        with enable_single_level_autograd_function():
            return apply(call, first, second, third, parameters, allow_tf32)

    return kernel


def register(library: torch.library.Library) -> None:
    """Registers the kernels of the Autograd key."""
    for name, function in [
        ("forward", _Forward),
        ("grad_input", _GradInput),
        ("grad_weight", _GradWeight),
    ]:
        op = getattr(OPS, name)
        library.impl(name, _kernel(op, function), "Autograd", with_keyset=True)  # type: ignore[no-untyped-call]
