# SPDX-License-Identifier: BSD-3-Clause
"""The Python notation, shapes and counts are those of C++; the references agree."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convt3d_ext import _C
from convt3d_ext.testing.cases import DIRECTIONS, LAYOUTS, PRECISIONS, TIERS, Case, edges
from convt3d_ext.testing.operands import arrange, call_torch, integers, layout_of, normals
from convt3d_ext.testing.reference import naive, reference, round_to_tf32
from convt3d_ext.testing.workloads import SUITES, fit_memory, shrink, sources, workloads

CPU = torch.device("cpu")
EXTENT = st.one_of(st.integers(1, 4).map(lambda v: (v, v, v)), st.tuples(*[st.integers(1, 5)] * 3))
MARGIN = st.one_of(st.just((0, 0, 0)), st.tuples(*[st.integers(0, 3)] * 3))


@st.composite
def cases(draw) -> Case | None:
    groups = draw(st.integers(1, 3))
    direction = draw(st.sampled_from(DIRECTIONS))
    layout = draw(
        st.one_of(
            st.sampled_from(LAYOUTS),
            st.tuples(*[st.sampled_from(LAYOUTS)] * 3).map("+".join),
        )
    )
    try:
        return Case(
            batch=draw(st.integers(0, 3)),
            in_channels=groups * draw(st.integers(1, 40)),
            out_channels=groups * draw(st.integers(1, 40)),
            groups=groups,
            input_size=draw(EXTENT),
            kernel_size=draw(EXTENT),
            stride=draw(EXTENT),
            padding=draw(MARGIN),
            output_padding=draw(MARGIN),
            dilation=draw(EXTENT),
            precision=draw(st.sampled_from(PRECISIONS)),
            layout=layout,
            direction=direction,
            bias=draw(st.booleans()) and direction == "forward",
        )
    except ValueError:  # an empty output, or too much output padding
        return None


@given(cases())
@settings(max_examples=400, deadline=None)
def test_python_and_cpp_agree(case):
    if case is None:
        return
    plan = _C.plan(str(case), "cpu", 0, 0, 2)
    assert plan["description"] == str(case)
    assert plan["output"] == case.output_size
    assert plan["useful_flops"] == case.useful_flops
    assert Case.parse(str(case)) == case


def test_all_is_every_layer() -> None:
    suites = ("kernelbench", "real", "synthetic")
    assert workloads("all") == [case for suite in suites for case in workloads(suite)]


@pytest.mark.parametrize("suite", SUITES)
def test_suites_in_both_notations(suite):
    cases = workloads(suite)
    assert cases
    assert all(case.name for case in cases)
    for case in cases:
        for variant in case.variants(PRECISIONS, LAYOUTS):
            plan = _C.plan(str(variant), "cuda", 90, 132, 2)
            assert plan["description"] == str(variant)
            assert plan["useful_flops"] == variant.useful_flops


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mb1",
        "mb1_ic4oc4_id4ih4iw4",  # no kernel
        "mb1_ic4oc4_id4ih4iw4_k3x3",  # two of three axes
        "mb1_ic4oc4_id4ih4iw4_k3k3",
        "mb1_ic4oc4_id4ih4iw4_k3z2",
        "mb1_ic4oc4_id4ih4iw4_k3s0",
        "mb1_ic4oc4_id4ih4iw4_k3s2op2",
        "mb1_ic4oc4_id4ih4iw4_k3g3",
        "mb1_ic4oc4_id0ih4iw4_k3",
        "mb1_ic4oc4_id1ih1iw1_k1p1",
        "mb1_ic4oc4_id4ih4iw4_k3:fp8",
        "mb1_ic4oc4_id4ih4iw4_k3:ncdhw+ndhwc",
        "mb1_ic4oc4_id4ih4iw4_k3:grad_input:bias",
        "mb1_ic4oc4_id4ih4iw4_k3:",
        "mb1_ic4oc4_id4ih4iw4_k-3",
    ],
)
def test_both_refuse(text):
    with pytest.raises(ValueError, match="problem"):
        _C.plan(text, "cpu", 0, 0, 2)
    with pytest.raises(ValueError, match="problem"):
        Case.parse(text)


def test_tiers_nest():
    sizes = [len(edges(tier)) for tier in TIERS]
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    assert set(edges("smoke")) < set(edges("ci")) < set(edges("full"))
    assert len(set(edges("full"))) == len(edges("full"))
    with pytest.raises(ValueError, match="tier"):
        edges("nightly")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_references_agree(direction):
    """The formula as loops, one matmul per tap, and torch: three ways to the same integers."""
    checked = 0
    for case in edges("ci"):
        if case.useful_flops > 20_000:
            continue
        case = replace(case, direction=direction, bias=case.bias and direction == "forward")
        operands = integers(case, True, CPU, seed=1)
        expected = naive(case, operands)
        assert torch.equal(reference(case, operands), expected), case
        assert torch.equal(call_torch(case, operands.to("fp64")), expected), case
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_integers_are_exact_in_every_order(direction):
    """The sum of absolute products stays where the types count exactly."""
    for case in [*edges("ci"), *map(shrink, workloads("real"))]:
        if case.useful_flops > 5e7:  # one in six: nine tenths of the time
            continue
        case = replace(case, direction=direction, bias=False)
        for narrow, limit in ((True, 256), (False, 2**24)):
            operands = integers(case, narrow, CPU, seed=2)
            operands.first.abs_()
            operands.second.abs_()
            assert reference(case, operands).max() <= limit, case
            if case.useful_flops:
                assert operands.first.count_nonzero() > 0


def test_narrow_values_are_in_both_types():
    operands = normals(edges("smoke")[0], True, CPU, seed=0)
    for value in (operands.first, operands.second):
        assert torch.equal(value.half().float(), value)
        assert torch.equal(value.bfloat16().float(), value)


def test_layouts():
    value = torch.randn(2, 3, 4, 5, 6)
    for layout in LAYOUTS:
        arranged = arrange(value, layout)
        assert torch.equal(arranged, value)
        assert layout_of(arranged) == layout


def test_round_to_tf32():
    value = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-20, -1.5])
    expected = torch.tensor([1.0, 1 + 2**-10, 1.0, 1 + 2**-9, 1 + 2**-10, -1.5])
    assert torch.equal(round_to_tf32(value), expected)


def test_shrink_keeps_the_kind_of_problem():
    for suite in ("kernelbench", "real", "synthetic"):
        assert len(sources(suite)) == len(workloads(suite))
        for case in workloads(suite):
            small = shrink(case)
            assert small.elements <= case.elements
            for name in ("kernel_size", "stride", "padding", "output_padding", "dilation"):
                assert getattr(small, name) == getattr(case, name)
            assert (small.groups > 1) == (case.groups > 1)
            for before, after in zip(case.input_size, small.input_size, strict=True):
                assert before % 2 == after % 2


def test_fit_memory():
    case = workloads("kernelbench")[0]
    assert fit_memory(case, 1e15) == case
    assert fit_memory(case, 1e9).batch < case.batch
    assert fit_memory(case, 0).batch == 1
