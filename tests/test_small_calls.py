# SPDX-License-Identifier: BSD-3-Clause
"""The short way: calls on the CPU that torch's own kernels serve go to torch's own function."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import convt3d_ext
from convt3d_ext import functional

SMALL = (2, 4, 3, 4, 5)


def operands(dtype=torch.float32, requires_grad=True, size=SMALL):
    input = torch.randn(size).to(dtype).requires_grad_(requires_grad)
    weight = torch.randn(size[1], 6, 3, 3, 3).to(dtype).requires_grad_(requires_grad)
    return input, weight, torch.randn(6).to(dtype).requires_grad_(requires_grad)


def is_torchs(output):
    return "Convolution" in output.grad_fn.name()


def test_small_calls_are_torchs():
    arguments = operands()
    output = convt3d_ext.conv_transpose3d(*arguments[:2], stride=2)
    assert is_torchs(output)
    expected = torch.ops.convt3d.forward(*arguments[:2], None, [2])
    assert torch.equal(output, expected)
    assert output.stride() == expected.stride()
    assert is_torchs(convt3d_ext.conv_transpose3d(*arguments, stride=2))


def test_others_are_ours():
    input, weight, _ = operands()
    function = convt3d_ext.conv_transpose3d
    channels_last = input.to(memory_format=torch.channels_last_3d)
    assert not is_torchs(function(channels_last, weight, stride=2))
    assert not is_torchs(function(input.detach(), weight, stride=2))  # torch would keep the weight
    assert not is_torchs(function(*operands(torch.bfloat16)[:2], stride=2))
    assert not is_torchs(function(*operands(size=(2, 4, 16, 32, 32))[:2], stride=2))
    assert not is_torchs(function(input, weight, stride=[2, 2, 2]))  # lists are not looked up


def test_what_lies_in_between_sees_the_op():
    input, weight, _ = operands(requires_grad=False)
    convt3d_ext.conv_transpose3d(input, weight, stride=2)  # known from here on

    def function(input, weight):
        return convt3d_ext.conv_transpose3d(input, weight, stride=2)

    graph = make_fx(function)(input, weight).graph
    assert any("convt3d" in str(node.target) for node in graph.nodes)
    with torch.autocast("cpu", torch.bfloat16):
        assert function(input, weight).dtype == torch.bfloat16
    batched = torch.vmap(function, in_dims=(0, None))(input.unsqueeze(1), weight)
    torch.testing.assert_close(batched.squeeze(1), function(input, weight))


def test_errors_are_known_as_calls_are():
    """Where the arguments do not fit, the checker speaks, the second time too."""
    input, weight, _ = operands()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="output padding must be smaller"):
            convt3d_ext.conv_transpose3d(input, weight, stride=2, output_padding=2)
        with pytest.raises(TypeError):
            convt3d_ext.conv_transpose3d(input, weight, stride="2")


def test_what_is_known_stays_bounded(monkeypatch):
    monkeypatch.setattr(functional, "_MOST_KNOWN", 4)
    functional._STAYS_WITH_TORCH.clear()
    for width in range(2, 12):
        convt3d_ext.conv_transpose3d(torch.randn(1, 4, 2, 2, width), torch.randn(4, 2, 2, 2, 2))
        assert 0 < len(functional._STAYS_WITH_TORCH) <= 4
