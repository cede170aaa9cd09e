# SPDX-License-Identifier: BSD-3-Clause
"""Arguments: torch's outcome and words, or the documented safe error where torch is inconsistent.

golden/argument_errors.json has one row per call: its outcome on CPU ("ok" or an exception) and its
text. Rows with "why" are ours on purpose; their "torch" field keeps torch's own text.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional

import convt3d_ext
from convt3d_ext import _C

ROWS = json.loads((Path(__file__).parent / "golden" / "argument_errors.json").read_text())
INPUT, WEIGHT = ((1, 4, 5, 5, 5), "float32", "cpu"), ((4, 8, 3, 3, 3), "float32", "cpu")
ONE, ZERO = (1, 1, 1), (0, 0, 0)


def backward(x: torch.Tensor, weight: torch.Tensor, **kwargs: Any) -> tuple[Any, ...]:
    x.requires_grad_()
    weight.requires_grad_()
    out = convt3d_ext.conv_transpose3d(x, weight, **kwargs)
    out.sum().backward()
    assert x.grad is not None
    assert weight.grad is not None
    return tuple(out.shape), tuple(x.grad.shape), weight.grad.sum().item()


NAMES = {
    "torch": torch,
    "t": torch.randn,
    "bwd": backward,
    "F": SimpleNamespace(conv_transpose3d=convt3d_ext.conv_transpose3d),
    "nn": SimpleNamespace(ConvTranspose3d=convt3d_ext.ConvTranspose3d),
}


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_as_documented(row: dict[str, str]) -> None:
    if row["outcome"] == "ok":
        value = eval(row["call"], NAMES)
        # Random values, reprs of tensors and the sums of gradients are not part of the promise.
        if "tensor(" not in row["text"] and "bwd(" not in row["call"]:
            assert str(value) == row["text"]
        return
    with pytest.raises((RuntimeError, TypeError, ValueError, NotImplementedError)) as raised:
        eval(row["call"], NAMES)
    assert type(raised.value).__name__ == row["outcome"]
    assert row["text"] in str(raised.value)


def test_numpy_input() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(TypeError, match=r"must be Tensor, not numpy\.ndarray"):
        convt3d_ext.conv_transpose3d(numpy.ones((1, 4, 5, 5, 5)), torch.randn(4, 8, 3, 3, 3))


@pytest.mark.parametrize("stride", [2**70, [1, 1, -(2**70)]])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_numbers_beyond_64_bits(layout: torch.memory_format, stride: Any) -> None:
    x, weight = torch.randn(1, 4, 5, 5, 5).to(memory_format=layout), torch.randn(4, 8, 3, 3, 3)
    raised = []
    for function in (torch.nn.functional.conv_transpose3d, convt3d_ext.conv_transpose3d):
        with pytest.raises((RuntimeError, TypeError, ValueError)) as error:
            function(x, weight, stride=stride)
        raised.append((type(error.value), str(error.value).splitlines()[0]))  # then a trace
    assert raised[0] == raised[1]


ORDER = [  # every earlier fault is reported before every later one
    ("dims", {"first": ((4, 5), "float32", "cpu")}, "Expected 4D (unbatched) or 5D (batched)"),
    ("dtype", {"second": ((4, 8, 3, 3, 3), "float64", "cpu")}, "should be the same"),
    ("device", {"second": ((4, 8, 3, 3, 3), "float32", "cuda:0")}, "same device"),
    ("lengths", {"padding": (1, 1)}, "expected padding to be a single integer value"),
    ("signs", {"stride": (0,)}, "non-positive stride"),
    ("groups", {"groups": 0}, "non-positive groups"),
    ("channels", {"first": ((1, 5, 5, 5, 5), "float32", "cpu")}, "to have 4 channels"),
    ("bias", {"bias": ((7,), "float32", "cpu")}, "expected bias to be 1-dimensional"),
    ("output_padding", {"output_padding": (4,)}, "output padding must be smaller"),
    ("output", {"padding": (9,)}, "Output size is too small"),
]


def call_check(**changes: Any) -> None:
    arguments = {
        "direction": "forward",
        "first": INPUT,
        "second": WEIGHT,
        "bias": None,
        "extent": None,
        "stride": ONE,
        "padding": ZERO,
        "output_padding": ZERO,
        "groups": 1,
        "dilation": ONE,
        **changes,
    }
    _C.check(*arguments.values())


def test_good_arguments_pass() -> None:
    call_check()


@pytest.mark.parametrize(
    ("earlier", "later"), [(i, j) for i in range(len(ORDER)) for j in range(i + 1, len(ORDER))]
)
def test_order_of_checks(earlier: int, later: int) -> None:
    if set(ORDER[earlier][1]) & set(ORDER[later][1]):
        later = earlier  # one argument cannot carry two faults
    changes = {**ORDER[later][1], **ORDER[earlier][1]}
    with pytest.raises(RuntimeError, match=re.escape(ORDER[earlier][2])):
        call_check(**changes)


GRADIENT_FAULTS = [
    ("grad_input", (1, 8, 6, 6, 6), (4, 8, 3, 3, 3), (5, 5, 5), "Expected grad_output of size"),
    ("grad_input", (1, 8, 7, 7, 7), (4, 8, 3, 3, 3), (5, 5), "expected input_size to be"),
    ("grad_input", (1, 8, 7, 7, 7), (4, 8, 3, 3), (5, 5, 5), "Expected 5D weight"),
    ("grad_input", (1, 8, 7, 7, 7), (4, 8, 3, 3, 3), (0, 5, 5), "Only zero batch"),
    ("grad_weight", (1, 8, 7, 7, 7), (2, 4, 5, 5, 5), (3, 3, 3), "same batch size"),
    ("grad_weight", (1, 8, 7, 7, 7), (4, 5, 5, 5), (3, 3, 3), "Expected input of 5D"),
    ("grad_weight", (1, 8, 7, 7, 7), (1, 4, 5, 5, 5), (3, 3), "expected kernel_size to be"),
    ("grad_weight", (1, 8, 6, 7, 7), (1, 4, 5, 5, 5), (3, 3, 3), "Expected grad_output of size"),
]


@pytest.mark.parametrize(("direction", "first", "second", "extent", "text"), GRADIENT_FAULTS)
def test_gradient_ops(
    direction: str,
    first: tuple[int, ...],
    second: tuple[int, ...],
    extent: tuple[int, ...],
    text: str,
) -> None:
    op = getattr(torch.ops.convt3d, direction)
    with pytest.raises(RuntimeError, match=text):
        op(torch.randn(first), torch.randn(second), extent)
    with pytest.raises(RuntimeError, match=text):  # the fake implementation says the same
        op(torch.empty(first, device="meta"), torch.empty(second, device="meta"), extent)


def test_groups_of_grad_weight() -> None:
    with pytest.raises(RuntimeError, match="Given groups=3, expected grad_output"):
        torch.ops.convt3d.grad_weight(
            torch.randn(1, 8, 7, 7, 7), torch.randn(1, 6, 5, 5, 5), [3, 3, 3], groups=3
        )


def test_bad_family_is_named() -> None:
    # Which of them is torch's choice; 2.15 has the second.
    with pytest.raises((ValueError, RuntimeError), match="there is no family 'magic'"):
        torch.ops.convt3d._forward_as(
            torch.randn(1, 4, 5, 5, 5), torch.randn(4, 8, 3, 3, 3), family="magic"
        )


@pytest.mark.parametrize("text", ["", "mb1", "mb1_ic4oc8_id5ih5iw5", "mb1_ic4oc8_id5ih5iw5_k3q2"])
def test_bad_problem_strings(text: str) -> None:
    with pytest.raises(ValueError, match="problem"):
        _C.plan(text, "cpu", 0, 0, 1)
