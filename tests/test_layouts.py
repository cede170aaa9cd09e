# SPDX-License-Identifier: BSD-3-Clause
"""Sizes, strides, dtype and device of fake results against eager's, for all operand layouts."""

from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from convt3d_ext._shapes import suggests_channels_last

CHANNELS_LAST = torch.channels_last_3d


def permuted(tensor):
    """Dense, in neither of the two memory orders."""
    order = list(range(tensor.dim()))
    order[-3:] = order[:-4:-1]
    return tensor.permute(order).contiguous().permute(order)


def sliced(tensor):
    """Every second element of wider rows."""
    return torch.stack([tensor, tensor], -1).flatten(-2)[..., ::2]


def sliced_channels_last(tensor):
    return in_channels_last(torch.cat([tensor, tensor], -1))[..., : tensor.shape[-1]]


def in_channels_last(tensor):
    if tensor.dim() == 4:
        return tensor.unsqueeze(0).contiguous(memory_format=CHANNELS_LAST).squeeze(0)
    return tensor.contiguous(memory_format=CHANNELS_LAST)


LAYOUTS = {
    "contiguous": lambda t: t,
    "channels_last": in_channels_last,
    "permuted": permuted,
    "expanded": lambda t: t[..., :1].expand(t.shape),
    "expanded_channels": lambda t: t.select(-4, 0).unsqueeze(-4).expand(t.shape),
    "sliced": sliced,
    "sliced_channels_last": sliced_channels_last,
}
# input, weight, groups; extents of 1 make the two memory orders the same for some strides
SIZES = {
    "plain": ((2, 4, 2, 3, 2), (4, 3, 2, 2, 2), 1),
    "groups": ((2, 4, 2, 3, 2), (4, 1, 2, 2, 2), 4),
    "batch_0": ((0, 4, 2, 3, 2), (4, 3, 2, 2, 2), 1),
    "batch_1": ((1, 4, 2, 3, 2), (4, 3, 2, 2, 2), 1),
    "in_1": ((2, 1, 2, 3, 2), (1, 3, 2, 2, 2), 1),
    "out_1": ((2, 4, 2, 3, 2), (4, 1, 2, 2, 2), 1),
    "width_1": ((2, 4, 2, 3, 1), (4, 3, 2, 2, 1), 1),
    "points": ((1, 4, 1, 1, 1), (4, 3, 1, 1, 1), 1),
    "one": ((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), 1),
    "unbatched": ((4, 2, 3, 2), (4, 3, 2, 2, 2), 1),
    "unbatched_in_1": ((1, 2, 3, 2), (1, 3, 2, 2, 2), 1),
}
COMBINATIONS = list(product(LAYOUTS, LAYOUTS))


def metadata(tensor):
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def check(op, tensors, *arguments):
    eager = op(*tensors, *arguments)
    meta = op(*(t.to("meta") for t in tensors), *arguments)
    assert metadata(meta) == metadata(eager)
    with FakeTensorMode() as mode:
        fake = op(*(mode.from_tensor(t) for t in tensors), *arguments)
    assert metadata(fake) == metadata(eager)
    assert fake.device == eager.device
    return eager


@pytest.mark.usefixtures("ieee")
@pytest.mark.parametrize("name", SIZES)
def test_forward(name, device):
    input_size, weight_size, groups = SIZES[name]
    forward = partial(torch.ops.convt3d.forward, allow_tf32=False)
    for a, b in COMBINATIONS:
        input = LAYOUTS[a](torch.randn(input_size, device=device))
        weight = LAYOUTS[b](torch.randn(weight_size, device=device))
        result = check(forward, (input, weight), None, 2, 0, 0, groups)
        expected = F.conv_transpose3d(input, weight, None, 2, 0, 0, groups)
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)
        if name == "plain" and {a, b} <= {"contiguous", "channels_last"}:
            assert result.stride() == expected.stride(), (a, b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("direction", ["forward", "grad_input", "grad_weight"])
def test_every_dtype(direction, dtype, device):
    for a, b in product(("contiguous", "channels_last", "sliced"), repeat=2):
        input = torch.randn(2, 4, 2, 3, 2).to(device, dtype)
        weight = torch.randn(4, 3, 2, 2, 2).to(device, dtype)
        output = torch.randn(2, 3, 4, 6, 4).to(device, dtype)
        operands, extent = {
            "forward": ((input, weight), None),
            "grad_input": ((output, weight), [2, 3, 2]),
            "grad_weight": ((output, input), [2, 2, 2]),
        }[direction]
        operands = (LAYOUTS[a](operands[0]), LAYOUTS[b](operands[1]))
        check(getattr(torch.ops.convt3d, direction), operands, extent, 2)


@pytest.mark.parametrize("name", SIZES)
def test_gradients(name, device):
    input_size, weight_size, groups = SIZES[name]
    plain = torch.randn(input_size, device=device), torch.randn(weight_size, device=device)
    output = torch.ops.convt3d.forward(*plain, None, 2, 0, 0, groups)
    for a, b in COMBINATIONS:
        if output.numel() == 0 and "expanded" in a:
            continue  # an empty tensor has no first channel to expand
        grad = LAYOUTS[a](torch.randn_like(output))
        weight, input = LAYOUTS[b](plain[1]), LAYOUTS[b](plain[0])
        parameters = (2, 0, 0, groups)
        check(torch.ops.convt3d.grad_input, (grad, weight), list(input_size[-3:]), *parameters)
        check(torch.ops.convt3d.grad_weight, (grad, input), list(weight_size[-3:]), *parameters)


@pytest.mark.parametrize("name", SIZES)
def test_suggestion_is_atens(name):
    """Through what aten does with it: a result of torch.empty_like takes the suggested format."""
    for size in SIZES[name][:2]:
        for layout in LAYOUTS.values():
            tensor = layout(torch.randn(size))
            batched = tensor.unsqueeze(0) if tensor.dim() == 4 else tensor
            suggested = torch._prims_common.suggest_memory_format(batched)
            assert suggests_channels_last(tensor.shape, tensor.stride()) == (
                suggested == CHANNELS_LAST
            ), (tensor.shape, tensor.stride())


def test_offset_operands(device):
    """Views into the middle of a storage, at an odd element."""
    storage = torch.randn(2 * 4 * 12 + 1, device=device)
    input = storage[1:].view(2, 4, 2, 3, 2)
    weight = torch.randn(97, device=device)[1:].view(4, 3, 2, 2, 2)
    result = check(torch.ops.convt3d.forward, (input, weight), None, 2)
    torch.testing.assert_close(
        result, F.conv_transpose3d(input, weight, None, 2), rtol=1e-3, atol=1e-3
    )
