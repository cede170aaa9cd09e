# SPDX-License-Identifier: BSD-3-Clause
"""The same call gives the same bits: again, beside other work, and on any number of threads."""

from dataclasses import replace

import pytest
import torch

from convt3d_ext.testing.cases import DIRECTIONS, Case, edges
from convt3d_ext.testing.operands import NARROW, Operands, call, normals, operand_layouts
from convt3d_ext.testing.verification import Trial

CASES = [
    *edges("smoke"),
    Case.parse("mb2_ic24oc40_id6ih7iw9_k3s2p1op1"),
    Case.parse("mb2_ic33oc17_id6ih6iw6_k3p1"),
    Case.parse("mb2_ic32oc32_id6ih6iw6_k3x5x7s2p1x2x3op1g4"),
    Case.parse("mb1_ic8oc9_id20ih24iw31_k3s2p1d2"),
]


def arranged(case: Case, device: torch.device) -> Operands:
    operands = normals(case, case.precision in NARROW, device, seed=0)
    return operands.to(case.precision, operand_layouts(case))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.problem)
def test_repeated(case: Case, direction: str, device: torch.device) -> None:
    bias = case.bias and direction == "forward"
    times = 5 if device.type == "cuda" else 2
    for precision in ("fp32", "tf32", "fp16", "bf16", "fp64"):
        for layout in ("ncdhw", "ndhwc"):
            variant = replace(
                case, direction=direction, precision=precision, layout=layout, bias=bias
            )
            operands = arranged(variant, device)
            for family in Trial(variant, device).families(precision, layout):
                first = call(variant, operands, family)
                for _ in range(times):
                    again = call(variant, operands, family)
                    assert torch.equal(first, again), f"{variant} [{family}]"


# Sums that blocks share, or park, or send to each other; lines and planes that several read.
SHARED_SUMS = [
    "mb2_ic320oc80_id4ih4iw8_k2s2",
    "mb1_ic320oc256_id4ih4iw3_k3s2p1op1",
    "mb50_ic128oc120_id1ih1iw4_k3p1",
    "mb2_ic40oc28_id24ih21iw37_k4s2p1",
    "mb2_ic96oc32_id21ih24iw33_k4x4x3s2p1",
    "mb6_ic40oc24_id90ih5iw9_k3s2p1x2x0",
    "mb2_ic40oc1_id26ih27iw32_k3p1",
    "mb1_ic256oc128_id24ih24iw24_k3p1",
    "mb2_ic200oc200_id8ih8iw8_k3s2p1",
]


@pytest.mark.gpu
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("problem", SHARED_SUMS)
def test_repeated_with_shared_sums(problem: str, direction: str) -> None:
    test_repeated(Case.parse(problem), direction, torch.device("cuda"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.problem)
def test_own_cpu_families_ignore_the_number_of_threads(
    case: Case, direction: str, precision: str
) -> None:
    """Our own CPU kernels divide results, never sums. `aten` is torch's and promises less."""
    variant = replace(case, direction=direction, precision=precision, bias=False)
    device = torch.device("cpu")
    operands = arranged(variant, device)
    families = [f for f in Trial(variant, device).families(precision, "ncdhw") if f != "aten"]
    for family in families:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(call(variant, operands, family))
        assert torch.equal(results[0], results[1]), f"{variant} [{family}]"
        assert torch.equal(results[0], results[2]), f"{variant} [{family}]"


@pytest.mark.gpu
def test_beside_other_work() -> None:
    """Two streams at once: blocks of one call are scheduled in whatever order."""
    case = Case.parse("mb4_ic32oc32_id12ih12iw12_k3s2p1op1")
    device = torch.device("cuda")
    noise = torch.randn(2048, 2048, device=device)
    other = torch.cuda.Stream()
    for direction in DIRECTIONS:
        variant = replace(case, direction=direction)
        operands = arranged(variant, device)
        first = call(variant, operands)
        torch.cuda.synchronize()
        for _ in range(20):
            with torch.cuda.stream(other):
                noise @ noise
            assert torch.equal(first, call(variant, operands)), variant
