# SPDX-License-Identifier: BSD-3-Clause
"""torch.func: transforms and their compositions, on the raw op and on the functional API."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)

import convt3d_ext

pytestmark = [
    # Forward mode loads torch's decompositions, some of which are scripted.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
    # torch.func.linearize traces into a graph that refers to its own constants.
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
]

FUNCTIONS = {
    "op": torch.ops.convt3d.forward,
    "functional": convt3d_ext.conv_transpose3d,
}
SLICES = 3


@pytest.fixture(params=FUNCTIONS)
def ours(request):
    return FUNCTIONS[request.param]


@pytest.fixture
def operands(device):
    torch.manual_seed(0)
    tensor = {"dtype": torch.float64, "device": device}
    return (
        torch.randn(2, 2, 2, 3, 2, **tensor),
        torch.randn(2, 3, 2, 2, 3, **tensor),
        torch.randn(3, **tensor),
    )


def call(function):
    return lambda input, weight, bias=None: function(input, weight, bias, 2, 1, 1)


def loss(function):
    return lambda *operands: (call(function)(*operands) ** 3).sum()


ALL = (0, 1, 2)
TRANSFORMS = {
    "grad": lambda f, x: grad(loss(f), ALL)(*x),
    "vjp": lambda f, x: vjp(call(f), *x)[1](torch.ones_like(call(f)(*x))),
    "jvp": lambda f, x: jvp(call(f), x, tuple(t.cos() for t in x)),
    "jvp_bias": lambda f, x: jvp(lambda b: call(f)(x[0], x[1], b), x[2:], x[2:]),
    "linearize": lambda f, x: linearize(call(f), *x)[1](*x),
    "jacrev": lambda f, x: jacrev(call(f), ALL)(*x),
    "jacfwd": lambda f, x: jacfwd(call(f), ALL)(*x),
    "hessian": lambda f, x: hessian(loss(f), (1, 2))(*x),
    "hessian_reverse": lambda f, x: jacrev(jacrev(loss(f), (1, 2)), (1, 2))(*x),
    "hessian_forward": lambda f, x: jacfwd(jacfwd(loss(f), (0, 2)), (0, 2))(*x),
    "grad_of_grad": lambda f, x: grad(
        lambda a: grad(lambda b: loss(f)(a, b, x[2]))(x[1]).pow(2).sum()
    )(x[0]),
    "jvp_of_grad": lambda f, x: jvp(grad(lambda w: loss(f)(x[0], w, x[2])), x[1:2], x[1:2]),
    "grad_of_jvp": lambda f, x: grad(
        lambda w: jvp(lambda v: loss(f)(x[0], v, x[2]), (w,), (w.sin(),))[1]
    )(x[1]),
    "jvp_of_jvp": lambda f, x: jvp(
        lambda w: jvp(lambda v: loss(f)(x[0], v), (w,), (w.sin(),))[1], x[1:2], x[1:2]
    ),
    "vmap_of_grad": lambda f, x: vmap(grad(loss(f), 1), (0, None, None))(*x),
    "vmap_of_jvp": lambda f, x: vmap(lambda s: jvp(lambda w: loss(f)(s, w), x[1:2], x[1:2])[1])(
        x[0]
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_as_torch(name, ours, operands):
    torch.testing.assert_close(
        TRANSFORMS[name](ours, operands), TRANSFORMS[name](F.conv_transpose3d, operands)
    )


def test_no_grad_is_kept_inside(ours, operands):
    def frozen(weight):
        with torch.no_grad():
            constant = call(ours)(operands[0], weight)
        return (constant * weight.sum()).sum()

    value = call(ours)(*operands[:2]).sum()
    expected = value * torch.ones_like(operands[1])
    torch.testing.assert_close(grad(frozen)(operands[1]), expected)


def test_backward_after_the_transform(ours, operands):
    """What vjp saved outlives its transform, and is differentiable outside."""

    def second(function):
        cotangent = torch.ones_like(call(F.conv_transpose3d)(*operands)).requires_grad_()
        _, pullback = vjp(lambda w: call(function)(operands[0], w), operands[1])
        return torch.autograd.grad(pullback(cotangent)[0].pow(2).sum(), cotangent)[0]

    torch.testing.assert_close(second(ours), second(F.conv_transpose3d))


def mapped(tensor, dim):
    """Slices along dim, or the tensor as it is."""
    return tensor if dim is None else torch.stack([tensor * (i + 1) for i in range(SLICES)], dim)


def slices(tensor, dim, index):
    return tensor if dim is None else tensor.select(dim, index)


def check_vmap(function, tensors, dims):
    arguments = [mapped(t, d) for t, d in zip(tensors, dims, strict=True)]
    got = vmap(function, dims)(*arguments)
    expected = torch.stack(
        [
            function(*(slices(t, d, i) for t, d in zip(arguments, dims, strict=True)))
            for i in range(SLICES)
        ]
    )
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "dims", [d for d in product((None, 0, -1), repeat=3) if any(x is not None for x in d)], ids=str
)
def test_vmap_forward(dims, groups, batched, ours, device):
    torch.manual_seed(0)
    tensor = {"dtype": torch.float64, "device": device}
    input = torch.randn((2, 4, 2, 3, 2)[not batched :], **tensor)
    weight, bias = torch.randn(4, 3, 2, 3, 1, **tensor), torch.randn(3 * groups, **tensor)
    check_vmap(lambda x, w, b: ours(x, w, b, (2, 1, 2), 1, 0, groups), (input, weight, bias), dims)
    if dims[2] is None:
        check_vmap(lambda x, w: ours(x, w, None, 2, 0, 1, groups), (input, weight), dims[:2])


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0), (1, -1), (-1, None)], ids=str)
def test_vmap_gradients(dims, groups, batched, device):
    torch.manual_seed(0)
    tensor = {"dtype": torch.float64, "device": device}
    input = torch.randn((2, 4, 2, 3, 2)[not batched :], **tensor)
    weight = torch.randn(4, 3, 2, 3, 1, **tensor)
    parameters = ((2, 1, 2), 1, 0, groups)
    gradient = torch.randn_like(torch.ops.convt3d.forward(input, weight, None, *parameters))
    extents, kernel = input.shape[-3:], weight.shape[-3:]
    ops = torch.ops.convt3d
    check_vmap(lambda g, w: ops.grad_input(g, w, extents, *parameters), (gradient, weight), dims)
    check_vmap(lambda g, x: ops.grad_weight(g, x, kernel, *parameters), (gradient, input), dims)


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0), (1, -1)], ids=str)
def test_vmap_of_nothing(dims, ours, operands, device):
    """No slices: the result has their sizes and no elements, in every direction."""
    input, weight, _ = operands
    result = call(ours)(input, weight)

    def none(tensor, dim):
        return tensor if dim is None else tensor.unsqueeze(dim).narrow(dim, 0, 0)

    function = lambda x, w: (call(ours)(x, w), *grad(loss(ours), (0, 1))(x, w))  # noqa: E731
    got = vmap(function, dims)(none(input, dims[0]), none(weight, dims[1]))
    assert [t.shape for t in got] == [(0, *t.shape) for t in (result, input, weight)]


def test_nested_vmap(ours, operands):
    input, weight, _ = operands
    stacked = mapped(mapped(input, 0), 0)
    got = vmap(vmap(call(ours), (0, None)), (0, None))(stacked, weight)
    expected = torch.stack([torch.stack([call(ours)(x, weight) for x in row]) for row in stacked])
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_vmapped_bias_is_rounded_once(dtype, device):
    """With a mapped weight the bias goes along into the one call."""
    torch.manual_seed(0)
    input = torch.randn(1, 4, 2, 2, 2, dtype=dtype, device=device)
    weight = torch.randn(SLICES, 4, 3, 2, 2, 2, dtype=dtype, device=device)
    bias = torch.randn(SLICES, 3, dtype=dtype, device=device)
    got = vmap(lambda w, b: convt3d_ext.conv_transpose3d(input, w, b, 2))(weight, bias)
    expected = torch.stack(
        [convt3d_ext.conv_transpose3d(input, w, b, 2) for w, b in zip(weight, bias, strict=True)]
    )
    torch.testing.assert_close(got, expected, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_per_sample_gradients_of_the_module(device):
    torch.manual_seed(0)
    layer = convt3d_ext.ConvTranspose3d(2, 3, 2, stride=2, device=device, dtype=torch.float64)
    samples = torch.randn(4, 2, 2, 3, 2, device=device, dtype=torch.float64)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def sample_loss(parameters, sample):
        return functional_call(layer, parameters, (sample[None],)).pow(2).sum()

    got = vmap(grad(sample_loss), (None, 0))(parameters, samples)
    for i, sample in enumerate(samples):
        layer.zero_grad()
        layer(sample[None]).pow(2).sum().backward()
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(got[name][i], parameter.grad)


def test_ensemble_of_modules(device):
    torch.manual_seed(0)
    layers = [
        convt3d_ext.ConvTranspose3d(2, 3, 3, stride=2, device=device, dtype=torch.float64)
        for _ in range(SLICES)
    ]
    parameters, buffers = stack_module_state(layers)
    input = torch.randn(2, 2, 2, 3, 2, device=device, dtype=torch.float64)
    got = vmap(lambda p, b: functional_call(layers[0], (p, b), (input,)))(parameters, buffers)
    torch.testing.assert_close(got, torch.stack([layer(input) for layer in layers]))
