# SPDX-License-Identifier: BSD-3-Clause
"""torch.compile, torch.export and tracing: whole graphs, dynamic sizes, derivatives."""

import pytest
import torch
import torch._dynamo.compiled_autograd
import torch._dynamo.testing
from torch import nn

import convt3d_ext

pytestmark = [
    pytest.mark.compile,
    # torch's own: what its tracers import and call.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Online softmax"),
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),
    pytest.mark.filterwarnings("ignore:Please use the new API settings"),
]
BACKENDS = ["aot_eager", "inductor"]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def ieee():
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    conv.fp32_precision = "ieee"
    yield
    conv.fp32_precision = before


class Network(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.up = layer

    def forward(self, input):
        return torch.relu(self.up(input)) * 2


def network(device, **parameters):
    torch.manual_seed(0)
    parameters = {"kernel_size": 3, "stride": 2, "padding": 1, **parameters}
    return Network(convt3d_ext.ConvTranspose3d(4, 2, **parameters)).to(device)


def step(function, model, input):
    input = input.detach().requires_grad_()
    model.zero_grad()
    output = function(input)
    output.pow(2).sum().backward()
    return [output.detach(), input.grad, *(p.grad.clone() for p in model.parameters())]


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        assert a.stride() == b.stride()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.usefixtures("ieee")
def test_training_step(backend, device):
    model = network(device)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for memory_format in (torch.contiguous_format, torch.channels_last_3d):
        input = torch.randn(2, 4, 3, 4, 3, device=device).contiguous(memory_format=memory_format)
        assert_same(step(compiled, model, input), step(model, model, input))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.usefixtures("ieee")
def test_dynamic_sizes_compile_once(backend, device):
    model = network(device)
    frames = torch._dynamo.testing.CompileCounterWithBackend(backend)
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=frames)
    # No size of the first is in_channels: Dynamo takes equal sizes for the same symbol.
    for size in [(2, 3, 5, 6), (3, 4, 2, 6), (5, 2, 7, 3), (4, 5, 5, 5)]:
        input = torch.randn(size[0], 4, *size[1:], device=device)
        assert_same(step(compiled, model, input), step(model, model, input))
    assert frames.frame_count == 1


def test_automatic_dynamic_recompiles_once(device):
    model = network(device)
    frames = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=frames)
    for depth in (2, 3, 4, 5, 6):
        compiled(torch.randn(2, 4, depth, 3, 3, device=device))
    assert frames.frame_count == 2


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_fake_result_has_no_guards_on_sizes(memory_format):
    """The sizes stay the symbols that they were, in both memory formats."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    shapes = ShapeEnv()
    mode = FakeTensorMode(shape_env=shapes)
    real = torch.randn(2, 4, 5, 6, 7).contiguous(memory_format=memory_format)
    dynamic = [DimDynamic.DYNAMIC, DimDynamic.STATIC, *[DimDynamic.DYNAMIC] * 3]
    input = mode.from_tensor(real, symbolic_context=StatelessSymbolicContext(dynamic))
    weight = mode.from_tensor(torch.randn(4, 2, 3, 3, 3), static_shapes=True)
    before = len(shapes.guards)
    output = torch.ops.convt3d.forward(input, weight, None, 2, 1)
    gradient = torch.ops.convt3d.grad_input(output, weight, input.shape[-3:], 2, 1)
    torch.ops.convt3d.grad_weight(output, input, [3, 3, 3], 2, 1)
    assert gradient.shape == input.shape
    assert len(shapes.guards) == before
    assert str(output.shape[2]) == f"2*{input.shape[2]} - 1"


def test_unbacked_sizes(device):
    """A size that only running tells: neither an error nor a guess."""

    class Model(nn.Module):
        def forward(self, rows, weight):
            depth = rows.sum().item()
            input = torch.ones(1, 2, depth, 3, 3, device=weight.device)
            return convt3d_ext.conv_transpose3d(input, weight, stride=2)

    rows = torch.tensor([2, 3], device=device)
    weight = torch.randn(2, 3, 2, 2, 2, device=device)
    program = torch.export.export(Model(), (rows, weight))
    got = program.module()(torch.tensor([1, 3], device=device), weight)
    torch.testing.assert_close(got, Model()(torch.tensor([1, 3], device=device), weight))


def test_errors_are_raised_while_tracing(device):
    model = network(device)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="to have 4 channels, but got 3"):
        compiled(torch.randn(1, 3, 2, 2, 2, device=device))


@pytest.mark.usefixtures("ieee")
def test_autocast(device):
    model = network(device)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    input = torch.randn(2, 4, 3, 3, 3, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        got, expected = compiled(input), model(input)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, expected)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_autograd(device):
    model = network(device)
    input = torch.randn(2, 4, 3, 3, 3, device=device)
    expected = step(model, model, input)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager")):
        got = step(model, model, input)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_transforms_inside(device):
    """torch.func in a compiled function."""
    torch.manual_seed(0)
    weight = torch.randn(2, 3, 2, 2, 2, device=device, dtype=torch.float64)
    input = torch.randn(4, 2, 2, 2, 2, device=device, dtype=torch.float64)

    def per_sample(weight, input):
        def loss(weight, sample):
            return convt3d_ext.conv_transpose3d(sample, weight, stride=2).pow(2).sum()

        return torch.func.vmap(torch.func.grad(loss), (None, 0))(weight, input)

    def tangent(weight, input):
        def function(weight):
            return convt3d_ext.conv_transpose3d(input, weight, stride=2)

        return torch.func.jvp(function, (weight,), (weight.cos(),))[1]

    for function in (per_sample, tangent):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(weight, input), function(weight, input))


@pytest.mark.parametrize("strict", [True, False])
def test_export(strict, device):
    model = network(device)
    input = torch.randn(2, 4, 3, 4, 3, device=device)
    batch, depth = torch.export.Dim("batch", min=2), torch.export.Dim("depth", min=2)
    program = torch.export.export(
        model, (input,), dynamic_shapes=({0: batch, 2: depth},), strict=strict
    )
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "convt3d.forward.default" in targets
    decomposed = program.run_decompositions()
    other = torch.randn(5, 4, 6, 4, 3, device=device)
    for exported in (program, decomposed):
        torch.testing.assert_close(exported.module()(other), model(other))


def test_jit_trace(device):
    model = network(device)
    input = torch.randn(2, 4, 3, 4, 3, device=device)
    traced = torch.jit.trace(model, input)
    torch.testing.assert_close(traced(input + 1), model(input + 1))


def test_precision_flag_is_baked_in(device):
    """The graph says which arithmetic it was compiled with."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    try:
        for precision in ("ieee", "tf32"):
            conv.fp32_precision = precision
            torch.compiler.reset()
            model = network(device)
            torch.compile(model, fullgraph=True, backend=backend)(
                torch.randn(1, 4, 2, 2, 2, device=device)
            )
    finally:
        conv.fp32_precision = before
    calls = [
        next(node for node in graph.graph.nodes if "convt3d" in str(node.target))
        for graph in graphs
    ]
    on_cuda = device.type == "cuda"
    assert [call.kwargs["allow_tf32"] for call in calls] == [False, on_cuda]
