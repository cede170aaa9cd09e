# SPDX-License-Identifier: BSD-3-Clause
"""What torch has to know about the ops beyond their kernels: fake results, autocast, FLOPs.

Schemas and kernels are registered by the native module (csrc/binding); derivatives are in
_autograd.py, vmap rules in _vmap.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from convt3d_ext import _C, _autograd, _vmap
from convt3d_ext._shapes import as_triple, output_extents, result_strides

# Registrations live as long as this object.
_LIBRARY = torch.library.Library("convt3d", "FRAGMENT")  # type: ignore[no-untyped-call]
_OPS = torch.ops.convt3d
_NAMES = ("forward", "grad_input", "grad_weight")

Described = tuple[tuple[int, ...], str, str]


# -- fake results ----------------------------------------------------------------------------------


def _hint(size: Any) -> Any:
    """A size as a plain int without a guard on it; None for one that only running will tell."""
    node = getattr(size, "node", None)  # of a SymInt, which poses as an int
    return size if node is None else node.hint


def _described(tensor: Tensor, unknown: Sequence[int]) -> Described:
    """(sizes, dtype, device) for _C.check; sizes that are not known yet come from `unknown`."""
    hints = [_hint(size) for size in tensor.shape]
    if len(hints) == len(unknown) - 1:
        unknown = unknown[1:]
    padded = [*unknown, *[1] * len(hints)]  # of another rank: an error, whatever the sizes
    sizes = tuple(padded[i] if hint is None else hint for i, hint in enumerate(hints))
    return sizes, str(tensor.dtype).removeprefix("torch."), str(tensor.device)


def check_forward(
    input: Tensor, weight: Tensor, bias: Tensor | None, parameters: tuple[Any, ...]
) -> None:
    """The checker that eager runs, on hints: it must not specialise dynamic sizes.

    Sizes without a hint get values that pass; the kernel checks the real ones.
    """
    ones = [1] * 5
    of_weight, weight_dtype, weight_device = _described(weight, ones)
    channels = of_weight[0] if of_weight else 1
    of_input = _described(input, [1, channels, *[1 << 10] * 3])
    out_channels = of_weight[1] * parameters[3] if len(of_weight) > 1 else 1
    of_bias = None if bias is None else _described(bias, [0, 0, 0, 0, out_channels][-bias.dim() :])
    stride, padding, output_padding, groups, dilation = parameters
    _C.check(
        "forward",
        of_input,
        (of_weight, weight_dtype, weight_device),
        of_bias,
        None,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def _check_gradient(
    direction: str, first: Tensor, second: Tensor, extent: Any, parameters: tuple[Any, ...]
) -> None:
    sizes = [*first.shape, *second.shape, *extent]
    if any(_hint(size) is None for size in sizes):
        return  # extents that must fit together: only the kernel can tell
    stride, padding, output_padding, groups, dilation = parameters
    _C.check(
        direction,
        _described(first, []),
        _described(second, []),
        None,
        tuple(_hint(size) for size in extent),
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def _empty(sizes: Sequence[int], first: Tensor, second: Tensor) -> Tensor:
    return first.new_empty_strided(sizes, result_strides(sizes, first, second))


def _fake_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = (1,),
    padding: Any = (0,),
    output_padding: Any = (0,),
    groups: int = 1,
    dilation: Any = (1,),
    *,
    allow_tf32: bool = True,
) -> Tensor:
    check_forward(input, weight, bias, (stride, padding, output_padding, groups, dilation))
    extents = output_extents(
        input.shape[-3:], weight.shape[2:], stride, padding, output_padding, dilation
    )
    return _empty([*input.shape[:-4], weight.shape[1] * groups, *extents], input, weight)


def _fake_grad_input(
    grad_output: Tensor,
    weight: Tensor,
    input_size: Any,
    stride: Any = (1,),
    padding: Any = (0,),
    output_padding: Any = (0,),
    groups: int = 1,
    dilation: Any = (1,),
    *,
    allow_tf32: bool = True,
) -> Tensor:
    parameters = (stride, padding, output_padding, groups, dilation)
    _check_gradient("grad_input", grad_output, weight, input_size, parameters)
    sizes = [*grad_output.shape[:-4], weight.shape[0], *as_triple(input_size)]
    return _empty(sizes, grad_output, weight)


def _fake_grad_weight(
    grad_output: Tensor,
    input: Tensor,
    kernel_size: Any,
    stride: Any = (1,),
    padding: Any = (0,),
    output_padding: Any = (0,),
    groups: int = 1,
    dilation: Any = (1,),
    *,
    allow_tf32: bool = True,
) -> Tensor:
    parameters = (stride, padding, output_padding, groups, dilation)
    _check_gradient("grad_weight", grad_output, input, kernel_size, parameters)
    sizes = [input.shape[-4], grad_output.shape[-4] // groups, *as_triple(kernel_size)]
    return _empty(sizes, grad_output, input)


# -- autocast --------------------------------------------------------------------------------------

# Both: the kernels of a CPU op must not be autocast either while only CUDA's is on, and vice versa.
_AUTOCAST_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU) | (
    torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)
)


def _autocast_forward(device_type: str) -> Callable[..., Tensor]:
    """Casts as autocast casts aten's convolutions: float64 stays, all else that floats is cast."""
    op = _OPS.forward.default

    def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
        eligible = tensor.is_floating_point() and tensor.device.type == device_type
        return tensor.to(dtype) if eligible else tensor

    def kernel(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST_KEYS):
            dtype = torch.get_autocast_dtype(device_type)
            tensors = [input, weight] if bias is None else [input, weight, bias]
            if all(tensor.dtype != torch.float64 for tensor in tensors):
                input, weight = cast(input, dtype), cast(weight, dtype)
                bias = None if bias is None else cast(bias, dtype)
            result: Tensor = op(input, weight, bias, *args, **kwargs)
        return result

    return kernel


def _autocast_gradient(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A gradient has the dtype of its operands; the kernels below are not to be cast either."""

    def kernel(*args: Any, **kwargs: Any) -> Tensor:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST_KEYS):
            return op(*args, **kwargs)

    return kernel


# -- FLOPs -----------------------------------------------------------------------------------------

Shape = Sequence[int]


def _flops(input: Shape, weight: Shape) -> int:
    """Torch's count for a transposed convolution: every tap of every input element, in or out."""
    batch = input[0] if len(input) == 5 else 1
    return 2 * batch * math.prod(input[-3:]) * math.prod(weight)


def _flops_forward(input: Shape, weight: Shape, *args: Any, **kwargs: Any) -> int:
    return _flops(input, weight)


def _flops_grad_input(
    grad_output: Shape, weight: Shape, input_size: Shape, *args: Any, **kwargs: Any
) -> int:
    return _flops([*grad_output[:-3], *as_triple(input_size)], weight)


def _flops_grad_weight(
    grad_output: Shape, input: Shape, kernel_size: Shape, *args: Any, out_shape: Any, **kwargs: Any
) -> int:
    # A convolution of grad_output with input as its weight: torch counts every channel pair.
    batch = input[0] if len(input) == 5 else 1
    extents = math.prod(out_shape[2:]) * math.prod(input[-3:])
    return int(2 * batch * extents * input[-4] * grad_output[-4])


# -- registration ----------------------------------------------------------------------------------


def _register() -> None:
    fakes: tuple[Any, ...] = (_fake_forward, _fake_grad_input, _fake_grad_weight)
    formulas: tuple[Any, ...] = (_flops_forward, _flops_grad_input, _flops_grad_weight)
    for name, fake, formula in zip(_NAMES, fakes, formulas, strict=True):
        torch.library.register_fake(f"convt3d::{name}", fake, lib=_LIBRARY)
        register_flop_formula(getattr(_OPS, name))(formula)
    for device_type, key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
        _LIBRARY.impl("forward", _autocast_forward(device_type), key)  # type: ignore[no-untyped-call]
        for name in _NAMES[1:]:
            _LIBRARY.impl(name, _autocast_gradient(getattr(_OPS, name).default), key)  # type: ignore[no-untyped-call]
    _autograd.register(_LIBRARY)
    _vmap.register(_LIBRARY)


_register()
