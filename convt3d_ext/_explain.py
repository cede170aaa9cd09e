# SPDX-License-Identifier: BSD-3-Clause
"""explain(): which kernel runs for a call, why not another, and how much work it is."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convt3d_ext import _C, functional
from convt3d_ext._ops import check_forward
from convt3d_ext._shapes import (
    as_triple,
    dense_strides,
    layout_of,
    output_extents,
    result_strides,
    suggests_channels_last,
)

__all__ = ["Candidate", "Explanation", "explain", "explain_problem"]

DIRECTIONS = ("forward", "grad_input", "grad_weight")
_PRECISIONS = {torch.float64: "fp64", torch.float16: "fp16", torch.bfloat16: "bf16"}
_ELEMENT_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}
# For a CUDA problem where there is no GPU to ask: an H200.
_DEFAULT_ARCH, _DEFAULT_NUM_SMS = 90, 132


@dataclass(frozen=True)
class Candidate:
    """What one kernel family says to a problem.

    Attributes:
        family: Name of the family.
        supported: Whether it takes the problem.
        reason: Why not, if it does not.
        config: What it would run with, if it does.
    """

    family: str
    supported: bool
    reason: str | None
    config: str | None


@dataclass(frozen=True)
class Explanation:
    """What runs for a problem on a device. ``str()`` is a table for people.

    Attributes:
        description: The problem in the project's notation, with precision, layouts and direction.
        device: The device it was planned for.
        family: The family that runs: the first of the candidates that takes the problem.
        candidates: Every family's verdict, in the planner's order.
        output_size: Extents (D, H, W) of the transposed convolution's output.
        useful_flops: Multiplies and adds of taps that hit an element, without bias.
        bytes: Bytes of input, weight and output, each once.
        workspace_bytes: Bytes that the family allocates beside the result.
    """

    description: str
    device: str
    family: str
    candidates: tuple[Candidate, ...]
    output_size: tuple[int, int, int]
    useful_flops: float
    bytes: int
    workspace_bytes: int

    @property
    def config(self) -> str | None:
        """What the family that runs was configured with."""
        return next(c.config for c in self.candidates if c.family == self.family)

    def __str__(self) -> str:
        width = max(len(candidate.family) for candidate in self.candidates)
        lines = [self.description, f"on {self.device}"]
        for candidate in self.candidates:
            if candidate.family == self.family:
                mark, verdict = ">", f"runs {candidate.config or ''}".rstrip()
            elif candidate.supported:
                mark, verdict = " ", f"could run {candidate.config or ''}".rstrip()
            else:
                mark, verdict = " ", f"no: {candidate.reason}"
            lines.append(f"{mark} {candidate.family:<{width}}  {verdict}")
        lines += [
            f"output        {' x '.join(map(str, self.output_size))}",
            f"useful FLOPs  {self.useful_flops:.4g}",
            f"bytes         {self.bytes} (input + weight + output)",
            f"workspace     {self.workspace_bytes} bytes",
        ]
        return "\n".join(lines)


def explain(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    direction: str = "forward",
    allow_tf32: bool | None = None,
) -> Explanation:
    """Which kernel runs for a call of :func:`conv_transpose3d`, without running it.

    Only shapes, strides, dtype and device are read: fake and meta tensors do, too. Where they are
    on CUDA and there is no GPU, the plan is for an H200; meta tensors get this machine's best
    device.

    Args:
        input: As for :func:`conv_transpose3d`, as are all that follow up to ``dilation``.
        weight: Filters.
        bias: Bias, or None.
        stride: Stride.
        padding: Padding.
        output_padding: Additional size of the output.
        groups: Number of groups.
        dilation: Spacing of the taps.
        direction: "forward", or one of its derivatives, "grad_input" and "grad_weight". They are
            explained for a gradient with the memory format of the output.
        allow_tf32: Whether float32 may use TF32 on CUDA. Default: torch's flag.

    Returns:
        The plan; print it.

    Raises:
        RuntimeError: The arguments are ones that :func:`conv_transpose3d` refuses, or of a dtype
            that it leaves to torch.
        ValueError: There is no such direction.

    Example:
        >>> import torch
        >>> import convt3d_ext
        >>> input, weight = torch.randn(2, 64, 8, 8, 8), torch.randn(64, 32, 2, 2, 2)
        >>> plan = convt3d_ext.explain(input, weight, stride=2)
        >>> plan.description
        'mb2_ic64oc32_id8ih8iw8_k2s2:fp32:ncdhw:forward'
        >>> plan.output_size
        (16, 16, 16)
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}")
    of_axes = (stride, padding, output_padding, dilation)
    parameters = tuple([operator.index(v) for v in as_triple(values)] for values in of_axes)
    strides, paddings, output_paddings, dilations = parameters
    check_forward(input, weight, bias, (strides, paddings, output_paddings, groups, dilations))
    extents = output_extents(input.shape[-3:], weight.shape[2:], *parameters)

    batch = input.shape[0] if input.dim() == 5 else 1
    output_sizes = [*input.shape[:-4], weight.shape[1] * groups, *extents]
    layouts = _layouts(input, weight, output_sizes, direction)
    if input.dtype == torch.float32:
        if allow_tf32 is None:
            allow_tf32 = input.is_cuda and functional.allow_tf32()
        precision = "tf32" if allow_tf32 and groups == 1 else "fp32"
    else:
        precision = _PRECISIONS[input.dtype]
    problem = (
        f"mb{batch}_ic{input.shape[-4]}oc{output_sizes[-4]}"
        f"_id{input.shape[-3]}ih{input.shape[-2]}iw{input.shape[-1]}"
        f"_k{_axes(weight.shape[2:])}s{_axes(strides)}p{_axes(paddings)}"
        f"op{_axes(output_paddings)}d{_axes(dilations)}g{groups}"
    )
    description = f"{problem}:{precision}:{'+'.join(layouts)}:{direction}"
    if bias is not None and direction == "forward":
        description += ":bias"
    return explain_problem(description, None if input.is_meta else str(input.device))


def _axes(values: Sequence[int]) -> str:
    return "x".join(str(int(value)) for value in values)


def _layouts(input: Tensor, weight: Tensor, output_sizes: list[int], direction: str) -> list[str]:
    """Of input, weight and output; the result of the direction follows the ops' rule."""
    output_strides = result_strides(output_sizes, input, weight)
    of_input = (list(input.shape), list(input.stride()))
    of_weight = (list(weight.shape), list(weight.stride()))
    of_output = (output_sizes, output_strides)
    if direction == "grad_input":
        of_input = _result(of_input[0], of_output, of_weight)
    elif direction == "grad_weight":
        of_weight = _result(of_weight[0], of_output, of_input)
    return [layout_of(*geometry) for geometry in (of_input, of_weight, of_output)]


Geometry = tuple[list[int], list[int]]


def _result(sizes: list[int], first: Geometry, second: Geometry) -> Geometry:
    channels_last = suggests_channels_last(*first) or suggests_channels_last(*second)
    return sizes, dense_strides(sizes, channels_last)


def explain_problem(description: str, device: str | None = None) -> Explanation:
    """The plan for a problem in the project's notation.

    Args:
        description: As ``mb2_ic64oc32_id16ih16iw16_k3s2p1op1``, with any of the suffixes
            ``:<precision>``, ``:<layouts>``, ``:<direction>`` and ``:bias``.
        device: "cpu", "cuda" or "cuda:1". Default: the best that this machine and binary have.

    Returns:
        The plan; print it.

    Raises:
        ValueError: The description or the device cannot be read.

    Example:
        >>> from convt3d_ext._explain import explain_problem
        >>> print(explain_problem("mb1_ic8oc4_id4ih4iw4_k2s2:bf16", "cpu").output_size)
        (8, 8, 8)
    """
    if device is None:
        on_gpu = functional.HAS_CUDA and torch.cuda.is_available()
        device = "cuda" if on_gpu else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or not (index.isdigit() or not index):
        raise ValueError(f"device must be cpu, cuda or cuda:<index>, got {device!r}")
    arch = num_sms = 0
    num_threads = 1
    if kind == "cpu":
        num_threads = torch.get_num_threads()
        shown = f"cpu with {num_threads} thread{'s' * (num_threads > 1)}"
    elif torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(int(index or torch.cuda.current_device()))
        capability = 10 * properties.major + properties.minor
        arch = _C.kernel_arch(capability)
        num_sms = properties.multi_processor_count
        shown = f"{device}, {properties.name}, sm_{capability}"
    else:
        arch, num_sms = _DEFAULT_ARCH, _DEFAULT_NUM_SMS
        shown = f"{device}, planned for sm_{arch} with {num_sms} SMs, as there is no GPU"
    plan = _C.plan(description, kind, arch, num_sms, num_threads)
    return Explanation(
        description=plan["description"],
        device=shown,
        family=plan["family"],
        candidates=tuple(Candidate(*row) for row in plan["candidates"]),
        output_size=plan["output"],
        useful_flops=plan["useful_flops"],
        bytes=_bytes(plan["description"], plan["output"]),
        workspace_bytes=plan["workspace_bytes"],
    )


_CANONICAL = re.compile(
    r"mb(\d+)_ic(\d+)oc(\d+)_id(\d+)ih(\d+)iw(\d+)_k([\dx]+)[sopdx\d]*(?:g(\d+))?[sopdx\d]*:(\w+)"
)


def _bytes(description: str, output: Sequence[int]) -> int:
    """Of input, weight and output, from the planner's canonical description."""
    match = _CANONICAL.match(description)
    assert match is not None, description
    batch, in_channels, out_channels, *extents = (int(match[i]) for i in range(1, 7))
    kernel = math.prod(as_triple([int(k) for k in match[7].split("x")]))
    elements = batch * in_channels * math.prod(extents)
    elements += in_channels * out_channels // int(match[8] or 1) * kernel
    elements += batch * out_channels * math.prod(output)
    return elements * _ELEMENT_BYTES[match[9]]
