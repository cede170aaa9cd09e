# SPDX-License-Identifier: BSD-3-Clause
"""On integers there is one right answer: every family, precision, layout, direction and device.

Each family is forced on every case that it accepts; the planned call comes last, and what ran must
be what the plan names.
"""

from dataclasses import replace

import pytest
import torch

import convt3d_ext
from convt3d_ext import _C
from convt3d_ext.functional import allow_tf32
from convt3d_ext.testing.cases import DIRECTIONS, PRECISIONS, Case, edges
from convt3d_ext.testing.operands import (
    arrange,
    call,
    function_arguments,
    integers,
    layout_of,
    operand_layouts,
    plan_device,
)
from convt3d_ext.testing.random_cases import random_cases
from convt3d_ext.testing.reference import reference
from convt3d_ext.testing.verification import Trial

# Each tensor its own order: no operand may be read in another one's.
LAYOUTS = ("ncdhw", "ndhwc", "strided", "ndhwc+ncdhw+ndhwc", "ncdhw+ndhwc+strided")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", edges("ci"), ids=lambda case: case.problem)
def test_every_family(case: Case, direction: str, device: torch.device) -> None:
    for bias in {False, case.bias and direction == "forward"}:
        trial = Trial(replace(case, direction=direction, bias=bias), device)
        for precision in PRECISIONS:
            for layout in LAYOUTS:
                for family in (*trial.families(precision, layout), None):
                    before = _C.launch_counts()
                    check = trial.exact(precision, layout, family)
                    assert check.ok, check.message
                    # check.family is the plan's for the tensors as they were.
                    assert ran_since(before) == {f"{device.type}.{check.family}.{direction}": 1}


@pytest.mark.slow
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "case", [c for c in edges("full") if c not in edges("ci")], ids=lambda case: case.problem
)
def test_every_family_on_larger_cases(case: Case, direction: str, device: torch.device) -> None:
    test_every_family(case, direction, device)


@pytest.mark.gpu
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "case", random_cases(40, seed=1, max_gflop=4, max_mb=100), ids=lambda case: case.problem
)
def test_every_family_on_random_cases(case: Case, direction: str) -> None:
    trial = Trial(replace(case, direction=direction, bias=False), torch.device("cuda"))
    for precision in ("bf16", "tf32", "fp32"):
        for layout in ("ncdhw", "ndhwc"):
            for family in trial.families(precision, layout):
                check = trial.exact(precision, layout, family)
                assert check.ok, check.message


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_k_of_a_block_is_longer_than_a_chain(precision: str) -> None:
    """216 instructions: cluster_gemm sums what is behind the first 208 apart."""
    case = Case.parse("mb1_ic256oc128_id28ih28iw18_k3s2p1op1")
    trial = Trial(replace(case, direction="grad_input"), torch.device("cuda"))
    for layout in ("ncdhw", "ndhwc"):
        if "cluster_gemm" in trial.families(precision, layout):
            for check in (trial.exact, trial.error_rule):
                result = check(precision, layout, "cluster_gemm")
                assert result.ok, result.message


def ran_since(before: dict[str, int]) -> dict[str, int]:
    return {
        name: count - before.get(name, 0)
        for name, count in _C.launch_counts().items()
        if count != before.get(name, 0)
    }


@pytest.mark.parametrize("case", edges("smoke"), ids=lambda case: case.problem)
def test_explain_names_what_runs(case: Case, device: torch.device) -> None:
    operands = integers(case, True, device, seed=0).to("fp32")
    arguments = function_arguments(case, operands)
    explanation = convt3d_ext.explain(*arguments)
    before = _C.launch_counts()
    torch.ops.convt3d.forward(*arguments, allow_tf32=allow_tf32())
    assert ran_since(before) == {f"{device.type}.{explanation.family}.forward": 1}


@pytest.mark.parametrize("layout", ["ncdhw", "ndhwc"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("batched", [True, False])
def test_bias_added_after_torch(precision: str, layout: str, batched: bool) -> None:
    """On the CPU, where torch's own kernel runs, and a bias would make it slow."""
    case = Case.parse(
        f"mb{1 + batched}_ic96oc12_id6ih7iw8_k3s2p1:{precision}:{layout}:forward:bias"
    )
    config = _C.plan(str(case), "cpu", 0, 0, 2)["candidates"][-1][3]
    assert "bias added after it" in str(config)
    operands = integers(case, True, torch.device("cpu"), seed=0)
    arranged = operands.to(precision, operand_layouts(case))
    first = arranged.first if batched else arranged.first[0]
    arguments = (case.stride, case.padding, case.output_padding, case.groups, case.dilation)
    got = torch.ops.convt3d._forward_as(
        first, arranged.second, arranged.bias, *arguments, allow_tf32=False, family="aten"
    )
    expected = reference(case, operands)
    assert torch.equal(got.double(), expected if batched else expected[0])
    if batched:
        assert layout_of(got) == layout


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_family_that_refuses_says_why(direction: str, device: torch.device) -> None:
    refused = 0
    for case in edges("ci"):
        case = replace(case, direction=direction, bias=False)
        plan = _C.plan(str(case), *plan_device(device))
        for family, ok, reason, _ in plan["candidates"]:
            if ok:
                continue
            refused += 1
            operands = integers(case, True, device, seed=0)
            layouts = operand_layouts(case)
            operands.first = arrange(operands.first, layouts[0])
            operands.second = arrange(operands.second, layouts[1])
            with pytest.raises((RuntimeError, ValueError)) as raised:
                call(case, operands, family)
            assert reason in str(raised.value)
    assert refused
