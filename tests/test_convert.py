# SPDX-License-Identifier: BSD-3-Clause
"""convert() and unconvert(): classes change, nothing else does."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import convt3d_ext


class Own(nn.ConvTranspose3d):
    def forward(self, input, output_size=None):
        return super().forward(input, output_size) * 2


def network():
    torch.manual_seed(0)
    shared = nn.ConvTranspose3d(4, 4, 2, stride=2)
    return nn.ModuleDict(
        {
            "first": nn.Sequential(nn.Conv3d(2, 4, 3), shared),
            "second": nn.ModuleList([shared, nn.ConvTranspose3d(4, 2, 3, groups=2)]),
            "own": Own(2, 2, 1),
            "flat": nn.ConvTranspose2d(2, 2, 2),
        }
    )


def classes(model):
    return [type(module) for module in model.modules()]


def test_in_place_and_back():
    model = network()
    layer, before = model["second"][1], classes(model)
    state = copy.deepcopy(model.state_dict())
    parameters = list(model.parameters())
    assert convt3d_ext.convert(model) is model
    assert model["second"][1] is layer
    assert type(layer) is convt3d_ext.ConvTranspose3d
    assert model["first"][1] is model["second"][0]
    assert type(model["own"]) is Own
    assert type(model["flat"]) is nn.ConvTranspose2d
    assert sum(cls is convt3d_ext.ConvTranspose3d for cls in classes(model)) == 2
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert model.state_dict().keys() == state.keys()
    model.load_state_dict(state)
    converted = classes(model)
    assert classes(convt3d_ext.convert(model)) == converted
    assert convt3d_ext.unconvert(model) is model
    assert classes(model) == before


def test_the_model_may_be_the_layer(device):
    layer = nn.ConvTranspose3d(4, 2, 3, stride=2, dtype=torch.float64).to(device)
    input = torch.randn(1, 4, 3, 3, 3, dtype=torch.float64, device=device)
    expected = layer(input)
    assert type(convt3d_ext.convert(layer)) is convt3d_ext.ConvTranspose3d
    torch.testing.assert_close(layer(input), expected, rtol=1e-4, atol=1e-4)


def test_it_runs_our_op():
    layer = convt3d_ext.convert(nn.Sequential(nn.ConvTranspose3d(16, 16, 2, stride=2)))
    input = torch.randn(2, 16, 8, 8, 8)  # large enough for a kernel of ours
    assert "Convolution" not in layer(input).grad_fn.name()
    convt3d_ext.unconvert(layer)
    assert "Convolution" in layer(input).grad_fn.name()


def test_hooks_buffers_and_optimizer_stay():
    layer = nn.ConvTranspose3d(4, 2, 2)
    calls = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    layer.register_buffer("scale", torch.ones(1))
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    convt3d_ext.convert(layer)
    before = layer.weight.detach().clone()
    layer(torch.randn(1, 4, 2, 2, 2)).sum().backward()
    optimizer.step()
    assert calls == [1]
    assert "scale" in layer.state_dict()
    assert not torch.equal(layer.weight, before)


def test_lazy():
    model = convt3d_ext.convert(nn.Sequential(nn.LazyConvTranspose3d(3, 2, stride=2)))
    assert type(model[0]) is convt3d_ext.LazyConvTranspose3d
    assert type(convt3d_ext.unconvert(model)[0]) is nn.LazyConvTranspose3d
    convt3d_ext.convert(model)(torch.randn(1, 5, 2, 2, 2))
    assert type(model[0]) is convt3d_ext.ConvTranspose3d
    assert model[0].in_channels == 5


@pytest.mark.parametrize("norm", ["spectral_norm", "weight_norm"])
def test_parametrized(norm):
    layer = getattr(parametrizations, norm)(nn.ConvTranspose3d(16, 16, 2, stride=2)).eval()
    input = torch.randn(2, 16, 8, 8, 8)  # large enough for a kernel of ours
    expected = layer(input)
    convt3d_ext.convert(layer)
    assert isinstance(layer, convt3d_ext.ConvTranspose3d)
    assert "Convolution" not in layer(input).grad_fn.name()
    torch.testing.assert_close(layer(input), expected, rtol=1e-4, atol=1e-5)
    assert isinstance(copy.deepcopy(layer), convt3d_ext.ConvTranspose3d)
    convt3d_ext.unconvert(layer)
    assert not isinstance(layer, convt3d_ext.ConvTranspose3d)
    torch.testing.assert_close(layer(input), expected)
    convt3d_ext.convert(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is convt3d_ext.ConvTranspose3d


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("norm", ["spectral_norm", "weight_norm"])
def test_norms_by_hook(norm):
    layer = getattr(nn.utils, norm)(nn.ConvTranspose3d(4, 2, 2)).eval()
    input = torch.randn(1, 4, 2, 2, 2)
    expected = layer(input)
    torch.testing.assert_close(convt3d_ext.convert(layer)(input), expected, rtol=1e-4, atol=1e-5)


def test_own_forward_stays():
    """A model that overrides forward of a class or of an instance keeps it."""
    layer = nn.ConvTranspose3d(4, 2, 2)
    layer.forward = lambda input: "mine"
    assert convt3d_ext.convert(layer)(None) == "mine"
    own = Own(4, 2, 2)
    assert type(convt3d_ext.convert(own)) is Own
