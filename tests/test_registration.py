# SPDX-License-Identifier: BSD-3-Clause
"""The ops as torch.library sees them: schemas, and torch's own checks of every registration."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import convt3d_ext

ARGUMENTS = (
    "int[3] stride=1, int[3] padding=0, int[3] output_padding=0, int groups=1, "
    "int[3] dilation=1, *, bool allow_tf32=True) -> Tensor"
)
SCHEMAS = {
    "forward": "Tensor input, Tensor weight, Tensor? bias=None",
    "grad_input": "Tensor grad_output, Tensor weight, SymInt[3] input_size",
    "grad_weight": "Tensor grad_output, Tensor input, SymInt[3] kernel_size",
}
# input, weight, stride, padding, output_padding, groups, dilation
CASES = {
    "upsample": ((2, 4, 3, 4, 3), (4, 3, 2, 2, 2), 2, 0, 0, 1, 1),
    "odd": ((1, 2, 3, 2, 4), (2, 3, 3, 2, 3), (2, 1, 3), (1, 0, 1), (1, 0, 2), 1, 1),
    "groups": ((2, 4, 2, 3, 2), (4, 3, 2, 3, 1), 2, 1, 0, 2, (1, 2, 1)),
    "depthwise": ((2, 4, 3, 3, 3), (4, 1, 3, 3, 3), 2, 1, 1, 4, 1),
    "unbatched": ((3, 2, 3, 2), (3, 2, 2, 3, 2), 2, 1, 0, 1, 1),
    "empty_batch": ((0, 3, 2, 3, 2), (3, 2, 2, 3, 2), 2, 0, 0, 1, 1),
    "no_taps": ((1, 2, 2, 2, 2), (2, 2, 1, 1, 1), 2, 0, 0, 1, 1),
}


def operands(name, device, dtype=torch.float64):
    """input, weight, bias, grad_output and the parameters of a case."""
    input_size, weight_size, *parameters = CASES[name]
    torch.manual_seed(0)
    input = torch.randn(input_size, dtype=dtype, device=device)
    weight = torch.randn(weight_size, dtype=dtype, device=device)
    bias = torch.randn(weight_size[1] * parameters[3], dtype=dtype, device=device)
    grad = torch.randn_like(torch.ops.convt3d.forward(input, weight, bias, *parameters))
    return input, weight, bias, grad, parameters


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_the_contract(name):
    schema = str(getattr(torch.ops.convt3d, name).default._schema)
    assert schema == f"convt3d::{name}({SCHEMAS[name]}, {ARGUMENTS}"


def test_both_gradients_are_one_op():
    """Of plain memory alone: it is no part of a graph, and has no derivatives."""
    schema = str(torch.ops.convt3d._gradients.default._schema)
    tensors = "Tensor grad_output, Tensor input, Tensor weight"
    returns = "(Tensor, Tensor)"
    assert schema == f"convt3d::_gradients({tensors}, {ARGUMENTS[: -len('Tensor')]}{returns}"


@pytest.mark.compile
# torch 2.14's opcheck looks at the .grad of results.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("requires_grad", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("op", SCHEMAS)
def test_opcheck(op, name, requires_grad, device):
    input, weight, bias, grad, parameters = operands(name, device)
    for tensor in (input, weight, bias, grad):
        tensor.requires_grad_(requires_grad)
    arguments = {
        "forward": (input, weight, bias),
        "grad_input": (grad, weight, input.shape[-3:]),
        "grad_weight": (grad, input, weight.shape[-3:]),
    }[op]
    torch.library.opcheck(getattr(torch.ops.convt3d, op).default, (*arguments, *parameters))


@pytest.mark.parametrize("op", SCHEMAS)
def test_parameters_broadcast(op, device):
    """A bare int and a list of one stand for three."""
    input, weight, _, grad, _ = operands("upsample", device)
    arguments = {
        "forward": (input, weight, None),
        "grad_input": (grad, weight, input.shape[-3:]),
        "grad_weight": (grad, input, weight.shape[-3:]),
    }[op]
    function = getattr(torch.ops.convt3d, op)
    expected = function(*arguments, [2, 2, 2], [0, 0, 0], [0, 0, 0], 1, [1, 1, 1])
    for stride in (2, [2]):
        assert torch.equal(function(*arguments, stride), expected)
        assert function(*(t.to("meta") for t in arguments[:2]), arguments[2], stride).shape == (
            expected.shape
        )


def test_extents_broadcast(device):
    """SymInt[3] refuses a bare int; a list of one stands for three."""
    input, weight, _, grad, parameters = operands("depthwise", device)
    ops = torch.ops.convt3d
    assert ops.grad_input(grad, weight, [3], *parameters).shape == input.shape
    assert ops.grad_weight(grad, input, [3], *parameters).shape == weight.shape


def test_fake_runs_the_checker():
    input, weight = torch.empty(1, 3, 4, 4, 4, device="meta"), torch.empty(2, 2, 2, 2, 2)
    with pytest.raises(RuntimeError, match="same device"):
        torch.ops.convt3d.forward(input, weight)
    with pytest.raises(RuntimeError, match="to have 2 channels, but got 3"):
        torch.ops.convt3d.forward(input, weight.to("meta"))
    with pytest.raises(RuntimeError, match="Expected grad_output of size"):
        torch.ops.convt3d.grad_weight(input, input, [2, 2, 2])


def test_import_leaves_torch_alone():
    """No default is changed, and what is slow to import is not imported."""
    program = (
        "import sys, torch; before = torch.backends.cudnn.conv.fp32_precision;"
        "import convt3d_ext;"
        "assert torch.backends.cudnn.conv.fp32_precision == before;"
        "assert not torch.cuda.is_initialized();"
        "slow = {'torch._dynamo', 'sympy', 'matplotlib', 'rich'} & set(sys.modules);"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def failed_import(program, path="."):
    """The last line that Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=path
    )
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


def test_old_torch_is_refused():
    package = Path(convt3d_ext.__file__).parents[1]
    message = failed_import(
        "import torch; torch.__version__ = '2.9.1+cu128'\n"
        f"import sys; sys.path.insert(0, {str(package)!r}); import convt3d_ext"
    )
    assert message == (
        f"ImportError: convt3d_ext {convt3d_ext.__version__} needs torch >= 2.10, but torch "
        "2.9.1+cu128 is installed"
    )


def test_checkout_without_the_native_module_says_what_to_do(tmp_path):
    package = Path(convt3d_ext.__file__).parent
    shutil.copytree(
        package, tmp_path / "convt3d_ext", ignore=shutil.ignore_patterns("*.so", "*.pyd")
    )
    # An editable install would still find the module that this copy has not.
    message = failed_import(
        "import sys\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in repr(f)]\n"
        "import convt3d_ext",
        tmp_path,
    )
    assert "no native module" in message
    assert "pip install -e . --no-build-isolation" in message
