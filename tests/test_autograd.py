# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives of the ops and of the functional API: numerically, and against torch's."""

import gc
import weakref
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

import convt3d_ext
from convt3d_ext import _autograd

# Forward mode loads torch's decompositions, some of which are scripted.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

# stride, padding, output_padding, dilation, groups, kernel
GRID = {
    "k1": (1, 0, 0, 1, 1, (1, 1, 1)),
    "k2s2": (2, 0, 0, 1, 1, (2, 2, 2)),
    "k3s2p1op1": (2, 1, 1, 1, 1, (3, 3, 2)),
    "k3s1p1": (1, 1, 0, 1, 1, (3, 2, 3)),
    "k1s2": (2, 0, 1, 1, 1, (1, 1, 1)),
    "aniso": ((1, 2, 3), (0, 1, 1), (0, 1, 2), (2, 1, 1), 1, (2, 3, 3)),
    "dilated": (2, 1, 1, 2, 1, (2, 2, 2)),
    "groups": (2, 1, 0, 1, 2, (2, 3, 2)),
    "depthwise": (2, 0, 0, 1, 4, (2, 2, 3)),
}


def make(name, batched, device):
    stride, padding, output_padding, dilation, groups, kernel = GRID[name]
    torch.manual_seed(0)
    tensor = {"dtype": torch.float64, "device": device, "requires_grad": True}
    sizes = (2, 4, 2, 2, 2) if batched else (4, 2, 2, 3)
    out_per_group = 1 if groups == 4 else 2
    operands = (
        torch.randn(sizes, **tensor),
        torch.randn(4, out_per_group, *kernel, **tensor),
        torch.randn(out_per_group * groups, **tensor),
    )
    return operands, (stride, padding, output_padding, groups, dilation)


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
@pytest.mark.parametrize("name", GRID)
def test_forward_op(name, batched, device):
    (input, weight, bias), parameters = make(name, batched, device)

    def function(*operands):
        return torch.ops.convt3d.forward(*operands, *parameters)

    assert gradcheck(function, (input, weight, bias), check_forward_ad=True)
    assert gradgradcheck(function, (input, weight, bias), check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
@pytest.mark.parametrize("name", GRID)
def test_gradient_ops(name, batched, device):
    (input, weight, _), parameters = make(name, batched, device)
    output = torch.ops.convt3d.forward(input, weight, None, *parameters)
    grad = torch.randn_like(output).requires_grad_()

    def of_input(grad, weight):
        return torch.ops.convt3d.grad_input(grad, weight, input.shape[-3:], *parameters)

    def of_weight(grad, input):
        return torch.ops.convt3d.grad_weight(grad, input, weight.shape[-3:], *parameters)

    for function, second in ((of_input, weight), (of_weight, input)):
        assert gradcheck(function, (grad, second), check_forward_ad=True, fast_mode=True)
        assert gradgradcheck(function, (grad, second), check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("name", GRID)
def test_functional_as_torch(name, device):
    """Value, gradients and second derivatives."""
    results = []
    for function in (F.conv_transpose3d, convt3d_ext.conv_transpose3d):
        operands, (stride, padding, output_padding, groups, dilation) = make(name, True, device)
        output = function(*operands, stride, padding, output_padding, groups, dilation)
        grads = torch.autograd.grad((output**2).sum(), operands, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in grads), operands)
        results.append([output, *grads, *second])
    for ours, torchs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, torchs)


def test_functional_gradcheck(device):
    operands, parameters = make("k2s2", False, device)

    def function(*operands):
        return convt3d_ext.conv_transpose3d(*operands, *parameters)

    assert gradcheck(function, operands, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(function, operands, check_batched_grad=True)


class Calls(TorchDispatchMode):
    """Counts the ops that reach the kernels, and keeps the strides of their first operands."""

    def __enter__(self):
        self.counts = Counter()
        self.strides = []
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "convt3d":
            self.counts[func._opname] += 1
            self.strides.append(args[0].stride())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("raw", [True, False], ids=["op", "functional"])
@pytest.mark.parametrize("wanted", range(8))
def test_only_wanted_gradients_are_computed(wanted, raw, device):
    operands, parameters = make("k2s2", True, device)
    flags = [bool(wanted & 1 << i) for i in range(3)]
    operands = [t.detach().requires_grad_(flag) for t, flag in zip(operands, flags, strict=True)]
    function = torch.ops.convt3d.forward if raw else convt3d_ext.conv_transpose3d
    output = function(*operands, *parameters)
    assert output.requires_grad == any(flags)
    if not any(flags):
        return
    with Calls() as calls:
        output.sum().backward()
    # The function leaves so small a call on the CPU to torch, if neither operand is frozen.
    own = raw or device.type != "cpu" or not (flags[0] and flags[1])
    expected = {"grad_input": own and flags[0], "grad_weight": own and flags[1]}
    assert calls.counts == {name: 1 for name, flag in expected.items() if flag}
    assert [t.grad is not None for t in operands] == flags


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
@pytest.mark.parametrize("name", GRID)
def test_both_gradients_at_once(name, batched, device, monkeypatch):
    """Where nothing looks on and no derivative is wanted; the same bits as those of the two ops."""
    together = 0

    def gradients(*args, **kwargs):
        nonlocal together
        together += 1
        return torch.ops.convt3d._gradients(*args, **kwargs)

    monkeypatch.setattr(_autograd, "_gradients", gradients)
    operands, parameters = make(name, batched, device)
    output = torch.ops.convt3d.forward(*operands, *parameters)
    grad = torch.randn_like(output)
    got = torch.autograd.grad(output, operands, grad, retain_graph=True)
    assert together == 1
    with Calls() as calls:
        expected = torch.autograd.grad(output, operands, grad, retain_graph=True)
    assert calls.counts == {"grad_input": 1, "grad_weight": 1}
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    again = torch.autograd.grad(output, operands, grad, create_graph=True)
    assert all(gradient.requires_grad for gradient in again[:2])
    assert together == 1


def test_gradients_on_meta():
    operands, parameters = make("k2s2", True, torch.device("meta"))
    torch.ops.convt3d.forward(*operands, *parameters).sum().backward()
    assert all(t.grad.shape == t.shape for t in operands)


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_only_needed_operands_are_saved(frozen, device):
    """With a frozen weight the input is not kept for backward, and the other way round."""
    (input, weight, _), parameters = make("k2s2", True, device)
    if frozen == "weight":
        weight = weight.detach()
        kept, dropped = weight, input.clone()
        output = convt3d_ext.conv_transpose3d(dropped, weight, None, *parameters)
    else:
        dropped, kept = weight.clone(), input.detach()
        output = convt3d_ext.conv_transpose3d(kept, dropped, None, *parameters)
    reference = weakref.ref(dropped)
    del dropped
    gc.collect()
    assert reference() is None or not saved(output, reference())
    assert saved(output, kept)


def saved(output, tensor):
    return any(
        t is not None and t.data_ptr() == tensor.data_ptr() for t in output.grad_fn.saved_tensors
    )


def test_in_place_change_of_a_saved_tensor_is_found(device):
    (input, weight, _), parameters = make("k2s2", True, device)
    scaled = input * 1
    output = convt3d_ext.conv_transpose3d(scaled, weight, None, *parameters)
    with torch.no_grad():
        scaled.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_forward_mode_of_the_raw_op(device):
    """A tangent that is not a silent zero."""
    (input, weight, bias), parameters = make("k3s2p1op1", True, device)
    tangents = [torch.randn_like(t) for t in (input, weight, bias)]
    with forward_ad.dual_level():
        duals = [
            forward_ad.make_dual(t.detach(), d)
            for t, d in zip((input, weight, bias), tangents, strict=True)
        ]
        for function in (torch.ops.convt3d.forward, convt3d_ext.conv_transpose3d):
            ours = forward_ad.unpack_dual(function(*duals, *parameters)).tangent
            torchs = forward_ad.unpack_dual(F.conv_transpose3d(*duals, *parameters)).tangent
            torch.testing.assert_close(ours, torchs)
            only_bias = function(input.detach(), weight.detach(), duals[2], *parameters)
            tangent = forward_ad.unpack_dual(only_bias).tangent
            torch.testing.assert_close(tangent, tangents[2].view(-1, 1, 1, 1).expand_as(tangent))


def test_frozen_calls_record_nothing(device):
    operands, parameters = make("k2s2", True, device)
    with torch.no_grad():
        assert not convt3d_ext.conv_transpose3d(*operands, *parameters).requires_grad
    with torch.inference_mode():
        assert convt3d_ext.conv_transpose3d(*operands, *parameters).is_inference()
    frozen = [t.detach() for t in operands]
    assert convt3d_ext.conv_transpose3d(*frozen, *parameters).grad_fn is None


@pytest.mark.parametrize("input_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("weight_format", [torch.contiguous_format, torch.channels_last_3d])
def test_weight_gradient_has_the_memory_format_of_weight(input_format, weight_format, device):
    (input, weight, _), parameters = make("k2s2", True, device)
    input = input.detach().contiguous(memory_format=input_format).requires_grad_()
    weight = weight.detach().contiguous(memory_format=weight_format).requires_grad_()
    output = convt3d_ext.conv_transpose3d(input, weight, None, *parameters)
    grad_input, grad_weight = torch.autograd.grad(output, (input, weight), output.detach())
    assert grad_weight.stride() == weight.stride()
    either = torch.channels_last_3d in (input_format, weight_format)
    expected = torch.channels_last_3d if either else torch.contiguous_format
    assert grad_input.is_contiguous(memory_format=expected)


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
def test_expanded_gradient_is_written_out(batched, format, device):
    operands, parameters = make("k2s2", batched, device)
    if batched:
        operands = [
            t.detach().contiguous(memory_format=format).requires_grad_() if t.dim() == 5 else t
            for t in operands
        ]
    output = torch.ops.convt3d.forward(*operands, *parameters)
    with Calls() as calls:
        gradients = torch.autograd.grad(output.sum(), operands)
    assert calls.strides == [output.stride()] * 2
    expected = torch.autograd.grad(F.conv_transpose3d(*operands, *parameters).sum(), operands)
    torch.testing.assert_close(gradients, expected)


@pytest.mark.gpu
@pytest.mark.parametrize(("allow_tf32", "groups"), [(True, 1), (False, 1), (True, 2)])
def test_slice_of_a_gradient_is_written_out(allow_tf32, groups):
    """In channels_last_3d and TF32, where both gradients want it; groups are not in TF32."""
    weight = torch.randn(16, 8 // groups, 2, 2, 2, device="cuda", requires_grad=True)
    sizes = {"device": "cuda", "memory_format": torch.channels_last_3d}
    input = torch.randn(2, 16, 4, 4, 4).to(**sizes).requires_grad_()
    skip = torch.randn(2, 8, 8, 8, 8).to(**sizes)
    output = torch.ops.convt3d.forward(input, weight, None, 2, groups=groups, allow_tf32=allow_tf32)
    joined = torch.cat((skip, output), 1)
    grad = torch.randn_like(joined)
    with Calls() as calls:
        gradients = torch.autograd.grad(joined, (input, weight), grad, retain_graph=True)
    part = grad[:, 8:]
    written = allow_tf32 and groups == 1
    assert calls.strides == [output.stride() if written else part.stride()] * 2
    expected = torch.autograd.grad(output, (input, weight), part.contiguous())
    torch.testing.assert_close(gradients, expected, rtol=1e-3, atol=1e-3)


def test_expanded_gradients_of_vmap_in_channels_last(device):
    (input, weight, bias), parameters = make("k2s2", True, device)
    input = input.detach().contiguous(memory_format=torch.channels_last_3d)

    def sums(function):
        return torch.func.jacrev(
            lambda x: function(x, weight.detach(), bias.detach(), *parameters).sum((2, 3, 4))
        )

    expected = sums(F.conv_transpose3d)(input)
    torch.testing.assert_close(sums(torch.ops.convt3d.forward)(input), expected)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(reentrant, device):
    from torch.utils.checkpoint import checkpoint

    grads = []
    for use in (True, False):
        operands, parameters = make("k3s2p1op1", True, device)

        def function(*operands, parameters=parameters):
            return convt3d_ext.conv_transpose3d(*operands, *parameters).sin()

        output = (
            checkpoint(function, *operands, use_reentrant=reentrant)
            if use
            else (function(*operands))
        )
        output.sum().backward()
        grads.append([t.grad for t in operands])
    for a, b in zip(*grads, strict=True):
        assert torch.equal(a, b)
