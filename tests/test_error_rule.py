# SPDX-License-Identifier: BSD-3-Clause
"""Random data: the error against float64 compared with torch's own, TF32 pinned."""

import math
from dataclasses import replace

import pytest
import torch

from convt3d_ext.testing.cases import DIRECTIONS, PRECISIONS, Case, edges
from convt3d_ext.testing.compare import check_error, check_exact, error_bound, relative_l2
from convt3d_ext.testing.operands import (
    Operands,
    call,
    float32_precision,
    integers,
    normals,
    operand_layouts,
    result_shape,
    shapes,
)
from convt3d_ext.testing.reference import reference
from convt3d_ext.testing.verification import Trial


def rule_holds(case: Case, direction: str, device: torch.device, layouts: tuple[str, ...]) -> None:
    bias = case.bias and direction == "forward"
    trial = Trial(replace(case, direction=direction, bias=bias), device, seed=3)
    for precision in PRECISIONS:
        for layout in layouts:
            for family in trial.families(precision, layout):
                check = trial.error_rule(precision, layout, family)
                assert check.ok, check.message


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", edges("ci"), ids=lambda case: case.problem)
def test_every_family(case: Case, direction: str, device: torch.device) -> None:
    # A result of a few elements has no statistics: one element that rounds the other way decides.
    # grad_weight's has as many whatever the batch is.
    elements = math.prod(result_shape(replace(case, direction=direction, bias=False)))
    if case.useful_flops < 50_000 or (elements < 2048 and direction != "grad_weight"):
        case = replace(case, batch=case.batch * 4, input_size=tuple(2 * e for e in case.input_size))
    rule_holds(case, direction, device, ("ncdhw", "ndhwc"))


@pytest.mark.slow
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "case", [c for c in edges("full") if c not in edges("ci")], ids=lambda case: case.problem
)
def test_every_family_on_larger_cases(case: Case, direction: str, device: torch.device) -> None:
    rule_holds(case, direction, device, ("ncdhw", "ndhwc"))


@pytest.mark.gpu
@pytest.mark.slow
def test_grad_input_of_very_many_taps() -> None:
    """85184 products a result: where they are added one by one, float32's roundings walk."""
    case = Case.parse("mb1_ic6oc64_id24ih24iw24_k11s2p5")
    rule_holds(case, "grad_input", torch.device("cuda"), ("ncdhw", "ndhwc"))


@pytest.mark.gpu
@pytest.mark.parametrize("direction", ["forward", "grad_input"])
@pytest.mark.parametrize("precision", ["tf32", "fp16"])
@pytest.mark.parametrize("channels", [64, 24])
def test_long_sums_of_one_sign(precision: str, channels: int, direction: str) -> None:
    """Tensor cores cut off as they add; sums of one sign show it, other errors average out.

    512 x 27 products in one accumulator are 2.5e-5 too small in TF32 and 1.5e-5 in float16.
    """
    of_input, of_output = (512, channels) if direction == "forward" else (channels, 512)
    text = f"mb1_ic{of_input}oc{of_output}_id4ih8iw16_k3p1:{precision}:ndhwc:{direction}"
    case = Case.parse(text)
    device = torch.device("cuda")
    generator = torch.Generator(device).manual_seed(0)
    # Exact in TF32 and float16, and the sums are in the range of float16.
    first, second = (
        torch.randint(64, 128, shape, generator=generator, device=device) / 2.0**11
        for shape in shapes(case)
    )
    operands = Operands(first, second)
    expected = reference(case, operands)
    families = Trial(case, device).families(precision, "ndhwc")
    chosen = {"cluster_gemm", "halo_gemm", "implicit_gemm"}.intersection(families)
    assert chosen or torch.cuda.get_device_capability()[0] != 9
    for family in chosen:
        got = call(case, operands.to(precision, operand_layouts(case)), family)
        bias = float(((got.double() - expected) / expected).mean())
        assert abs(bias) < (1.2e-5 if precision == "tf32" else 6e-6), (family, bias)


CASE = Case.parse("mb2_ic16oc8_id4ih4iw4_k3s2p1op1")
BLOCKS = Case.parse("mb2_ic16oc8_id4ih4iw4_k2s2")
HEAD = Case.parse("mb2_ic16oc2_id4ih4iw4_k3s2p1op1")
HEAD_BLOCKS = Case.parse("mb2_ic16oc2_id4ih4iw4_k2s2")
WIDE_BLOCKS = Case.parse("mb2_ic64oc32_id4ih4iw4_k2s2")
CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_rule_can_fail(precision: str) -> None:
    """Results that are wrong by little: 12 roundings in every element, or one element of 8192."""
    case = replace(CASE, precision=precision)
    operands = normals(case, True, CPU, seed=0)
    expected = reference(case, operands)
    unit = {"fp64": 2.0**-50, "fp32": 2.0**-21, "tf32": 2.0**-8, "fp16": 2.0**-8, "bf16": 2.0**-5}
    bound = error_bound(case, expected, None if precision == "fp64" else unit[precision] / 64)
    coin = torch.where(torch.rand(expected.shape) < 0.5, -1.0, 1.0).double()
    everywhere = expected * (1 + 12 * unit[precision] * coin)
    once = expected.clone()
    once[1, 7, 3, 3, 3] += 1
    for got in (everywhere, once, expected * torch.nan):
        check = check_error(case, "none", got, expected, None, bound, seed=0)
        assert not check.ok
        assert str(case) in check.message
    assert check_error(case, "none", expected.clone(), expected, None, bound, seed=0).ok


def test_a_broken_torch_is_no_licence() -> None:
    for precision in PRECISIONS:
        case = replace(CASE, precision=precision)
        expected = reference(case, normals(case, True, CPU, seed=0))
        for torch_error in (0.9, torch.nan, torch.inf, 1e35):
            assert error_bound(case, expected, torch_error) < 0.01


def test_exactness_can_fail() -> None:
    operands = integers(CASE, True, CPU, seed=0)
    expected = reference(CASE, operands)
    got = expected.float()
    assert check_exact(CASE, "none", got, expected, seed=7).ok
    got[1, 2, 3, 4, 5] += 1
    check = check_exact(CASE, "none", got, expected, seed=7)
    assert not check.ok
    assert str(CASE) in check.message
    assert "worst at (1, 2, 3, 4, 5)" in check.message
    assert "seed 7" in check.message
    got[0, 0, 0, 0, 0] = torch.nan
    assert "worst at (0, 0, 0, 0, 0)" in check_exact(CASE, "none", got, expected, seed=7).message


def test_relative_l2() -> None:
    a = torch.tensor([[3.0, 4.0]])
    assert relative_l2(a, a) == 0
    assert relative_l2(a, 2 * a) == 0.5
    assert not relative_l2(a * torch.nan, a) <= 1
    assert relative_l2(a, 0 * a) == torch.inf


@pytest.mark.gpu
def test_tf32_is_used_only_where_allowed() -> None:
    """IEEE float32 keeps 24 bits: a TF32 product of these operands is off by 2**-11 or more."""
    case = replace(CASE, precision="fp32")
    operands = normals(case, False, torch.device("cuda"), seed=0)
    expected = reference(case, operands)
    assert relative_l2(call(case, operands), expected) < 2**-20


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "fp64"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("case", [CASE, BLOCKS, HEAD], ids=lambda case: case.problem)
def test_nan_and_inf_propagate(
    case: Case, value: float, direction: str, precision: str, device: torch.device
) -> None:
    """A NaN or Inf of the first operand reaches what it contributes to, and nothing else."""
    case = replace(case, direction=direction, precision=precision)
    operands = normals(case, True, device, seed=0).to(precision)
    clean = call(case, operands)
    operands.first[0, 1, 2, 2, 2] = value
    marked = operands.first.new_zeros(operands.first.shape)
    marked[0, 1, 2, 2, 2] = 1
    ones = torch.ones_like(operands.second)
    reached = call(case, type(operands)(marked, ones)) != 0
    got = call(case, operands)
    assert not got[reached].isfinite().any()
    assert torch.equal(got[~reached], clean[~reached])
    assert reached.any()


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["ncdhw", "ndhwc"])
def test_long_sums_do_not_drift(layout: str) -> None:
    """Tensor cores truncate as they add: sums of positive numbers would end up 3e-6 too small.

    One position an image and 8192 images, so that a family that takes boxes of positions has
    thousands of instructions with something to add, though some blocks share the images.
    """
    case = Case.parse("mb8192_ic512oc256_id1ih1iw1_k2s2g4:fp16:ndhwc:grad_weight")
    device = torch.device("cuda")
    operands = normals(case, True, device, seed=0)
    operands.first = operands.first.abs().clamp(0.5, 1)
    operands.second = operands.second.abs().clamp(0.5, 1)
    expected = reference(case, operands)
    narrow = operands.to("fp16", (layout, layout))
    for family in Trial(case, device).families("fp16", layout):
        got = call(case, narrow, family).double()
        assert ((got - expected) / expected).mean().abs() < 1.5e-6, family


@pytest.mark.parametrize(
    "case", [CASE, BLOCKS, HEAD_BLOCKS, WIDE_BLOCKS], ids=lambda case: case.problem
)
@pytest.mark.parametrize(
    ("of_first", "of_second"),
    [(1e-30, 1.0), (1e-36, 1.0), (1e36, 1.0), (1e30, 1e-30), (1e-30, 1e30)],
)
@pytest.mark.parametrize("direction", ["forward", "grad_input"])
def test_float32_magnitudes(
    case: Case, direction: str, of_first: float, of_second: float, device: torch.device
) -> None:
    """Full float32 keeps its precision at both ends of its range, in every family."""
    case = replace(case, direction=direction)
    operands = normals(case, False, device, seed=0)
    operands.first = operands.first.clamp(-1, 1) * of_first
    operands.second = operands.second.clamp(-1, 1) * of_second
    expected = reference(case, operands)
    for family in Trial(case, device).families("fp32", "ncdhw"):
        assert relative_l2(call(case, operands, family), expected) < 2**-20, family


@pytest.mark.parametrize("direction", ["forward", "grad_input"])
@pytest.mark.parametrize("case", [CASE, BLOCKS, WIDE_BLOCKS], ids=lambda case: case.problem)
def test_float32_infinities_are_torchs(case: Case, direction: str, device: torch.device) -> None:
    """Where torch has an infinity, every family has it too, with its sign, and no new NaN."""
    case = replace(case, direction=direction)
    operands = normals(case, True, device, seed=0)
    operands.first[0, 1, 2, 2, 2] = torch.inf
    operands.first[1, 3] = 3e38
    operands.second.select(DIRECTIONS.index(direction), 3).fill_(4.0)
    expected = reference(case, operands).float()
    for family in Trial(case, device).families("fp32", "ncdhw"):
        got = call(case, operands, family)
        assert torch.equal(got.isnan(), expected.isnan()), family
        assert torch.equal(got[got.isinf()], expected[got.isinf()]), family
        assert torch.equal(got.isinf(), expected.isinf()), family


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["ncdhw", "ndhwc"])
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "problem",
    [
        "mb2_ic72oc256_id13ih12iw20_k4s2p1:forward:bias",
        "mb2_ic40oc28_id24ih21iw37_k4s2p1:forward:bias",
        "mb2_ic96oc32_id21ih24iw33_k4x4x3s2p1:forward:bias",
        "mb2_ic96oc32_id21ih24iw33_k4x4x3s2p1:grad_input",
        "mb6_ic40oc24_id90ih5iw9_k3s2p1x2x0:grad_input",
        "mb2_ic320oc80_id4ih4iw8_k2s2:forward:bias",
        "mb2_ic320oc80_id4ih4iw8_k2s2:grad_input",
        "mb2_ic40oc1_id26ih27iw32_k3p1:forward:bias",
    ],
)
def test_infinities_reach_no_other_results(problem: str, precision: str, layout: str) -> None:
    """In no family does an element that is not finite meet a zero that stands for no tap."""
    device = torch.device("cuda")
    case = replace(Case.parse(problem), precision=precision, layout=layout)
    operands = normals(case, precision != "tf32", device, seed=0)
    operands.first[0, 0, 1, 2, 3] = torch.inf
    operands.first[-1, -1, 3, 3, 4] = torch.nan
    expected = reference(case, operands).float()
    arranged = operands.to(precision, operand_layouts(case))
    for family in Trial(case, device).families(precision, layout):
        with float32_precision(precision):
            got = call(case, arranged, family).float()
        assert torch.equal(got.isnan(), expected.isnan()), family
        assert torch.equal(got.isinf(), expected.isinf()), family
