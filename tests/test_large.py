# SPDX-License-Identifier: BSD-3-Clause
"""More than 2**31 elements in a tensor: every offset must be 64 bits wide.

A wrong offset shows at the end of the tensors, so results are checked at the first and last
positions, on both sides of 2**31, and at random ones, each against its own products in float64.
"""

import itertools

import pytest
import torch
from torch import Tensor

from convt3d_ext.testing.cases import Case
from convt3d_ext.testing.operands import Operands, arrange, call

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.large_memory]

# Output (and grad_output) of 2.2e9 elements: beyond 2**31 in batch, in channels, in rows.
LARGE_OUTPUT = (
    "mb3_ic4oc2_id358ih512iw1000_k1x2x2s1x2x2",
    "mb1_ic2oc17_id252ih256iw255_k3s2p1op1",
    "mb1_ic1oc1_id1300ih645iw645_k3x2x2s1x2x2p1x0x0",
)
# Input of 2.2e9 elements, output smaller.
LARGE_INPUT = ("mb2_ic33oc1_id256ih360iw366_k1p0", "mb1_ic70oc1_id320ih310iw320_k2p1")


def sparse_or_small(shape: tuple[int, ...], layout: str) -> Tensor:
    """Integers from -3 to 3 as bfloat16, drawn in pieces: no float32 copy of the whole."""
    value = torch.empty(shape, dtype=torch.bfloat16, device="cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    for piece in value.view(-1).split(2**28):
        piece.copy_(torch.randint(-3, 4, piece.shape, generator=generator, device="cuda"))
    return arrange(value, layout)


def positions(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Corners of the memory, both sides of 2**31, and random ones."""
    count = 1
    for extent in shape:
        count *= extent
    flat = [0, 1, count - 1, count - 2, count // 2]
    flat += [n for n in (2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32) if n < count]
    generator = torch.Generator().manual_seed(0)
    flat += torch.randint(0, count, (200,), generator=generator).tolist()
    unraveled = torch.unravel_index(torch.tensor(flat), shape)
    return list(zip(*(axis.tolist() for axis in unraveled), strict=True))


def forward_at(case: Case, x: Tensor, weight: Tensor, position: tuple[int, ...]) -> float:
    n, m, *o = position
    total = 0.0
    for tap in itertools.product(*map(range, case.kernel_size)):
        i = []
        for a in range(3):
            steps = o[a] + case.padding[a] - case.dilation[a] * tap[a]
            if steps % case.stride[a] == 0 and 0 <= steps // case.stride[a] < case.input_size[a]:
                i.append(steps // case.stride[a])
        if len(i) == 3:
            column = weight[:, m, tap[0], tap[1], tap[2]].double()
            total += float((x[n, :, i[0], i[1], i[2]].double() * column).sum())
    return total


def grad_input_at(case: Case, grad: Tensor, weight: Tensor, position: tuple[int, ...]) -> float:
    n, c, *i = position
    total = 0.0
    for tap in itertools.product(*map(range, case.kernel_size)):
        o = [case.stride[a] * i[a] + case.dilation[a] * tap[a] - case.padding[a] for a in range(3)]
        if all(0 <= o[a] < case.output_size[a] for a in range(3)):
            row = weight[c, :, tap[0], tap[1], tap[2]].double()
            total += float((grad[n, :, o[0], o[1], o[2]].double() * row).sum())
    return total


def close(got: float, expected: float) -> bool:
    """One rounding to bfloat16 of an exact sum."""
    return got == torch.tensor(expected, dtype=torch.float64).bfloat16().item()


@pytest.fixture(autouse=True)
def _free_memory():
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GiB of free device memory")
    yield
    torch.cuda.empty_cache()


@pytest.mark.parametrize("layout", ["ncdhw", "ndhwc"])
@pytest.mark.parametrize("problem", [*LARGE_OUTPUT, *LARGE_INPUT])
def test_forward(problem: str, layout: str) -> None:
    case = Case.parse(f"{problem}:bf16:{layout}")
    assert max(sizes(case)) > 2**31
    x = sparse_or_small(case.input_shape, layout)
    weight = sparse_or_small(case.weight_shape, "ncdhw")
    got = call(case, Operands(x, weight))
    for position in positions(case.output_shape):
        expected = forward_at(case, x, weight, position)
        assert close(float(got[position]), expected), f"{case} at {position}"


@pytest.mark.parametrize("layout", ["ncdhw", "ndhwc"])
@pytest.mark.parametrize("problem", [*LARGE_OUTPUT, *LARGE_INPUT])
def test_grad_input(problem: str, layout: str) -> None:
    case = Case.parse(f"{problem}:bf16:{layout}:grad_input")
    grad = sparse_or_small(case.output_shape, layout)
    weight = sparse_or_small(case.weight_shape, "ncdhw")
    got = call(case, Operands(grad, weight))
    for position in positions(case.input_shape):
        expected = grad_input_at(case, grad, weight, position)
        assert close(float(got[position]), expected), f"{case} at {position}"


@pytest.mark.parametrize("layout", ["ncdhw", "ndhwc"])
@pytest.mark.parametrize("problem", [*LARGE_OUTPUT, *LARGE_INPUT])
def test_grad_weight(problem: str, layout: str) -> None:
    """A gradient that is 1 at a few outputs of one channel: the weight gradient counts inputs."""
    case = Case.parse(f"{problem}:bf16:{layout}:grad_weight")
    x = sparse_or_small(case.input_shape, layout)
    grad = torch.zeros(case.output_shape, dtype=torch.bfloat16, device="cuda")
    chosen = list(dict.fromkeys(positions(case.output_shape)))[:40]
    for position in chosen:
        grad[position] = 1
    grad = arrange(grad, layout)
    expected = torch.zeros(case.weight_shape, dtype=torch.float64, device="cuda")
    for (n, m, *o), tap in itertools.product(
        chosen, itertools.product(*map(range, case.kernel_size))
    ):
        steps = [o[a] + case.padding[a] - case.dilation[a] * tap[a] for a in range(3)]
        i = [steps[a] // case.stride[a] for a in range(3)]
        hits = all(
            steps[a] % case.stride[a] == 0 and 0 <= i[a] < case.input_size[a] for a in range(3)
        )
        if hits:
            expected[:, m, tap[0], tap[1], tap[2]] += x[n, :, i[0], i[1], i[2]].double()
    got = call(case, Operands(grad, x))
    assert torch.equal(got.double(), expected), case


def sizes(case: Case) -> list[int]:
    return [
        torch.Size(shape).numel()
        for shape in (case.input_shape, case.weight_shape, case.output_shape)
    ]
