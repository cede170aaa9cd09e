# SPDX-License-Identifier: BSD-3-Clause
"""csrc/geometry against brute force and against torch's own shapes."""

import itertools
import math
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from native.build import build

# No deadline: two cores may be busy. In CI the same examples every time.
settings.register_profile("convt3d", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("convt3d")

AXES = range(3)
AXIS_NAMES = ("kernel", "stride", "padding", "output_padding", "dilation")
INT64_MAX = 2**63 - 1
BASE = "mb1_ic1oc1_id1ih1iw1_k1"


@pytest.fixture(scope="session")
def native(request):
    return build(request.config.cache.mkdir("native"))


@pytest.fixture(scope="session")
def make(native):
    """Problem from the plain dict that the strategies draw."""

    def make_problem(fields):
        problem = native.Problem()
        for name, value in fields.items():
            setattr(problem, name, value)
        return problem

    return make_problem


@st.composite
def axis_fields(draw):
    stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    fields = {
        "input": draw(st.integers(1, 6)),
        "kernel": draw(st.integers(1, 6)),
        "stride": stride,
        "padding": draw(st.integers(0, 7)),
        "output_padding": draw(st.integers(0, max(stride, dilation) - 1)),
        "dilation": dilation,
    }
    assume(extent(fields) >= 1)
    return fields


@st.composite
def problems(draw):
    axes = [draw(axis_fields()) for _ in AXES]
    groups = draw(st.integers(1, 3))
    fields = {name: [axis[name] for axis in axes] for name in axes[0]}
    fields["batch"] = draw(st.integers(0, 3))
    fields["groups"] = groups
    fields["in_channels"] = groups * draw(st.integers(1, 3))
    fields["out_channels"] = groups * draw(st.integers(1, 3))
    return fields


def extent(axis):
    return (
        (axis["input"] - 1) * axis["stride"]
        - 2 * axis["padding"]
        + axis["dilation"] * (axis["kernel"] - 1)
        + axis["output_padding"]
        + 1
    )


def triples(fields, axis):
    """Every (output, tap, input) of one axis that output + padding = s*input + d*tap allows."""
    found = set()
    outputs = extent({name: fields[name][axis] for name in ("input", *AXIS_NAMES)})
    for tap, i in itertools.product(range(fields["kernel"][axis]), range(fields["input"][axis])):
        output = fields["stride"][axis] * i + fields["dilation"][axis] * tap
        output -= fields["padding"][axis]
        if 0 <= output < outputs:
            found.add((output, tap, i))
    return found


def sizes(view):
    return (view.num_gemms, view.m, view.n, view.k)


@given(problems())
def test_output_is_torchs(make, fields):
    problem = make(fields)
    groups = fields["groups"]
    result = F.conv_transpose3d(
        torch.empty(fields["batch"], fields["in_channels"], *fields["input"], device="meta"),
        torch.empty(
            fields["in_channels"],
            fields["out_channels"] // groups,
            *fields["kernel"],
            device="meta",
        ),
        stride=fields["stride"],
        padding=fields["padding"],
        output_padding=fields["output_padding"],
        groups=groups,
        dilation=fields["dilation"],
    )
    assert tuple(problem.output()) == tuple(result.shape[2:])


@given(problems())
def test_residues_partition_the_outputs(native, make, fields):
    problem = make(fields)
    for axis in AXES:
        classes = native.axis_residues(problem, axis)
        assert [c.residue for c in classes] == list(range(fields["stride"][axis]))
        outputs = [
            c.first_output + fields["stride"][axis] * q
            for c in classes
            for q in range(c.num_outputs)
        ]
        assert sorted(outputs) == list(range(problem.output()[axis]))
        for c in classes:
            if c.num_outputs:
                position = c.first_output + fields["padding"][axis]
                assert position % fields["stride"][axis] == c.residue


@given(problems())
def test_residues_pair_the_taps_and_inputs_of_brute_force(native, make, fields):
    problem = make(fields)
    for axis in AXES:
        found = []
        for c in native.axis_residues(problem, axis):
            for q, j in itertools.product(range(c.num_outputs), range(c.num_taps)):
                tap = c.first_tap + c.tap_step * j
                i = c.first_input + q - c.input_step * j
                assert 0 <= tap < fields["kernel"][axis]
                if 0 <= i < fields["input"][axis]:
                    found.append((c.first_output + fields["stride"][axis] * q, tap, i))
        assert len(found) == len(set(found))
        assert set(found) == triples(fields, axis)


@given(problems())
def test_residues_seen_from_the_inputs_pair_the_same(native, make, fields):
    problem = make(fields)
    for axis in AXES:
        found = []
        for c in native.axis_residues(problem, axis):
            for i, j in itertools.product(range(fields["input"][axis]), range(c.num_taps)):
                q = i - c.first_input + c.input_step * j
                if 0 <= q < c.num_outputs:
                    output = c.first_output + fields["stride"][axis] * q
                    found.append((output, c.first_tap + c.tap_step * j, i))
        assert len(found) == len(set(found))
        assert set(found) == triples(fields, axis)


def test_the_worked_example_of_the_docs(native):
    problem = native.parse_problem("mb1_ic1oc1_id3ih3iw3_k3s2p1op1")
    columns = ("residue", "first_output", "num_outputs", "first_tap", "tap_step", "num_taps")
    columns += ("first_input", "input_step")
    rows = [tuple(getattr(c, name) for name in columns) for c in native.axis_residues(problem, 0)]
    assert rows == [(0, 1, 3, 0, 2, 2, 1, 1), (1, 0, 3, 1, 2, 1, 0, 1)]
    text = (Path(__file__).parents[1] / "docs" / "geometry.md").read_text()
    for row in (columns, *rows):
        assert f"| {' | '.join(map(str, row))} |" in text
    assert problem.output() == [6, 6, 6]
    assert native.useful_flops(problem) == 2 * 8**3


@given(problems())
def test_useful_flops_counts_the_pairs(native, make, fields):
    pairs = math.prod(len(triples(fields, axis)) for axis in AXES)
    channels = fields["in_channels"] * fields["out_channels"] // fields["groups"]
    assert native.useful_flops(make(fields)) == 2 * fields["batch"] * channels * pairs


@given(problems())
def test_gradient_gemms_multiply_every_tap_with_every_input(native, make, fields):
    problem = make(fields)
    inputs = fields["batch"] * math.prod(fields["input"])
    taps = math.prod(fields["kernel"])
    ic, oc = (fields[name] // fields["groups"] for name in ("in_channels", "out_channels"))
    grad_input = native.gemm_view(problem, native.Direction.grad_input)
    assert sizes(grad_input) == (fields["groups"], inputs, ic, oc * taps)
    grad_weight = native.gemm_view(problem, native.Direction.grad_weight)
    assert sizes(grad_weight) == (fields["groups"], ic, oc * taps, inputs)
    for view in (grad_input, grad_weight):
        assert 2 * math.prod(sizes(view)) >= native.useful_flops(problem)


@given(problems())
def test_forward_gemms_are_the_largest_of_the_residues(native, make, fields):
    problem = make(fields)
    view = native.gemm_view(problem, native.Direction.forward)
    num_gemms, positions, taps = fields["groups"], fields["batch"], 1
    for axis in AXES:
        outputs_of, taps_of = {}, {}
        stride = fields["stride"][axis]
        for output in range(problem.output()[axis]):
            residue = (output + fields["padding"][axis]) % stride
            outputs_of[residue] = outputs_of.get(residue, 0) + 1
            taps_of[residue] = sum(
                fields["dilation"][axis] * tap % stride == residue
                for tap in range(fields["kernel"][axis])
            )
        num_gemms *= len(outputs_of)
        positions *= max(outputs_of.values())
        taps *= max(taps_of.values())
    ic, oc = (fields[name] // fields["groups"] for name in ("in_channels", "out_channels"))
    assert sizes(view) == (num_gemms, positions, oc, ic * taps)
    assert 2 * math.prod(sizes(view)) >= native.useful_flops(problem)


@given(problems())
def test_a_printed_problem_reads_back(native, make, fields):
    problem = make(fields)
    assert native.parse_problem(str(problem)) == problem


@given(problems(), st.data())
def test_a_printed_description_reads_back(native, make, fields, data):
    description = native.Description()
    description.problem = make(fields)
    description.direction = data.draw(st.sampled_from(native.Direction))
    description.precision = data.draw(st.sampled_from(native.Precision))
    assume(fields["groups"] == 1 or description.precision != native.Precision.tf32)
    for tensor in ("input", "weight", "output"):
        setattr(description, tensor, data.draw(st.sampled_from(native.Layout)))
    if description.direction == native.Direction.forward:
        description.has_bias = data.draw(st.booleans())
    assert native.parse_description(str(description)) == description


@pytest.mark.parametrize(
    "text",
    [
        "mb2_ic64oc32_id16ih16iw16_k3s2p1op1",
        "mb1_ic8oc8_id5ih6iw7_k3x5x7s1x2x2p0x2x3d1x1x2g4",
        "mb0_ic1oc1_id1ih1iw1_k1",
        "mb2_ic64oc32_id16ih16iw16_k2s2:fp16:ncdhw+ndhwc+strided:grad_weight",
        "mb2_ic64oc32_id16ih16iw16_k2s2:bf16:ndhwc:forward:bias",
    ],
)
def test_canonical_strings_print_as_they_are(native, text):
    assert str(native.parse_description(text)).startswith(text)


def test_grouped_tf32_is_read_as_full_precision(native):
    description = native.parse_description("mb1_ic4oc4_id2ih2iw2_k3g2:tf32")
    assert description.precision == native.Precision.fp32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'mb' is missing"),
        ("mb1_ic1oc1_id1ih1iw1", "'k' is missing"),
        (BASE + "s", "'s' has no number"),
        (BASE + "s-2", "'-2'"),
        (BASE + "s2x2", "'s2x2'"),
        (BASE + "s2s3", "'s3' comes twice"),
        (BASE + "q7", "'q7'"),
        (BASE + "!", "'!'"),
        (BASE + "p99999999999999999999", "'99999999999999999999'"),
        (BASE.replace("k1", "k0"), "k must be positive"),
        (BASE.replace("id1", "id0"), "id, ih and iw must be positive"),
        (BASE.replace("oc1", "oc3") + "g2", "ic must be a positive multiple of g"),
        (BASE.replace("ic1oc1", "ic2oc3") + "g2", "oc must be a positive multiple of g"),
        (BASE + "s0", "s must be positive"),
        (BASE + "d0", "d must be positive"),
        (BASE + "g0", "g must be positive"),
        (BASE + "op1", "op must be smaller than s or d"),
        (BASE + "p1", "the output is empty"),
        (BASE.replace("id1", "id4") + "s4611686018427387904", "the output size overflows"),
        (BASE + ":fp8", "':fp8'"),
        (BASE + ":ncdhw+ndhwc", "':ncdhw+ndhwc'"),
        (BASE + ":backward", "':backward'"),
        (BASE + ":grad_input:bias", "':bias' belongs to forward only"),
    ],
)
def test_a_bad_string_is_refused_by_its_token(native, text, words):
    with pytest.raises(ValueError) as error:
        native.parse_description(text)
    assert words in str(error.value)
    assert f"problem '{text}'" in str(error.value)


@settings(max_examples=500)
@example([INT64_MAX, 1, 1, 0, 0, 1])
@example([2, 1, INT64_MAX, 0, 0, 1])
@example([1, INT64_MAX, 1, 0, 0, 1])
@example([INT64_MAX, INT64_MAX, 1, INT64_MAX, INT64_MAX, 1])
@given(st.lists(st.one_of(st.integers(1, 9), st.integers(1, INT64_MAX)), min_size=6, max_size=6))
def test_output_extent_never_wraps(native, values):
    fields = dict(zip(("input", *AXIS_NAMES), values, strict=True))
    steps = (fields["input"] - 1) * fields["stride"]
    margin = 2 * fields["padding"]
    reach = fields["dilation"] * (fields["kernel"] - 1)
    sums = list(itertools.accumulate([steps, -margin, reach, fields["output_padding"], 1]))
    fits = all(-INT64_MAX - 1 <= value <= INT64_MAX for value in (margin, reach, *sums))
    assert native.output_extent(*values) == (extent(fields) if fits else None)
