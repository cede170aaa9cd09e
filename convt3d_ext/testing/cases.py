# SPDX-License-Identifier: BSD-3-Clause
"""One problem as numbers, its notation, and the lists of cases that tests and tools run.

The notation is the one that ``explain`` prints and C++ parses (csrc/geometry/problem.h,
csrc/plan/description.h); tests/test_cases.py holds the two to each other::

    mb2_ic64oc32_id16ih16iw16_k3s2p1op1:fp32:ncdhw:forward:bias
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from convt3d_ext.testing.edge_cases import EDGES

Ints3 = tuple[int, int, int]  # always {d, h, w}

PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16")
LAYOUTS = ("ncdhw", "ndhwc", "strided")
DIRECTIONS = ("forward", "grad_input", "grad_weight")
TIERS = ("smoke", "ci", "full", "bench")

ELEMENT_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}

_TOKEN = re.compile(r"([a-z]+)(\d+(?:x\d+)*)_*")
_NUMBERS = {"mb": "batch", "ic": "in_channels", "oc": "out_channels", "g": "groups"}
_EXTENTS = {
    "k": "kernel_size",
    "s": "stride",
    "p": "padding",
    "op": "output_padding",
    "d": "dilation",
}
_DEFAULTS = {"s": 1, "p": 0, "op": 0, "d": 1}


@dataclass(frozen=True)
class Case:
    """A transposed convolution, its precision, memory layouts and direction.

    ``layout`` is one word when input, weight and output agree, else ``input+weight+output``. In
    the gradient directions the names keep their meaning: output's layout is grad_output's.
    """

    batch: int
    in_channels: int
    out_channels: int
    input_size: Ints3
    kernel_size: Ints3
    stride: Ints3 = (1, 1, 1)
    padding: Ints3 = (0, 0, 0)
    output_padding: Ints3 = (0, 0, 0)
    dilation: Ints3 = (1, 1, 1)
    groups: int = 1
    precision: str = "fp32"
    layout: str = "ncdhw"
    direction: str = "forward"
    bias: bool = False
    # Where the case comes from, for tables; no part of the problem.
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what the C++ parser refuses, and normalise as it does."""
        words = self.layout.split("+")
        if len(words) == 3 and len(set(words)) == 1:
            object.__setattr__(self, "layout", words[0])
        if self.precision == "tf32" and self.groups > 1:  # torch computes it in full precision
            object.__setattr__(self, "precision", "fp32")
        problem = self._why_invalid()
        if problem:
            raise ValueError(f"{problem} in problem '{self}'")

    def _why_invalid(self) -> str:
        words = self.layout.split("+")
        if self.precision not in PRECISIONS:
            return f"no precision '{self.precision}'"
        if self.direction not in DIRECTIONS:
            return f"no direction '{self.direction}'"
        if len(words) not in (1, 3) or not set(words) <= set(LAYOUTS):
            return f"no layout '{self.layout}'"
        if self.bias and self.direction != "forward":
            return "':bias' belongs to forward only"
        if self.batch < 0:
            return "mb must not be negative"
        if self.groups < 1:
            return "g must be positive"
        for channels, key in ((self.in_channels, "ic"), (self.out_channels, "oc")):
            if channels < 1 or channels % self.groups:
                return f"{key} must be a positive multiple of g"
        if min(self.input_size) < 1:
            return "id, ih and iw must be positive"
        for key in ("k", "s", "d"):
            if min(getattr(self, _EXTENTS[key])) < 1:
                return f"{key} must be positive"
        for axis in range(3):
            if self.output_padding[axis] >= max(self.stride[axis], self.dilation[axis]):
                return "op must be smaller than s or d"
        if max(self.output_size) >= 2**63:
            return "the output size overflows"
        if min(self.output_size) < 1:
            return "the output is empty"
        return ""

    @property
    def output_size(self) -> Ints3:
        """Output extents: (i - 1) * s - 2 * p + d * (k - 1) + op + 1 per axis."""
        d, h, w = (
            (self.input_size[a] - 1) * self.stride[a]
            - 2 * self.padding[a]
            + self.dilation[a] * (self.kernel_size[a] - 1)
            + self.output_padding[a]
            + 1
            for a in range(3)
        )
        return d, h, w

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input: (batch, in_channels, d, h, w)."""
        return (self.batch, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight: (in_channels, out_channels / groups, kd, kh, kw)."""
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output: (batch, out_channels, d, h, w)."""
        return (self.batch, self.out_channels, *self.output_size)

    @property
    def layouts(self) -> tuple[str, str, str]:
        """Layouts of input, weight and output."""
        words = self.layout.split("+")
        return (words[0], words[0], words[0]) if len(words) == 1 else (words[0], words[1], words[2])

    @property
    def elements(self) -> int:
        """Elements of input, weight and output together."""
        shapes = (self.input_shape, self.weight_shape, self.output_shape)
        return sum(math.prod(shape) for shape in shapes)

    @property
    def bytes(self) -> int:
        """Bytes of input, weight and output, each moved once: the least a call can move."""
        return self.elements * ELEMENT_BYTES[self.precision]

    @property
    def useful_flops(self) -> float:
        """Two per product of an input element and a tap that lands on an output element."""
        flops = 2.0 * self.batch * self.in_channels * (self.out_channels // self.groups)
        for axis in range(3):
            flops *= self._useful_pairs(axis)
        return flops

    @property
    def reduction(self) -> int:
        """Upper bound on the products summed into one element of the result."""
        taps = math.prod(self.kernel_size)
        if self.direction == "forward":
            return self.in_channels // self.groups * taps
        if self.direction == "grad_input":
            return self.out_channels // self.groups * taps
        return self.batch * math.prod(self.input_size)

    def _useful_pairs(self, axis: int) -> int:
        pairs = 0
        stride, extent = self.stride[axis], self.output_size[axis]
        for tap in range(self.kernel_size[axis]):
            shift = self.dilation[axis] * tap - self.padding[axis]  # o = stride * i + shift
            first = max(0, -(shift // stride))
            last = min(self.input_size[axis] - 1, (extent - 1 - shift) // stride)
            pairs += max(0, last - first + 1)
        return pairs

    @property
    def problem(self) -> str:
        """The notation without precision, layout, direction and bias."""
        i = self.input_size
        text = f"mb{self.batch}_ic{self.in_channels}oc{self.out_channels}"
        text += f"_id{i[0]}ih{i[1]}iw{i[2]}_"
        for key, attribute in _EXTENTS.items():
            text += _print_extents(key, getattr(self, attribute))
        return text + (f"g{self.groups}" if self.groups != 1 else "")

    def __str__(self) -> str:
        """Full notation, as C++ prints it."""
        text = f"{self.problem}:{self.precision}:{self.layout}:{self.direction}"
        return text + (":bias" if self.bias else "")

    @classmethod
    def parse(cls, text: str, name: str = "") -> Case:
        """Read the notation; every part after the first colon is optional, in any order.

        Raises:
            ValueError: names what cannot be read.
        """
        problem, *words = text.split(":")
        values: dict[str, object] = {"name": name, **_parse_problem(problem, text)}
        for word in words:
            if word in PRECISIONS:
                values["precision"] = word
            elif word in DIRECTIONS:
                values["direction"] = word
            elif word == "bias":
                values["bias"] = True
            elif word and set(word.split("+")) <= set(LAYOUTS):
                values["layout"] = word
            else:
                raise ValueError(f"cannot read ':{word}' in problem '{text}'")
        return cls(**values)  # type: ignore[arg-type]

    def variants(
        self,
        precisions: tuple[str, ...] = ("fp32",),
        layouts: tuple[str, ...] = ("ncdhw",),
        directions: tuple[str, ...] = DIRECTIONS,
    ) -> Iterator[Case]:
        """This problem in every precision, layout and direction given, without repeats."""
        seen = set()
        for direction in directions:
            for precision in precisions:
                for layout in layouts:
                    bias = self.bias and direction == "forward"
                    case = replace(
                        self, precision=precision, layout=layout, direction=direction, bias=bias
                    )
                    if case not in seen:
                        seen.add(case)
                        yield case


def _print_extents(key: str, extents: Ints3) -> str:
    if key in _DEFAULTS and set(extents) == {_DEFAULTS[key]}:
        return ""
    return key + ("x".join(map(str, extents)) if len(set(extents)) > 1 else str(extents[0]))


def _parse_problem(problem: str, text: str) -> dict[str, object]:
    tokens: dict[str, tuple[int, ...]] = {}
    at = 0
    while at < len(problem):
        match = _TOKEN.match(problem, at)
        if match is None:
            raise ValueError(f"cannot read '{problem[at:]}' in problem '{text}'")
        key, numbers = match.group(1), tuple(map(int, match.group(2).split("x")))
        if key in tokens:
            raise ValueError(f"'{match.group(0)}' comes twice in problem '{text}'")
        lengths = (1, 3) if key in _EXTENTS else (1,)
        known = key in _EXTENTS or key in _NUMBERS or key in ("id", "ih", "iw")
        if not known or len(numbers) not in lengths:
            raise ValueError(f"cannot read '{match.group(0)}' in problem '{text}'")
        tokens[key] = numbers
        at = match.end()
    for key in ("mb", "ic", "oc", "id", "ih", "iw", "k"):
        if key not in tokens:
            raise ValueError(f"'{key}' is missing in problem '{text}'")
    values: dict[str, object] = {
        "input_size": tuple(tokens[key][0] for key in ("id", "ih", "iw")),
    }
    for key, attribute in _NUMBERS.items():
        if key in tokens:
            values[attribute] = tokens[key][0]
    for key, attribute in _EXTENTS.items():
        if key in tokens:
            values[attribute] = tokens[key] if len(tokens[key]) == 3 else tokens[key] * 3
    return values


def edges(tier: str = "full") -> list[Case]:
    """The hand-chosen cases of a tier: smoke is part of ci, ci of full; bench has none.

    Example:
        >>> from convt3d_ext.testing.cases import edges
        >>> str(edges("smoke")[0])
        'mb2_ic8oc4_id4ih4iw4_k3s2p1op1:fp32:ncdhw:forward:bias'
    """
    if tier not in TIERS:
        raise ValueError(f"tier must be one of {', '.join(TIERS)}, got '{tier}'")
    if tier == "bench":
        return []
    wanted = TIERS[: TIERS.index(tier) + 1]
    return [Case.parse(text, name=name) for level, name, text in EDGES if level in wanted]
