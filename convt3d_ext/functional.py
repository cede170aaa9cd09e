# SPDX-License-Identifier: BSD-3-Clause
"""The functional interface: a drop-in for torch.nn.functional.conv_transpose3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from convt3d_ext import _C, _autograd, _ops  # noqa: F401 (_ops registers what the op needs)

__all__ = ["conv_transpose3d"]

_DTYPES = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
_PLAIN = _autograd.PLAIN
# ROCm's torch calls its devices "cuda", too.
HAS_CUDA = bool(_C.build_info()["cuda"]) and torch.version.cuda is not None


# Looked up once: torch.backends.cudnn finds its attributes by functions in Python.
_OF_CONV: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]


def allow_tf32() -> bool:
    """Whether torch.backends.cudnn.conv.fp32_precision, or its parent setting, says "tf32".

    The getter follows "none" to the parent. torch.backends.cudnn.allow_tf32 raises once a user has
    set this one.
    """
    return bool(_OF_CONV.fp32_precision == "tf32")


# What torch.compiler.assume_constant_result sets, without its import of torch._dynamo: Dynamo
# cannot trace the flag's getter, so a compiled graph keeps the value it was compiled with.
allow_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_covered(tensor: Any) -> bool:
    """Whether the ops take this tensor; aten gets all others, and its errors are then torch's."""
    return (
        isinstance(tensor, Tensor)
        and tensor.dtype in _DTYPES
        and ((tensor.is_cuda and HAS_CUDA) or tensor.is_cpu or tensor.is_meta)
        and tensor.layout is torch.strided
        and not tensor.is_nested
        # DTensor and the like implement aten's ops.
        and (type(tensor) in _PLAIN or not is_traceable_wrapper_subclass(tensor))
    )


def _is_int_or_ints(value: Any) -> bool:
    values = value if isinstance(value, tuple | list) else (value,)
    return all(isinstance(v, int) and v.bit_length() < 64 for v in values)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    r"""Applies a 3D transposed convolution over an input of several planes, "deconvolution".

    Takes and returns what :func:`torch.nn.functional.conv_transpose3d` does, of
    float16, bfloat16, float32 and float64 on CPU and CUDA. Per axis,

    .. math::
        output = (input - 1) \cdot stride - 2 \cdot padding
                 + dilation \cdot (kernel - 1) + output\_padding + 1

    and element :math:`i` of the input adds its product with tap :math:`t` to element
    :math:`stride \cdot i + dilation \cdot t - padding` of the output.

    * The same call gives bitwise the same result, on the same GPU model and version.
    * float16 and bfloat16 are accumulated in float32 and rounded once, after the bias.
    * float32 on CUDA uses TF32 products where ``torch.backends.cudnn.conv.fp32_precision`` says
      "tf32" (torch's default) and ``groups`` is 1, else products of full precision. Under
      ``torch.compile`` that flag is read when the graph is compiled.
    * The result is channels_last_3d if ``input`` or ``weight`` is, else contiguous.
    * Derivatives of any order, forward mode, :mod:`torch.func`, autocast, ``torch.compile`` and
      ``torch.export`` work.
    * Other dtypes, devices and layouts, and tensor subclasses that implement aten's ops, go to
      ``torch.nn.functional.conv_transpose3d`` unchanged. Subclasses with ``__torch_function__``
      get this function, or torch's if they do not implement this one.

    Args:
        input: Input of shape :math:`(N, C_{in}, D, H, W)` or :math:`(C_{in}, D, H, W)`.
        weight: Filters of shape :math:`(C_{in}, C_{out} / groups, kD, kH, kW)`.
        bias: Bias of shape :math:`(C_{out})`, or None.
        stride: Stride in elements of the output; one number or ``(sD, sH, sW)``.
        padding: ``dilation * (kernel_size - 1) - padding`` zeros pad both sides of the input, so
            that this many elements are cut off both sides of the output.
        output_padding: Elements added to one side of the output; less than stride or dilation.
        groups: Number of groups that the channels are split into.
        dilation: Spacing between the taps in elements of the output.

    Returns:
        Output of shape :math:`(N, C_{out}, D_{out}, H_{out}, W_{out})`, or without :math:`N`.

    Raises:
        RuntimeError: Shapes, dtypes or devices do not fit, in torch's words.
        TypeError: A parameter is not an int or ints.

    Example:
        >>> import torch
        >>> import convt3d_ext
        >>> input = torch.randn(2, 16, 4, 5, 6)
        >>> weight = torch.randn(16, 8, 3, 3, 3)
        >>> convt3d_ext.conv_transpose3d(
        ...     input, weight, stride=2, padding=1, output_padding=1
        ... ).shape
        torch.Size([2, 8, 8, 10, 12])
    """
    if has_torch_function_variadic(input, weight, bias):
        return _overridden(input, weight, bias, stride, padding, output_padding, groups, dilation)
    parameters = (stride, padding, output_padding, groups, dilation)
    if (
        type(input) in _PLAIN
        and type(weight) in _PLAIN
        and input.is_cpu
        and _autograd.is_plain()
        and _stays_with_torch(input, weight, bias, parameters)
    ):
        return F.conv_transpose3d(input, weight, bias, *parameters)
    if not (is_covered(input) and is_covered(weight) and (bias is None or is_covered(bias))):
        return _torch(input, weight, bias, *parameters)
    tf32 = input.is_cuda and allow_tf32()
    if torch.compiler.is_compiling():
        return _autograd.forward.op(input, weight, bias, *parameters, allow_tf32=tf32)  # type: ignore[no-any-return]
    try:
        return _autograd.forward(input, weight, bias, parameters, tf32)
    except RuntimeError:
        if all(map(_is_int_or_ints, parameters)):
            raise
        # The op's schema refused a parameter. torch raises its TypeError, or can read it.
        return _torch(input, weight, bias, *parameters)


# Whether torch's own kernels are what the ops would run, by all that this depends on. Looking it up
# costs under 1 us; an op reads its arguments for 4 us and trips through the dispatcher once more.
_STAYS_WITH_TORCH: dict[Any, bool] = {}
_MOST_KNOWN = 4096


def _stays_with_torch(
    input: Tensor, weight: Tensor, bias: Tensor | None, parameters: tuple[Any, ...]
) -> bool:
    """Whether a call on the CPU is one for torch's own function, as it is.

    Never of operands that are not contiguous: there aten's strides are not the ops'. Nor where one
    of them is frozen: torch keeps both for backward, needed or not.
    """
    try:
        if not (input.is_contiguous() and weight.is_contiguous()):
            return False
        recorded = _autograd.is_recorded(input, weight, bias)
        if recorded and not (input.requires_grad and weight.requires_grad):
            return False
        key = (input.shape, weight.shape, bias is None, input.dtype, recorded, parameters)
        known = _STAYS_WITH_TORCH.get(key)
    except (RuntimeError, TypeError):  # sparse and the like; lists as parameters
        return False
    if known is None:
        if len(_STAYS_WITH_TORCH) >= _MOST_KNOWN:
            _STAYS_WITH_TORCH.clear()
        known = _plans_torch(input, weight, bias, parameters, recorded)
        _STAYS_WITH_TORCH[key] = known
    return known


def _plans_torch(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    parameters: tuple[Any, ...],
    recorded: bool,
) -> bool:
    """Whether aten computes this call and, if recorded, its derivatives.

    Those of bfloat16 stay with the ops, as aten's are wrong in places (docs/kernels/cpu.md).
    """
    from convt3d_ext._explain import explain  # which imports this module

    if not (is_covered(input) and is_covered(weight) and (bias is None or is_covered(bias))):
        return False
    if recorded and input.dtype not in (torch.float32, torch.float64):
        return False
    directions = ("forward", "grad_input", "grad_weight") if recorded else ("forward",)
    try:
        plans = [explain(input, weight, bias, *parameters, direction=d) for d in directions]
    except (RuntimeError, TypeError, OverflowError):  # the op says what is wrong with the arguments
        return False
    return all(plan.family == "aten" and plan.config == "torch" for plan in plans)


def _torch(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> Tensor:
    """Torch's function; its errors name the position of tensors, and parameters by keyword."""
    return F.conv_transpose3d(
        input,
        weight,
        bias,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
    )


def _overridden(*args: Any) -> Tensor:
    """The call with an argument, or under a mode, that has __torch_function__."""
    tensors = args[:3]
    if any(isinstance(t, Tensor) and is_traceable_wrapper_subclass(t) for t in tensors):
        return _torch(*args)
    try:
        result: Tensor = handle_torch_function(conv_transpose3d, tensors, *args)
    except TypeError:
        # It knows torch's functions only, as by a table; or the same error comes again.
        return _torch(*args)
    return result
