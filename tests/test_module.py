# SPDX-License-Identifier: BSD-3-Clause
"""The module and the functional API as drop-ins: what torch's own do, ours do."""

import copy
import io
import pickle
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import convt3d_ext
from convt3d_ext import functional

ARGUMENTS = {
    "plain": {"kernel_size": 2},
    "all": {
        "kernel_size": (3, 2, 1),
        "stride": (2, 1, 2),
        "padding": (1, 0, 0),
        "output_padding": (1, 0, 1),
        "groups": 2,
        "bias": False,
        "dilation": (1, 2, 1),
    },
    "no_bias": {"kernel_size": 3, "stride": 2, "bias": False},
}


def pair(name, **more):
    """torch's layer and ours, made by the same random numbers."""
    layers = []
    for cls in (nn.ConvTranspose3d, convt3d_ext.ConvTranspose3d):
        torch.manual_seed(0)
        layers.append(cls(4, 6, **ARGUMENTS[name], **more))
    return layers


@pytest.mark.parametrize("name", ARGUMENTS)
def test_as_torch(name, device):
    theirs, ours = (layer.double().to(device) for layer in pair(name))
    assert repr(ours) == repr(theirs)
    assert isinstance(ours, nn.ConvTranspose3d)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)
    for size in [(2, 4, 3, 3, 2), (4, 3, 3, 2), (0, 4, 3, 3, 2)]:
        input = torch.randn(size, device=device, dtype=torch.float64)
        torch.testing.assert_close(ours(input), theirs(input))


def test_factory_arguments():
    layer = convt3d_ext.ConvTranspose3d(2, 3, 2, device="meta", dtype=torch.float16)
    assert layer.weight.is_meta
    assert layer.weight.dtype == torch.float16
    assert layer(torch.empty(1, 2, 2, 2, 2, device="meta", dtype=torch.float16)).is_meta


@pytest.mark.parametrize("size", [(12, 11, 12), [11, 11, 11], (1, 6, 12, 12, 12)])
def test_output_size(size, device):
    theirs, ours = (layer.to(device) for layer in pair("no_bias"))
    input = torch.randn(1, 4, 5, 5, 5, device=device)
    assert ours(input, output_size=size).shape == theirs(input, output_size=size).shape
    with pytest.raises(ValueError, match="valid sizes range from"):
        ours(input, output_size=(20, 20, 20))


def test_pickle_and_copies(device):
    _, layer = pair("all")
    layer = layer.to(device)
    input = torch.randn(1, 4, 3, 3, 3, device=device)
    saved = io.BytesIO()
    torch.save(layer, saved)
    saved.seek(0)
    copies = [
        pickle.loads(pickle.dumps(layer)),
        copy.deepcopy(layer),
        torch.load(saved, weights_only=False),
    ]
    for other in copies:
        assert type(other) is convt3d_ext.ConvTranspose3d
        assert torch.equal(other(input), layer(input))


def test_lazy():
    layer = convt3d_ext.LazyConvTranspose3d(6, 3, stride=2)
    assert isinstance(layer, nn.LazyConvTranspose3d)
    assert layer(torch.randn(1, 4, 3, 3, 3)).shape == (1, 6, 7, 7, 7)
    assert type(layer) is convt3d_ext.ConvTranspose3d
    assert layer.in_channels == 4


@pytest.mark.parametrize("norm", ["spectral_norm", "weight_norm"])
def test_parametrizations(norm):
    outputs = []
    input = torch.randn(1, 4, 3, 3, 3)
    for layer in pair("plain"):
        torch.manual_seed(1)
        outputs.append(getattr(parametrizations, norm)(layer)(input))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)


def test_hooks_and_functional_call():
    _, layer = pair("plain")
    seen = []
    layer.register_forward_pre_hook(lambda module, inputs: seen.append("before"))
    layer.register_forward_hook(lambda module, inputs, output: seen.append("after"))
    input = torch.randn(1, 4, 2, 2, 2)
    zeros = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    assert not torch.func.functional_call(layer, zeros, (input,)).any()
    assert seen == ["before", "after"]


UNCOVERED = {
    "complex64": lambda t: t.to(torch.complex64),
    "complex_parts": lambda t: torch.complex(t, t.flip(-1)),
    "int64": lambda t: (4 * t).long(),
}


@pytest.mark.parametrize("name", UNCOVERED)
def test_what_is_not_covered_goes_to_torch(name):
    input, weight = UNCOVERED[name](torch.randn(1, 2, 3, 3, 3)), torch.randn(2, 3, 2, 2, 2)
    weight = UNCOVERED[name](weight)
    got = convt3d_ext.conv_transpose3d(input, weight, stride=2)
    assert torch.equal(got, F.conv_transpose3d(input, weight, stride=2))


def test_parameters_of_other_int_types():
    numpy = pytest.importorskip("numpy")
    input, weight = torch.randn(1, 2, 3, 3, 3), torch.randn(2, 3, 2, 2, 2)
    expected = F.conv_transpose3d(input, weight, stride=2)
    for stride in (numpy.int64(2), (numpy.int64(2),) * 3, torch.Size([2, 2, 2])):
        got = convt3d_ext.conv_transpose3d(input, weight, stride=stride)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "value", [2.5, None, "same", (1.0, 1, 1), object()], ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("name", ["stride", "padding", "output_padding", "groups", "dilation"])
def test_type_errors_are_torchs(name, value):
    tensors = torch.randn(1, 2, 3, 3, 3), torch.randn(2, 3, 2, 2, 2)
    with pytest.raises(TypeError) as theirs:
        F.conv_transpose3d(*tensors, **{name: value})
    with pytest.raises(TypeError) as ours:
        convt3d_ext.conv_transpose3d(*tensors, **{name: value})
    assert str(ours.value) == str(theirs.value)


def test_precision_flag():
    """Every way to set it, and the parent settings that "none" falls back to."""
    cudnn, generic = torch.backends.cudnn, torch.backends
    before = cudnn.conv.fp32_precision, cudnn.fp32_precision, generic.fp32_precision
    try:
        cudnn.conv.fp32_precision = "tf32"
        assert functional.allow_tf32()
        cudnn.conv.fp32_precision = "ieee"
        assert not functional.allow_tf32()
        cudnn.conv.fp32_precision = "none"
        cudnn.fp32_precision = generic.fp32_precision = "none"
        assert not functional.allow_tf32()
        cudnn.fp32_precision = "tf32"
        assert functional.allow_tf32()
        cudnn.fp32_precision = "none"
        generic.fp32_precision = "tf32"
        assert functional.allow_tf32()
        cudnn.fp32_precision = "ieee"
        assert not functional.allow_tf32()
    finally:
        cudnn.conv.fp32_precision, cudnn.fp32_precision, generic.fp32_precision = before


class Tagged(torch.Tensor):
    """As MONAI's MetaTensor: a subclass that carries something along."""

    calls: ClassVar[list] = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls.append(func)
        result = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(result, Tagged):
            result.tag = next(t.tag for t in args if isinstance(t, Tagged))
        return result


class ByTable(torch.Tensor):
    """As PhysicsNeMo's ShardTensor: it has its own version of torch's functions."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is F.conv_transpose3d:
            return "handled"
        return NotImplemented


def test_subclass_passes_through():
    input = torch.randn(1, 2, 3, 3, 3).as_subclass(Tagged)
    input.tag = "scan 7"
    weight = torch.randn(2, 3, 2, 2, 2)
    Tagged.calls.clear()
    output = convt3d_ext.conv_transpose3d(input, weight, stride=2)
    assert convt3d_ext.conv_transpose3d in Tagged.calls  # ours ran, under the subclass
    assert type(output) is Tagged
    assert output.tag == "scan 7"
    layer = convt3d_ext.ConvTranspose3d(2, 3, 2)
    assert layer(input).tag == "scan 7"


def test_subclass_that_handles_torchs_function():
    input = torch.randn(1, 2, 3, 3, 3).as_subclass(ByTable)
    assert convt3d_ext.conv_transpose3d(input, torch.randn(2, 3, 2, 2, 2)) == "handled"


def test_wrapper_subclass_goes_to_torch():
    """A subclass that implements aten's ops, as DTensor does, sees aten's op."""
    from torch.testing._internal.two_tensor import TwoTensor

    plain = torch.randn(1, 2, 3, 3, 3)
    weight = torch.randn(2, 3, 2, 2, 2)
    output = convt3d_ext.conv_transpose3d(TwoTensor(plain, plain.clone()), weight, stride=2)
    assert type(output) is TwoTensor
    torch.testing.assert_close(output.a, F.conv_transpose3d(plain, weight, stride=2))


def test_modes_see_the_function():
    from torch.overrides import TorchFunctionMode

    class Record(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.last = func
            return func(*args, **(kwargs or {}))

    tensors = torch.randn(1, 2, 3, 3, 3), torch.randn(2, 3, 2, 2, 2)
    expected = convt3d_ext.conv_transpose3d(*tensors)
    with Record() as mode, torch.device("cpu"):
        output = convt3d_ext.conv_transpose3d(*tensors)
    assert torch.equal(output, expected)
    assert mode.last is convt3d_ext.conv_transpose3d
