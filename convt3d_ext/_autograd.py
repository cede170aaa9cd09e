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
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import unwrap_if_dead
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

_C = torch._C
_BELOW = _C._after_ADInplaceOrView_keyset
PLAIN = frozenset({Tensor, torch.nn.Parameter})

Parameters = tuple[Any, ...]  # stride, padding, output_padding, groups, dilation


def _may_have_tangents() -> bool:
    """Whether forward mode may be on. A compiled graph enters torch.func.jvp past forward_ad."""
    return forward_ad._current_level >= 0 or bool(_C._are_functorch_transforms_active())


class _Bilinear(_SingleLevelFunction):
    """What the three ops share: `first`, `second` and a `third` argument that only forward derives.

    The inputs of apply() are (call, first, second, third, parameters, allow_tf32).
    """

    # Compiled autograd asks for it.
    _compiled_autograd_key = staticmethod(torch.autograd.Function._compiled_autograd_key)

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
        ctx.first_size, ctx.second_size = first.shape, second.shape
        needs_first, needs_second = ctx.needs_input_grad[1:3]
        if _may_have_tangents():
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


def has_a_format(tensor: Tensor) -> bool:
    """Whether extents are known, and it is not under torch.func: vmap has no memory formats."""
    known = all(type(extent) is int for extent in (*tensor.shape, *tensor.stride()))
    return known and not _C._are_functorch_transforms_active()


def is_expanded(tensor: Tensor) -> bool:
    """Whether elements share memory, as those of the gradient of sum() do.

    Written out once, such a gradient is one for the kernels of dense operands, in each direction.
    """
    return 0 in tensor.stride()


def is_slice_of_rows(tensor: Tensor) -> bool:
    """Whether it is a part of the channels of a float32 tensor in channels_last_3d, on a GPU.

    So are gradients behind torch.cat. Both gradients in TF32 took 1.2 to 3.0 times as long as of a
    dense one, and written out first 1.2 to 2.1 times (seven layers, H200); of 16 bits, and in
    NCDHW, it does not pay.
    """
    return (
        tensor.dtype is torch.float32
        and tensor.is_cuda
        and tensor.dim() == 5
        and tensor.stride(1) == 1
        and not tensor.is_contiguous(memory_format=torch.channels_last_3d)
    )


def _written_out(
    grad: Tensor, input: Tensor | None, weight: Tensor | None, both_in_tf32: bool
) -> Tensor:
    """grad, which is not contiguous, or a dense copy where that pays for the gradients."""
    if is_expanded(grad):
        formats = [memory_format_of(t) for t in (input, weight) if t is not None]
        last = grad.dim() == 5 and torch.channels_last_3d in formats
        format = torch.channels_last_3d if last else torch.contiguous_format
        return grad.contiguous(memory_format=format)
    if both_in_tf32 and is_slice_of_rows(grad):
        return grad.contiguous(memory_format=torch.channels_last_3d)
    return grad


class _Forward(_Bilinear):
    """output = forward(input, weight, bias)."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> Any:
        if grad is None:
            return (None,) * 6
        _, needs_input, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        input, weight = ctx.saved_tensors
        parameters, allow_tf32 = constants = (ctx.parameters, ctx.allow_tf32)
        of_input = of_weight = of_bias = None
        both = needs_input and needs_weight
        at_once = both and is_memory(grad, input, weight)
        if (
            (needs_input or needs_weight)
            and (at_once or has_a_format(grad))
            and not grad.is_contiguous()
        ):
            in_tf32 = allow_tf32 and parameters[3] == 1  # groups are computed in float32
            grad = _written_out(grad, input, weight, both and in_tf32)
        if at_once:
            of_input, of_weight = _gradients(
                grad, input, weight, *parameters, allow_tf32=allow_tf32
            )
        else:
            if needs_input:
                of_input = grad_input(grad, weight, ctx.first_size[-3:], *constants)
            if needs_weight:
                of_weight = grad_weight(grad, input, ctx.second_size[-3:], *constants)
        if of_weight is not None:
            of_weight = of_weight.contiguous(memory_format=ctx.second_format)
        if needs_bias:
            of_bias = grad.sum((0, 2, 3, 4) if grad.dim() == 5 else (1, 2, 3))
        return None, of_input, of_weight, of_bias, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        _, d_input, d_weight, d_bias, *_ = tangents
        if d_input is None and d_weight is None:  # the bias alone
            d_input = torch.zeros_like(ctx.saved_tensors[0])
        return _product_rule(forward, ctx, d_input, d_weight, (d_bias, None))


class _GradInput(_Bilinear):
    """grad_input(grad_output, weight), of the given input_size."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> Any:
        if grad is None:
            return (None,) * 6
        _, needs_grad_output, needs_weight, *_ = ctx.needs_input_grad
        grad_output, weight = ctx.saved_tensors
        constants = (ctx.parameters, ctx.allow_tf32)
        of_grad_output = of_weight = None
        if needs_grad_output:
            of_grad_output = forward(grad, weight, None, *constants)
        if needs_weight:
            of_weight = grad_weight(grad_output, grad, ctx.second_size[-3:], *constants)
            of_weight = of_weight.contiguous(memory_format=ctx.second_format)
        return None, of_grad_output, of_weight, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        _, d_first, d_second, *_ = tangents
        return _product_rule(grad_input, ctx, d_first, d_second, (ctx.third, ctx.third))


class _GradWeight(_Bilinear):
    """grad_weight(grad_output, input), of the given kernel_size."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> Any:
        if grad is None:
            return (None,) * 6
        _, needs_grad_output, needs_input, *_ = ctx.needs_input_grad
        grad_output, input = ctx.saved_tensors
        constants = (ctx.parameters, ctx.allow_tf32)
        of_grad_output = of_input = None
        if needs_grad_output:
            of_grad_output = forward(input, grad, None, *constants)
        if needs_input:
            of_input = grad_input(grad_output, grad, ctx.second_size[-3:], *constants)
        return None, of_grad_output, of_input, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        _, d_first, d_second, *_ = tangents
        return _product_rule(grad_weight, ctx, d_first, d_second, (ctx.third, ctx.third))


def _product_rule(
    op: Callable[..., Tensor],
    ctx: Any,
    d_first: Tensor | None,
    d_second: Tensor | None,
    thirds: tuple[Any, Any],
) -> Tensor:
    """Of op(first, second): op(d_first, second) + op(first, d_second).

    thirds are the third arguments of the first and of the second call that is made.
    """
    first, second = ctx.saved_tensors
    pairs = [(d_first, second)] if d_first is not None else []
    pairs += [(first, d_second)] if d_second is not None else []
    parts = [
        op(a, b, third, ctx.parameters, ctx.allow_tf32)
        for (a, b), third in zip(pairs, thirds, strict=False)
    ]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def is_plain() -> bool:
    """Whether nothing lies between the caller and the kernels but one level of autograd."""
    return not (
        torch.compiler.is_compiling()
        or _may_have_tangents()
        or _C._len_torch_dispatch_stack()
        or _C._is_tracing()
        or _C._is_any_autocast_enabled()
    )


def is_memory(grad: Tensor, input: Tensor, weight: Tensor) -> bool:
    """Whether these are no more than memory to a backward that wants both gradients.

    No derivatives of them are wanted, and nothing looks on that knows the two ops only.
    """
    return (
        type(grad) is Tensor
        and type(input) in PLAIN
        and type(weight) in PLAIN
        and not grad.is_meta
        and not _C.is_grad_enabled()
        and is_plain()
    )


def is_recorded(*tensors: Any) -> bool:
    """Whether autograd records a call with these arguments."""
    return _C.is_grad_enabled() and bool(_C._any_requires_grad(*tensors))


class _Differentiable:
    """One op with its derivatives."""

    def __init__(self, name: str, function: type[_Bilinear]) -> None:
        self.name = name
        self.op: Any = getattr(torch.ops.convt3d, name).default
        # One level of torch.func, which is what the dispatcher hands to a kernel: a Function
        # would start again at the outermost level.
        single: Any = function
        self.apply: Callable[..., Tensor] = single.apply

    def __call__(
        self, first: Tensor, second: Tensor, third: Any, parameters: Parameters, allow_tf32: bool
    ) -> Tensor:
        """The op; past the dispatcher's round trip to kernel() where that would change nothing.

        The round trip is 5 us of the 9 us that Python costs a call with gradients.
        """
        if not is_plain():
            result: Tensor = self.op(first, second, third, *parameters, allow_tf32=allow_tf32)
            return result
        # The dispatcher does this, too: a tensor that outlived its torch.func transform.
        first, second = unwrap_if_dead(first), unwrap_if_dead(second)
        if isinstance(third, Tensor):
            third = unwrap_if_dead(third)
        if is_recorded(first, second, third):
            return self.apply(self._below, first, second, third, parameters, allow_tf32)
        return self._below(first, second, third, *parameters, allow_tf32=allow_tf32)

    def _below(self, *args: Any, **kwargs: Any) -> Tensor:
        with _C._AutoDispatchBelowADInplaceOrView():
            result: Tensor = self.op(*args, **kwargs)
        return result

    def kernel(
        self,
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
        """The op's kernel for the Autograd key."""
        keyset = keyset & _BELOW
        transformed = _C._are_functorch_transforms_active()
        gradients = _C.is_grad_enabled()

        def below(*args: Any, **kwargs: Any) -> Tensor:
            with _C._AutoDispatchBelowADInplaceOrView():
                result: Tensor = self.op.redispatch(keyset, *args, **kwargs)
            return result

        def with_levels_below(*args: Any, **kwargs: Any) -> Tensor:
            # They record, too: apply() turned it off.
            with torch.set_grad_enabled(gradients), forward_ad._set_fwd_grad_enabled(True):
                return below(*args, **kwargs)

        call = with_levels_below if transformed else below
        recorded = _may_have_tangents() or is_recorded(first, second, third)
        parameters = (stride, padding, output_padding, groups, dilation)
        if not recorded:
            return call(first, second, third, *parameters, allow_tf32=allow_tf32)
        with enable_single_level_autograd_function() if transformed else contextlib.nullcontext():
            return self.apply(call, first, second, third, parameters, allow_tf32)


forward = _Differentiable("forward", _Forward)
grad_input = _Differentiable("grad_input", _GradInput)
grad_weight = _Differentiable("grad_weight", _GradWeight)
# Both gradients of forward at once, of what is_memory(): 40 us less of the 160 us that the host
# takes for a tiny layer's backward on an H200 (docs/measuring.md).
_gradients: Any = torch.ops.convt3d._gradients.default


def register(library: torch.library.Library) -> None:
    """Registers the kernels of the Autograd key."""
    library.impl("_gradients", torch.library.fallthrough_kernel, "Autograd")  # type: ignore[no-untyped-call]
    for op in (forward, grad_input, grad_weight):
        library.impl(op.name, op.kernel, "Autograd", with_keyset=True)  # type: ignore[no-untyped-call]
