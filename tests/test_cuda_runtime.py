# SPDX-License-Identifier: BSD-3-Clause
"""A call as CUDA sees it: streams, graphs, devices, synchronisation, memory."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
import torch
from torch import Tensor

import convt3d_ext
from convt3d_ext import _C
from convt3d_ext.testing.cases import DIRECTIONS, ELEMENT_BYTES, Case
from convt3d_ext.testing.operands import (
    Operands,
    call,
    integers,
    operand_layouts,
    plan_device,
    result_shape,
)
from convt3d_ext.testing.reference import reference
from convt3d_ext.testing.verification import Trial

pytestmark = pytest.mark.gpu

CASE = Case.parse("mb2_ic16oc8_id6ih7iw8_k3s2p1op1")


def prepared(direction: str, precision: str = "fp32") -> tuple[Case, Operands, Tensor]:
    case = replace(CASE, direction=direction, precision=precision)
    operands = integers(case, True, torch.device("cuda"), seed=0)
    return case, operands.to(precision), reference(case, operands)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_graph_capture(direction: str, precision: str) -> None:
    """Captured once, replayed on other values: no host work hides in a call."""
    case, operands, expected = prepared(direction, precision)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call(case, operands)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = call(case, operands)
    graph.replay()
    assert torch.equal(got.double(), expected)
    operands.first.mul_(-1)
    graph.replay()
    assert torch.equal(got.double(), -expected)


def test_graph_of_a_training_step() -> None:
    module = convt3d_ext.ConvTranspose3d(8, 4, 3, stride=2, padding=1, device="cuda")
    x = torch.randn(2, 8, 4, 4, 4, device="cuda", requires_grad=True)

    def step() -> None:
        module.zero_grad(set_to_none=False)
        if x.grad is not None:
            x.grad.zero_()
        module(x).square().sum().backward()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    graph.replay()
    assert module.weight.grad is not None
    captured = module.weight.grad.clone()
    step()
    assert torch.equal(module.weight.grad, captured)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_runs_on_the_current_stream(direction: str) -> None:
    """The operand is only right after a long wait on the same stream; another stream sees NaN."""
    case, operands, expected = prepared(direction)
    right = operands.first.clone()
    operands.first.fill_(torch.nan)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)  # about 50 ms
        operands.first.copy_(right)
        got = call(case, operands)
    stream.synchronize()
    assert torch.equal(got.double(), expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_in_a_new_thread(direction: str, precision: str) -> None:
    """The first call to CUDA of a thread, as backward's may be: nothing has bound a device yet."""
    channels = {"in_channels": 64, "out_channels": 64, "direction": direction}
    case = replace(CASE, precision=precision, **channels)
    operands = integers(case, True, torch.device("cuda"), seed=0).to(precision)
    expected = call(case, operands).clone()  # and memory is left, so that nobody asks for any
    torch.cuda.synchronize()
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(call, case, operands).result()
    assert torch.equal(got, expected)


# Of one kind each, so that both are launches of one kernel, with shared memory of two sizes.
SIZES = [
    ("mb2_ic64oc32_id2ih4iw16_k2s2", "mb2_ic320oc80_id4ih4iw8_k2s2"),
    ("mb1_ic16oc2_id4ih4iw5_k3s2p1op1", "mb1_ic64oc2_id8ih9iw12_k3s2p1op1"),
    ("mb1_ic16oc16_id3ih10iw35_k3s2p1g2", "mb2_ic32oc32_id9ih20iw33_k3s2p1g4"),
    ("mb2_ic40oc24_id3ih4iw33_k3s2p1", "mb1_ic72oc72_id5ih6iw40_k3s2p1"),
]


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("problems", SIZES, ids=lambda problems: problems[1])
def test_two_threads(problems: tuple[str, str], direction: str, precision: str) -> None:
    """Two sizes of every family at once: what a launch says of its kernel must suit the other."""
    device = torch.device("cuda")
    cases = [Case.parse(f"{problem}:{precision}:{direction}") for problem in problems]
    operands = [integers(case, True, device, seed=0).to(case.precision) for case in cases]
    arguments = list(zip(cases, operands, strict=True))
    small, large = (Trial(case, device).families(case.precision, "ncdhw") for case in cases)
    of_both = set(small).intersection(large)
    assert len(of_both) > 1, "a family beside direct"
    for family in of_both:
        expected = [call(*of, family) for of in arguments]
        start = Barrier(len(cases))
        with ThreadPoolExecutor(len(cases)) as pool:
            futures = [pool.submit(many_calls, start, *of, family) for of in arguments]
        for future, wanted in zip(futures, expected, strict=True):
            assert torch.equal(future.result(), wanted), family


def many_calls(start: Barrier, case: Case, operands: Operands, family: str) -> Tensor:
    start.wait()
    for _ in range(150):
        got = call(case, operands, family)
    return got


def test_every_device() -> None:
    """On each GPU while the first is current; the current device stays what it was."""
    torch.cuda.set_device(0)
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        for direction in DIRECTIONS:
            case, operands, expected = prepared(direction)
            there = Operands(operands.first.to(device), operands.second.to(device))
            got = call(case, there)
            assert got.device == device
            assert torch.equal(got.double().cpu(), expected.cpu())
            assert torch.cuda.current_device() == 0


def set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode(mode)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_does_not_synchronise(direction: str) -> None:
    """A call returns while the GPU is still busy with what came before it."""
    case, operands, _ = prepared(direction)
    call(case, operands)
    torch.cuda.synchronize()
    mode = torch.cuda.get_sync_debug_mode()
    set_sync_debug_mode("error")
    try:
        torch.cuda._sleep(400_000_000)  # about 200 ms
        done = torch.cuda.Event()
        call(case, operands)
        done.record()
        assert not done.query()
    finally:
        set_sync_debug_mode(mode)
        torch.cuda.synchronize()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_memory_is_the_result_and_the_workspace(direction: str, precision: str) -> None:
    case = Case.parse(f"mb2_ic32oc32_id24ih24iw24_k3s2p1op1:{precision}:{direction}")
    operands = integers(case, True, torch.device("cuda"), seed=0).to(precision)
    plan = _C.plan(str(case), *plan_device(torch.device("cuda")))
    call(case, operands)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    got = call(case, operands)
    peak = torch.cuda.max_memory_allocated() - before
    result_bytes = got.numel() * ELEMENT_BYTES[precision]
    # The allocator rounds a block to 512 bytes, one above 1 MiB to 2 MiB.
    assert peak <= result_bytes + plan["workspace_bytes"] + 2 * 2**21
    assert torch.cuda.memory_allocated() - before <= result_bytes + 2**21


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_workspace_is_bounded(direction: str) -> None:
    """float32 too large to be packed: scratch memory grows with the weight and the machine."""
    device = plan_device(torch.device("cuda"))
    small = Case.parse(f"mb1_ic32oc32_id16ih16iw16_k3s2p1op1:{direction}")
    large = replace(small, batch=16, input_size=(128, 128, 128))
    of_small, of_large = (_C.plan(str(c), *device)["workspace_bytes"] for c in (small, large))
    weight_bytes = 4 * torch.Size(small.weight_shape).numel()
    multiprocessors = device[2]
    assert of_small <= of_large <= 8 * multiprocessors * weight_bytes
    assert of_large < 4 * torch.Size(large.output_shape).numel()


def test_a_device_that_does_not_match_is_refused() -> None:
    case, operands, _ = prepared("forward")
    operands.second = operands.second.cpu()
    with pytest.raises(RuntimeError, match="device"):
        call(case, operands)


def test_layouts_of_results() -> None:
    for layout in ("ncdhw", "ndhwc"):
        for direction in DIRECTIONS:
            case = replace(CASE, direction=direction, layout=layout)
            operands = integers(case, True, torch.device("cuda"), seed=0)
            got = call(case, operands.to("bf16", operand_layouts(case)))
            assert got.shape == result_shape(case)
            wanted = torch.channels_last_3d if layout == "ndhwc" else torch.contiguous_format
            assert got.is_contiguous(memory_format=wanted)
