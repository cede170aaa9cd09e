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


# Hand-chosen: every rule of the geometry, each as small as the rule allows. "smoke" cases run in
# seconds for all families together.
_EDGES: tuple[tuple[str, str, str], ...] = (
    ("smoke", "cube k3 s2", "mb2_ic8oc4_id4ih4iw4_k3s2p1op1:bias"),
    ("smoke", "k = s", "mb2_ic8oc4_id3ih3iw3_k2s2:bias"),
    ("ci", "k = s, one axis not strided", "mb2_ic6oc5_id3ih4iw5_k1x2x2s1x2x2:bias"),
    ("ci", "k = s, wider in h and w", "mb1_ic16oc5_id2ih3iw3_k2x4x4s2x4x4:bias"),
    ("ci", "k = s with output padding", "mb2_ic4oc4_id3ih3iw3_k2s2op1:bias"),
    ("ci", "k = s, one more than a tile's channels", "mb2_ic33oc17_id3ih4iw5_k2s2:bias"),
    ("ci", "k = s, 16-byte rows", "mb2_ic64oc32_id2ih4iw16_k2s2:bias"),
    ("ci", "k = s = 3, border", "mb1_ic16oc8_id3ih3iw4_k3s3op2x0x1:bias"),
    ("ci", "k = s = 8 in w", "mb1_ic16oc3_id2ih3iw2_k2x1x8s2x1x8:bias"),
    ("ci", "k = s, one position, stride of no account", "mb9_ic16oc10_id1ih1iw1_k4x2x3s2:bias"),
    ("ci", "k = s, K split unevenly", "mb2_ic96oc85_id3ih4iw5_k2s2"),
    ("ci", "k = s, few positions, many channels", "mb2_ic264oc40_id3ih3iw4_k2s2:bias"),
    ("ci", "k = s, lines of 8 bytes too many", "mb2_ic64oc32_id2ih3iw22_k1x2x2s1x2x2"),
    ("ci", "k = s, the same of 4-byte elements", "mb1_ic32oc32_id2ih3iw13_k2s2"),
    ("ci", "k = s, six taps in w", "mb1_ic65oc16_id2ih4iw8_k2x2x6s2x2x6"),
    ("ci", "k = s = 16", "mb1_ic70oc8_id2ih2iw2_k16s16"),
    ("full", "k = s, more tiles of grad_input than blocks", "mb1_ic33oc6_id64ih33iw35_k2s2op1"),
    ("full", "k = s, more tiles than blocks", "mb1_ic32oc8_id48ih48iw40_k2s2:bias"),
    ("full", "k = s, more tiles than warpgroups", "mb1_ic392oc17_id17ih62iw64_k2s2:bias"),
    ("full", "k1, more tiles than warpgroups", "mb2_ic24oc40_id33ih32iw34_k1"),
    ("full", "k1, few channels", "mb2_ic14oc32_id33ih33iw34_k1:bias"),
    ("full", "k1, few channels, odd image", "mb1_ic10oc12_id41ih41iw41_k1:bias"),
    ("full", "k1 s2, more tiles than warpgroups", "mb2_ic24oc33_id33ih32iw34_k1s1x2x2"),
    ("ci", "k = s, cropped by padding", "mb1_ic3oc2_id3ih3iw3_k3s3p1"),
    ("ci", "k1 s2: 7 of 8 outputs are bias", "mb2_ic8oc4_id3ih3iw3_k1s2:bias"),
    ("ci", "k1 s1", "mb2_ic8oc14_id3ih4iw5_k1:bias"),
    ("ci", "padding beyond k - 1", "mb1_ic3oc2_id5ih5iw5_k2s2p3"),
    ("ci", "whole blocks cropped", "mb1_ic1oc1_id3ih3iw4_k8x8x1s8x8x1p8x8x0:bias"),
    ("smoke", "odd outputs", "mb2_ic8oc4_id4ih4iw4_k3s2p1:bias"),
    ("ci", "output padding of one axis", "mb1_ic4oc3_id4ih3iw5_k3s2p1op0x1x0"),
    ("ci", "output padding below dilation only", "mb1_ic4oc3_id3ih3iw3_k3s1d3op2"),
    ("ci", "strides differ", "mb2_ic4oc4_id3ih4iw5_k3x5x7s2x2x1p1x2x3op1x0x0"),
    ("ci", "stride beyond kernel", "mb1_ic4oc4_id3ih3iw3_k2s3op1"),
    ("ci", "k4 s2 p1", "mb2_ic8oc8_id4ih4iw4_k4s2p1"),
    ("ci", "k4 s2 p3", "mb1_ic8oc8_id4ih5iw5_k4s2p3:bias"),
    ("ci", "k3 s1", "mb2_ic8oc16_id5ih5iw6_k3"),
    ("ci", "k3 s1 p1", "mb1_ic16oc16_id4ih5iw6_k3p1:bias"),
    ("ci", "asymmetric kernel", "mb2_ic8oc4_id4ih5iw6_k3x5x7"),
    ("ci", "k7 s1 p3", "mb1_ic4oc4_id7ih6iw5_k7p3"),
    ("smoke", "dilation shares a factor with stride", "mb2_ic4oc8_id4ih5iw5_k3s2p1d2:bias"),
    ("ci", "dilation prime to stride", "mb1_ic4oc3_id4ih4iw4_k3s2p2d3op1"),
    ("ci", "dilation 4, stride 6", "mb1_ic3oc3_id3ih3iw3_k3s6d4p1:bias"),
    ("ci", "dilations differ", "mb1_ic4oc4_id4ih4iw5_k3s1x2x2p2x1x0d2x1x3"),
    ("ci", "k18 s16, grouped", "mb1_ic6oc4_id2ih2iw2_k18s16p1g2"),
    ("full", "k33 s9, depthwise", "mb1_ic3oc3_id4ih4iw5_k33s9p16g3"),
    ("ci", "k17 s5, depthwise", "mb1_ic2oc2_id3ih3iw3_k17s5p8g2"),
    ("full", "k33 s9, depthwise, larger", "mb1_ic3oc3_id12ih12iw12_k33s9p16g3:bias"),
    ("full", "k20 s4, 40 depthwise channels", "mb1_ic40oc40_id8ih8iw8_k20s4p2g40"),
    ("full", "k33 s6, parts of lines", "mb1_ic2oc2_id5ih5iw70_k33s6p3g2"),
    ("full", "long strides, uneven", "mb3_ic6oc12_id7ih7iw7_k21x27x18s4x6x5p2x1x3op1x2x0g3:bias"),
    ("full", "k18 s16, 50 in channels a group", "mb2_ic200oc4_id4ih4iw4_k18s16p1g4:bias"),
    ("ci", "long strides, few positions", "mb2_ic11oc3_id3ih2iw5_k18x10x9s9x11x8p3x1x0:bias"),
    ("ci", "long strides, two groups", "mb1_ic18oc4_id2ih3iw9_k5x4x16s8p0x1x2op3x2x1g2:bias"),
    ("ci", "1170 taps over 60 positions", "mb2_ic4oc6_id2ih3iw5_k13x10x9s4x3x5p2x1x0d1x2x1g2"),
    ("full", "21780 taps over 48 positions", "mb2_ic26oc2_id4ih2iw3_k33x20x33s16p5x1x2g2"),
    ("smoke", "depthwise", "mb2_ic8oc8_id4ih4iw4_k3s2p1op1g8:bias"),
    ("ci", "depthwise, odd outputs", "mb2_ic5oc5_id4ih5iw6_k3s2p1g5:bias"),
    ("ci", "depthwise, k = s = 2 in w", "mb1_ic6oc6_id4ih4iw5_k1x1x2s1x1x2g6"),
    ("ci", "depthwise, two out per group", "mb1_ic4oc8_id4ih4iw4_k3s2p1op1g4"),
    ("ci", "groups = out_channels, two in each", "mb1_ic8oc4_id4ih4iw3_k3s2p1op1g4:bias"),
    ("ci", "four groups, even channels", "mb2_ic32oc32_id3ih4iw4_k3s2p1g4"),
    ("ci", "four groups, odd channels", "mb1_ic12oc20_id3ih4iw5_k3x5x7s2p1x2x3op1g4:bias"),
    ("smoke", "one out channel", "mb2_ic16oc1_id4ih4iw4_k4s2p1:bias"),
    ("ci", "two out channels", "mb1_ic16oc2_id4ih4iw5_k3s2p1op1:bias"),
    ("ci", "three out channels", "mb1_ic8oc3_id4ih4iw4_k3s2p1op1"),
    ("ci", "one in channel", "mb2_ic1oc6_id4ih4iw4_k3s2p1op1"),
    ("ci", "one channel", "mb1_ic1oc1_id5ih5iw5_k3s2p1:bias"),
    ("ci", "three in channels", "mb2_ic3oc8_id4ih4iw4_k3s1p1:bias"),
    ("ci", "one out channel, odd in channels", "mb2_ic17oc1_id9ih9iw9_k4s2p1:bias"),
    ("ci", "one out channel, stride 1", "mb1_ic36oc1_id4ih5iw6_k3p1:bias"),
    ("ci", "two out channels, two boxes", "mb1_ic32oc2_id8ih9iw10_k3s2p1op1:bias"),
    ("ci", "two out channels, odd everything", "mb2_ic33oc2_id7ih5iw9_k3s2p1:bias"),
    ("ci", "one out channel, cut lines", "mb1_ic24oc1_id2ih3iw300_k1x2x5s2"),
    ("ci", "one out channel, three chunks of five steps", "mb1_ic70oc1_id4ih5iw320_k2p1"),
    ("ci", "two out channels, uneven strides", "mb1_ic40oc2_id6ih7iw21_k3x3x2s1x2x1p0x1x1op0x1x0"),
    ("full", "one out channel, more boxes than blocks", "mb2_ic48oc1_id40ih33iw40_k4s2p1:bias"),
    ("full", "one out channel, 64 taps as columns", "mb1_ic72oc1_id33ih38iw35_k4s2p1:bias"),
    ("full", "one out channel, 27 taps as columns", "mb1_ic32oc1_id35ih35iw40_k3s2p1:bias"),
    ("full", "27 taps as columns, cut lines", "mb1_ic24oc1_id12ih12iw300_k3s2"),
    ("ci", "27 taps as columns, stride 1", "mb2_ic40oc1_id26ih27iw32_k3p1:bias"),
    ("full", "two out channels, 27 taps as columns", "mb2_ic24oc2_id27ih26iw32_k3s2p1op1:bias"),
    ("ci", "three in, seventeen out", "mb1_ic3oc17_id3ih4iw33_k3p1:bias"),
    ("ci", "eight channels a group, long rows", "mb1_ic16oc16_id3ih10iw35_k3s2p1g2"),
    ("ci", "depthwise, more than a block of channels", "mb1_ic130oc130_id2ih3iw3_k3s2p1g130"),
    ("ci", "depthwise, dilated", "mb1_ic6oc6_id5ih5iw34_k3p2d2g6:bias"),
    ("ci", "sixteen in and 32 out a group", "mb1_ic64oc128_id5ih6iw7_k3s2p1op1g4"),
    ("ci", "eight channels a group, two boxes", "mb2_ic32oc32_id9ih20iw33_k3s2p1g4"),
    ("ci", "depthwise, one part and some groups", "mb1_ic40oc40_id5ih9iw70_k3s2p1g40"),
    ("ci", "eight channels a group, stride 3", "mb1_ic16oc16_id4ih5iw6_k4s3p1g2:bias"),
    ("ci", "three groups, uneven strides", "mb1_ic18oc6_id4ih5iw6_k2x3x5s1x2x4p0x1x2d1x3x1g3"),
    ("ci", "256 in channels, one out", "mb2_ic256oc1_id5ih6iw7_k4s2p1"),
    ("ci", "very many taps, dilated", "mb1_ic4oc6_id3ih3iw5_k11s2p3d2g2"),
    ("ci", "odd channels", "mb1_ic33oc17_id4ih3iw5_k3s2p1op1:bias"),
    ("ci", "1^3 input", "mb4_ic10oc12_id1ih1iw1_k4s2"),
    ("ci", "1^3 input, 1^3 kernel", "mb3_ic5oc7_id1ih1iw1_k1:bias"),
    ("ci", "1^3 output", "mb2_ic4oc4_id2ih2iw2_k1s2p1"),
    ("ci", "flat volume", "mb1_ic8oc8_id1ih9iw1_k3x3x1s1x2x1p1x1x0"),
    ("ci", "batch of 17", "mb17_ic4oc4_id2ih2iw2_k2s2:bias"),
    ("ci", "k3 s2, 64 to 32 channels", "mb2_ic64oc32_id3ih3iw9_k3s2p1op1:bias"),
    ("ci", "k3, lines of more than 256 inputs", "mb1_ic32oc24_id4ih3iw270_k3"),
    ("ci", "k3, 16 out channels, odd in channels", "mb1_ic33oc16_id4ih9iw40_k3p1"),
    ("ci", "k3x5x5, long sums of few channels", "mb1_ic33oc16_id4ih9iw40_k3x5x5p1x2x2"),
    ("ci", "k3, 40 channels, strips of three tiles", "mb2_ic40oc40_id7ih9iw200_k3p1:bias"),
    ("ci", "k5, pairs of planes", "mb2_ic24oc32_id5ih4iw6_k5p2:bias"),
    ("ci", "k4 s2, 28 out channels", "mb1_ic40oc28_id3ih4iw21_k4s2p1:bias"),
    ("ci", "two tiles of columns, uneven strides", "mb1_ic72oc136_id3ih4iw5_k2x3x3s3x2x1p1:bias"),
    ("ci", "groups of 9 and of 67 channels", "mb1_ic18oc134_id3ih4iw5_k3s2p1op1g2:bias"),
    ("ci", "k1x3x3, tiles of several lines", "mb1_ic16oc24_id1ih64iw64_k1x3x3p0x1x1"),
    ("ci", "k3 s2, odd lines in three boxes", "mb2_ic70oc20_id3ih4iw67_k3s2p1"),
    ("ci", "k3 s2, even and odd paddings", "mb1_ic33oc17_id3ih4iw33_k3s2p0x1x2"),
    ("ci", "k1 s2, odd lines in two boxes", "mb2_ic64oc20_id3ih4iw40_k1s2"),
    ("ci", "k4 s2, lines in three boxes", "mb1_ic40oc9_id3ih4iw72_k4s2p1"),
    ("ci", "k = s = 4, boxes of short lines", "mb2_ic140oc7_id3ih5iw6_k4s4"),
    ("ci", "k = s, a turned weight, two taps in w", "mb4_ic256oc16_id4ih4iw8_k2s2:bias"),
    ("ci", "k = s, the same, four taps", "mb1_ic96oc5_id2ih3iw8_k2x4x4s2x4x4:bias"),
    ("ci", "k = s, rows packed of few positions", "mb2_ic512oc12_id3ih3iw3_k2s2:bias"),
    ("ci", "k = s, boxes of odd lengths", "mb1_ic32oc16_id2ih20iw25_k2s2"),
    ("ci", "k = s, sums of few splits", "mb2_ic320oc80_id4ih4iw8_k2s2"),
    ("ci", "k = s, volumes of 27, images of a cluster", "mb9_ic136oc40_id3ih3iw3_k2s2"),
    ("ci", "1^3 input, taps as channels", "mb72_ic136oc40_id1ih1iw1_k3x2x4s2"),
    ("ci", "sums in parts, of equal items", "mb1_ic320oc256_id4ih4iw3_k3s2p1op1:bias"),
    ("full", "sums in parts, of dilated taps", "mb1_ic264oc192_id4ih5iw6_k3p1d2:bias"),
    ("ci", "batch items as rows", "mb50_ic128oc120_id1ih1iw4_k3p1:bias"),
    ("ci", "batch items as rows, two strips", "mb70_ic128oc128_id1ih1iw6_k2x3x4s1x2x2p0x1x1:bias"),
    ("ci", "k4 s2, both residues of w, 64 channels", "mb2_ic72oc256_id13ih12iw20_k4s2p1:bias"),
    ("ci", "k4 s2, both residues of w, odd lines", "mb2_ic40oc28_id24ih21iw37_k4s2p1:bias"),
    ("ci", "k3 along w, k4, 32 channels", "mb2_ic96oc32_id21ih24iw33_k4x4x3s2p1:bias"),
    ("ci", "k3 s2, 270 planes", "mb3_ic40oc24_id90ih5iw9_k3s2p1op1"),
    ("ci", "k3, long sums of few columns", "mb1_ic256oc16_id1ih5iw2_k3p1:bias"),
    ("ci", "k3, long sums of grad_input", "mb1_ic24oc192_id1ih8iw1_k3p1"),
    ("ci", "k3, long sums that blocks share", "mb1_ic264oc64_id1ih3iw5_k3p1:bias"),
    ("ci", "k7, lines of 64", "mb1_ic32oc16_id1ih2iw64_k7p3"),
    ("ci", "k7, few positions of 8 items", "mb8_ic32oc32_id5ih1iw4_k7p3:bias"),
    ("ci", "k3x5x5, two positions", "mb1_ic32oc40_id1ih2iw1_k3x5x5"),
    ("ci", "taps in one residue of eight, bias filled in", "mb1_ic48oc72_id1ih8iw3_k3s2p1d2:bias"),
    ("ci", "k3, 72 out channels, planes of a line", "mb1_ic64oc72_id4ih1iw33_k3p1"),
    ("ci", "k1, 16 channels", "mb2_ic16oc16_id32ih10iw33_k1:bias"),
    ("full", "more channels than four warpgroups hold", "mb2_ic264oc136_id4ih8iw16_k3p1"),
    ("full", "many channels, few positions", "mb2_ic192oc160_id2ih2iw2_k2s2:bias"),
    ("full", "two tiles of everything", "mb1_ic72oc72_id7ih9iw11_k3s2p1op1:bias"),
    ("full", "taps in one residue of eight", "mb2_ic64oc40_id5ih7iw9_k3s2p1d2"),
    ("full", "three strides, 136 channels", "mb1_ic128oc136_id3ih5iw7_k5x3x2s3x2x4p1"),
    ("full", "long rows", "mb1_ic16oc16_id2ih3iw150_k3s2p1op1"),
    ("full", "k3 s2, odd lines of 280 planes", "mb2_ic72oc24_id140ih7iw33_k3x4x3s2p1x2x1"),
    ("ci", "k3 s2, 540 planes of odd lines", "mb6_ic40oc24_id90ih5iw9_k3s2p1x2x0"),
    ("full", "k3 s2, 660 planes of long lines", "mb6_ic70oc40_id110ih7iw37_k3s2p2op1"),
    ("full", "strides 1 and 2, 280 planes", "mb2_ic32oc32_id140ih4iw10_k2x3x4s1x2x2p0x1x2"),
    ("full", "k1, 70 images", "mb70_ic16oc16_id16ih3iw20_k1:bias"),
    ("full", "k = s, 320 channels, wide patches", "mb2_ic320oc16_id20ih5iw16_k1x2x2s1x2x2"),
    ("full", "k = s, patches of long lines", "mb2_ic72oc16_id8ih12iw100_k1x2x2s1x2x2:bias"),
    ("full", "k = s, 1000 planes of patches", "mb8_ic320oc16_id5ih20iw10_k1x2x2s1x2x2"),
    ("full", "k = s, 264 channels, lines of one", "mb4_ic64oc264_id10ih16iw1_k1x2x2s1x2x2:bias"),
    ("full", "k = s, 16 taps of a plane", "mb1_ic256oc72_id8ih12iw6_k2x4x4s2x4x4:bias"),
    ("full", "k = s = 4, 136 out channels", "mb1_ic96oc136_id8ih5iw4_k4s4"),
    ("full", "k3 s2, fused residues, planes of a line", "mb3_ic32oc136_id32ih1iw16_k3s2p1op1:bias"),
    ("full", "k3 s2, fused residues, a plane", "mb4_ic24oc40_id1ih48iw72_k3s2p1:bias"),
    ("full", "k3 s2, fused residues, streamed weights", "mb8_ic192oc136_id1ih4iw33_k3s2p1op1"),
    ("full", "k3 s2, fused residues, lines of one", "mb70_ic64oc48_id32ih4iw1_k3s2p1"),
    ("full", "k3 s2, fused residues, strips", "mb50_ic96oc24_id4ih1iw128_k3s2p1:bias"),
    ("full", "k3 s2, lines of six gradients", "mb70_ic48oc72_id5ih2iw3_k3s2p1op1"),
    ("full", "k3, 50 items as rows, long sums", "mb50_ic192oc128_id32ih1iw3_k3p1:bias"),
)


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
    return [Case.parse(text, name=name) for level, name, text in _EDGES if level in wanted]
