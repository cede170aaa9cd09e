# SPDX-License-Identifier: BSD-3-Clause
"""explain(): the problem's description, the verdicts, the numbers; and that what it names runs."""

import doctest
import importlib
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import convt3d_ext
from convt3d_ext import _C
from convt3d_ext._explain import DIRECTIONS, explain_problem
from convt3d_ext.testing.cases import ELEMENT_BYTES, Case

CASES = {
    "mb2_ic4oc3_id3ih4iw5_k2s2": ((2, 4, 3, 4, 5), (4, 3, 2, 2, 2), {"stride": 2}),
    "mb1_ic4oc6_id3ih3iw3_k3x2x1s2x1x1p1x0x0op1x0x0g2": (
        (4, 3, 3, 3),
        (4, 3, 3, 2, 1),
        {
            "stride": (2, 1, 1),
            "padding": [1, 0, 0],
            "output_padding": (1, 0, 0),
            "groups": 2,
        },
    ),
    "mb1_ic8oc8_id4ih4iw4_k3p2d2g8": (
        (1, 8, 4, 4, 4),
        (8, 1, 3, 3, 3),
        {"padding": 2, "dilation": 2, "groups": 8},
    ),
}


def make(name, device, dtype=torch.float32):
    input_size, weight_size, parameters = CASES[name]
    input = torch.randn(input_size, device=device).to(dtype)
    return input, torch.randn(weight_size, device=device).to(dtype), parameters


@pytest.mark.parametrize("name", CASES)
def test_description(name, device):
    input, weight, parameters = make(name, device)
    plan = convt3d_ext.explain(input, weight, allow_tf32=False, **parameters)
    assert plan.description == f"{name}:fp32:ncdhw:forward"
    output = convt3d_ext.conv_transpose3d(input, weight, **parameters)
    assert plan.output_size == tuple(output.shape[-3:])
    assert plan.bytes == 4 * (input.numel() + weight.numel() + output.numel())
    assert plan.useful_flops > 0
    assert plan == explain_problem(plan.description, str(input.device))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_precision(dtype, device):
    input, weight, parameters = make("mb2_ic4oc3_id3ih4iw5_k2s2", device, dtype)
    word = {torch.float64: "fp64", torch.float16: "fp16", torch.bfloat16: "bf16"}.get(dtype)
    for allow in (True, False):
        plan = convt3d_ext.explain(input, weight, allow_tf32=allow, **parameters)
        assert f":{word or ('tf32' if allow else 'fp32')}:" in plan.description


def test_groups_are_never_tf32(device):
    input, weight, parameters = make("mb1_ic8oc8_id4ih4iw4_k3p2d2g8", device)
    assert ":fp32:" in convt3d_ext.explain(input, weight, allow_tf32=True, **parameters).description


def test_layouts_and_bias(device):
    input, weight, parameters = make("mb2_ic4oc3_id3ih4iw5_k2s2", device)
    last = input.contiguous(memory_format=torch.channels_last_3d)
    bias = torch.randn(3, device=device)

    def tail(*tensors, **keywords):
        plan = convt3d_ext.explain(*tensors, allow_tf32=False, **parameters, **keywords)
        return plan.description.split(":fp32:")[1]

    assert tail(last, weight, bias) == "ndhwc+ncdhw+ndhwc:forward:bias"
    assert tail(input[..., :4], weight) == "strided+ncdhw+ncdhw:forward"
    assert tail(last, weight, direction="grad_weight") == "ndhwc:grad_weight"
    assert tail(last, weight, direction="grad_input") == "ndhwc+ncdhw+ndhwc:grad_input"
    assert tail(input, weight, bias, direction="grad_input") == "ncdhw:grad_input"


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", CASES)
def test_what_it_names_is_what_runs(name, direction, device):
    input, weight, parameters = make(name, device)
    output = convt3d_ext.conv_transpose3d(input, weight, **parameters)
    plan = convt3d_ext.explain(input, weight, allow_tf32=False, direction=direction, **parameters)
    arguments = {
        "forward": (input, weight),
        "grad_input": (output, weight, input.shape[-3:]),
        "grad_weight": (output, input, weight.shape[-3:]),
    }[direction]
    before = _C.launch_counts()
    getattr(torch.ops.convt3d, direction)(*arguments, allow_tf32=False, **parameters)
    ran = [key for key, count in _C.launch_counts().items() if count != before.get(key, 0)]
    assert ran == [f"{device.type}.{plan.family}.{direction}"]


def test_candidates(device):
    input, weight, parameters = make("mb2_ic4oc3_id3ih4iw5_k2s2", device)
    plan = convt3d_ext.explain(input, weight, **parameters)
    for candidate in plan.candidates:
        assert candidate.supported == (candidate.reason is None) == (candidate.config is not None)
        assert candidate.family in str(plan)
        assert candidate.supported or candidate.reason in str(plan)
    assert plan.family == next(c.family for c in plan.candidates if c.supported)
    text = str(plan)
    assert text.startswith(plan.description)
    assert f"> {plan.family}" in text
    for part in (f"{plan.useful_flops:.4g}", "workspace", str(plan.bytes), "6 x 8 x 10"):
        assert part in text
    with pytest.raises(FrozenInstanceError):
        plan.family = "other"


def test_fake_and_meta():
    input, weight, parameters = make("mb2_ic4oc3_id3ih4iw5_k2s2", "cpu")
    expected = convt3d_ext.explain(input, weight, **parameters)
    with FakeTensorMode() as mode:
        fake = convt3d_ext.explain(mode.from_tensor(input), mode.from_tensor(weight), **parameters)
    assert fake == expected
    meta = convt3d_ext.explain(input.to("meta"), weight.to("meta"), **parameters)
    assert meta.description == expected.description


def test_numbers_that_are_no_ints():
    """What conv_transpose3d takes for an int; a description has their values."""
    numpy = pytest.importorskip("numpy")
    input, weight, _ = make("mb2_ic4oc3_id3ih4iw5_k2s2", "cpu")
    expected = convt3d_ext.explain(input, weight, stride=2, padding=1)
    for two, one in [(numpy.int64(2), True), (torch.tensor(2), (True,)), ([2], [True] * 3)]:
        assert convt3d_ext.explain(input, weight, stride=two, padding=one) == expected


def test_cuda_without_a_gpu():
    plan = explain_problem("mb2_ic64oc32_id16ih16iw16_k3s2p1op1:bf16", "cuda")
    assert plan.family == "direct" or plan.candidates[-1].family == "direct"
    assert plan.device.startswith("cuda")


def test_errors():
    input, weight, parameters = make("mb2_ic4oc3_id3ih4iw5_k2s2", "cpu")
    with pytest.raises(ValueError, match="direction must be one of forward, grad_input"):
        convt3d_ext.explain(input, weight, direction="backward")
    with pytest.raises(RuntimeError, match="channels"):
        convt3d_ext.explain(input[:, :3], weight, **parameters)
    with pytest.raises(ValueError, match="nonsense"):
        explain_problem("nonsense")
    with pytest.raises(ValueError, match="device must be cpu, cuda or"):
        explain_problem("mb1_ic8oc4_id4ih4iw4_k2s2", "mps")


@pytest.mark.parametrize("name", ["functional", "modules", "_explain"])
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"convt3d_ext.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_packed_input_is_told_and_bounded(precision: str) -> None:
    """Of an H200: NCDHW is packed, and scratch memory is the weight and the input."""
    case = Case.parse(f"mb4_ic32oc32_id64ih64iw64_k3s2p1op1:{precision}")
    plan = _C.plan(str(case), "cuda", 90, 132, 2)
    (config,) = (row[3] for row in plan["candidates"] if row[0] == plan["family"])
    assert "input packed" in config
    size = ELEMENT_BYTES[precision]
    weight, input = (torch.Size(s).numel() * size for s in (case.weight_shape, case.input_shape))
    assert input < plan["workspace_bytes"] <= 2 * weight + input + 256


@pytest.mark.parametrize("device", [("cpu", 0, 0, 2), ("cuda", 90, 132, 0), ("cuda", 80, 108, 0)])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("problem", ["ic16oc16_id4ih4iw4_k3s2p1", "ic24oc9_id8ih7iw7_k2s4p2op1d2"])
def test_an_empty_batch_has_a_plan(problem, precision, direction, device):
    plan = _C.plan(f"mb0_{problem}:{precision}:ndhwc:{direction}", *device)
    assert plan["useful_flops"] == 0
    one = _C.plan(f"mb1_{problem}:{precision}:ndhwc:{direction}", *device)
    assert plan["family"] == one["family"]
