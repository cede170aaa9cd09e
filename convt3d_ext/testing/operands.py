# SPDX-License-Identifier: BSD-3-Clause
"""The tensors of a call: values, memory layouts, and the call itself, ours and torch's.

Operands come in the op's argument order: (input, weight), (grad_output, weight) or
(grad_output, input). One set of values serves several precisions, so that one float64 reference
does: the *narrow* set holds values that bfloat16 and float16 both represent, the *wide* set float32
values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convt3d_ext import _C, conv_transpose3d
from convt3d_ext.testing.cases import Case

DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
NARROW = ("fp16", "bf16")

# The largest integer n for which all of 0..n are representable, and half of float32's own limit
# for the wide set, whose sums only ever live in float32 or wider.
_EXACT_LIMIT = {True: 256, False: 2**23}


@dataclass
class Operands:
    """Two tensors in the op's argument order, and the forward's bias."""

    first: Tensor
    second: Tensor
    bias: Tensor | None = None

    def to(self, precision: str, layouts: tuple[str, str] = ("ncdhw", "ncdhw")) -> Operands:
        """The same values as ``precision`` holds them, arranged in memory as asked."""
        dtype = DTYPES[precision]
        return Operands(
            arrange(self.first.to(dtype), layouts[0]),
            arrange(self.second.to(dtype), layouts[1]),
            None if self.bias is None else self.bias.to(dtype),
        )


def shapes(case: Case) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the two operands."""
    if case.direction == "forward":
        return case.input_shape, case.weight_shape
    if case.direction == "grad_input":
        return case.output_shape, case.weight_shape
    return case.output_shape, case.input_shape


def operand_layouts(case: Case) -> tuple[str, str]:
    """Layouts of the two operands."""
    of_input, of_weight, of_output = case.layouts
    if case.direction == "forward":
        return of_input, of_weight
    return of_output, of_weight if case.direction == "grad_input" else of_input


def result_shape(case: Case) -> tuple[int, ...]:
    """Shape of the result."""
    if case.direction == "forward":
        return case.output_shape
    return case.input_shape if case.direction == "grad_input" else case.weight_shape


def integers(case: Case, narrow: bool, device: torch.device, seed: int) -> Operands:
    """Small integers, so sparse that every partial sum of every order is an exact integer.

    The sum of absolute products of one result stays below 256 (narrow: what bfloat16 counts to) or
    2**23 (wide), so an implementation that multiplies and adds, in whatever order and with whatever
    intermediate rounding its type allows, has exactly one right answer. Values are -1 and 1
    (narrow) or -4 to 4 (wide, exact in TF32 too). The density aims at a quarter of the limit, many
    standard deviations below it.
    """
    largest = 1 if narrow else 4
    mean_product = ((1 + largest) / 2) ** 2
    density = math.sqrt(min(1.0, _EXACT_LIMIT[narrow] / 4 / (case.reduction * mean_product)))
    generator = torch.Generator(device).manual_seed(seed)

    def draw(shape: tuple[int, ...], density: float) -> Tensor:
        value = torch.randint(1, largest + 1, shape, generator=generator, device=device).float()
        # One uniform number decides both whether the element is zero and its sign.
        coin = torch.rand(shape, generator=generator, device=device)
        value[coin >= density] = 0
        return torch.where(coin < density / 2, -value, value)

    first, second = (draw(shape, density) for shape in shapes(case))
    return Operands(first, second, draw((case.out_channels,), 1.0) if case.bias else None)


def normals(case: Case, narrow: bool, device: torch.device, seed: int) -> Operands:
    """Normal values; a weight is scaled so that results are of the order of one."""
    generator = torch.Generator(device).manual_seed(seed)

    def draw(shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
        value = torch.randn(shape, generator=generator, device=device) * scale
        if not narrow:
            return value
        value = value.bfloat16().float()
        return torch.where(value.abs() < 2**-17, 0.0, value)  # bfloat16 there is finer than float16

    shape, other = shapes(case)
    scale = 1.0 if case.direction == "grad_weight" else case.reduction**-0.5
    bias = draw((case.out_channels,)) if case.bias else None
    return Operands(draw(shape), draw(other, scale), bias)


def arrange(tensor: Tensor, layout: str) -> Tensor:
    """The same values in another memory order; ``strided`` has gaps and neither dense order."""
    if layout == "ncdhw":
        return tensor.contiguous()
    if layout == "ndhwc":
        return tensor.contiguous(memory_format=torch.channels_last_3d)
    # Rows two elements apart, width before channels, one element of offset.
    n, c, d, h, w = tensor.shape
    storage = tensor.new_zeros(n * d * c * h * 2 * (w + 1) + 1)
    view = storage[1:].view(n, d, c, h, 2 * (w + 1))[..., : 2 * w : 2].permute(0, 2, 1, 3, 4)
    return view.copy_(tensor)


def layout_of(tensor: Tensor) -> str:
    """The layout word of a tensor; ncdhw where the strides fit both orders."""
    if tensor.is_contiguous():
        return "ncdhw"
    dense = tensor.is_contiguous(memory_format=torch.channels_last_3d)
    return "ndhwc" if dense else "strided"


def call(case: Case, operands: Operands, family: str | None = None) -> Tensor:
    """Run the case's op on ``operands``; ``family`` forces one and raises if it refuses."""
    name = case.direction if family is None else f"_{case.direction}_as"
    extra = {} if family is None else {"family": family}
    arguments = (case.stride, case.padding, case.output_padding, case.groups, case.dilation)
    third: object = operands.bias
    if case.direction != "forward":
        third = case.input_size if case.direction == "grad_input" else case.kernel_size
    op = getattr(torch.ops.convt3d, name)
    result: Tensor = op(
        operands.first,
        operands.second,
        third,
        *arguments,
        allow_tf32=case.precision == "tf32",
        **extra,
    )
    return result


def function_arguments(case: Case, operands: Operands) -> tuple[Any, ...]:
    """What ``conv_transpose3d``, torch's and ours, takes for a forward case, in order."""
    return (
        operands.first,
        operands.second,
        operands.bias,
        case.stride,
        case.padding,
        case.output_padding,
        case.groups,
        case.dilation,
    )


def call_as_users_do(case: Case, operands: Operands) -> Tensor:
    """Run the case through the function, or a gradient's op. Pin TF32: ``float32_precision``."""
    if case.direction != "forward":
        return call(case, operands)
    return conv_transpose3d(*function_arguments(case, operands))


def call_torch(case: Case, operands: Operands) -> Tensor:
    """Torch's own result for the same operands. Pin TF32 around it: ``float32_precision``."""
    if case.direction == "forward":
        return torch.nn.functional.conv_transpose3d(*function_arguments(case, operands))
    wants_input = case.direction == "grad_input"
    # convolution_backward wants the tensor whose gradient it computes, for its sizes and layout.
    channels_last = "ndhwc" in (layout_of(operands.first), layout_of(operands.second))
    other = torch.empty(
        result_shape(case),
        dtype=operands.first.dtype,
        device=operands.first.device,
        memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format,
    )
    activation, weight = (other, operands.second) if wants_input else (operands.second, other)
    gradients = torch.ops.aten.convolution_backward(
        operands.first,
        activation,
        weight,
        None,
        case.stride,
        case.padding,
        case.dilation,
        True,
        case.output_padding,
        case.groups,
        (wants_input, not wants_input, False),
    )
    result: Tensor = gradients[0 if wants_input else 1]
    return result


@contextmanager
def float32_precision(precision: str) -> Iterator[None]:
    """Pin what torch may do with float32 products: TF32 for tf32, IEEE for everything else."""
    cudnn: Any = torch.backends.cudnn  # its stubs do not know conv
    settings = (cudnn.conv, torch.backends.cuda.matmul)
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


def resolve_device(name: str | None) -> torch.device:
    """The device called ``name``; without a name, CUDA where GPU and binary have it, else CPU."""
    if name is None:
        on_gpu = torch.cuda.is_available() and _C.build_info()["cuda"]
        name = "cuda" if on_gpu else "cpu"
    return torch.device(name)


def plan_device(device: torch.device) -> tuple[str, int, int, int]:
    """(kind, arch, num_sms, num_threads) of a device, as ``_C.plan`` wants them."""
    if device.type != "cuda":
        return "cpu", 0, 0, torch.get_num_threads()
    properties = torch.cuda.get_device_properties(device)
    arch = _C.kernel_arch(10 * properties.major + properties.minor)
    return "cuda", arch, properties.multi_processor_count, torch.get_num_threads()
