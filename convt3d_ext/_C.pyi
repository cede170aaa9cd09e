# SPDX-License-Identifier: BSD-3-Clause
"""The native module (csrc/binding/module.cpp). Importing it registers torch.ops.convt3d."""

from collections.abc import Sequence
from typing import TypedDict

_TensorArgument = tuple[Sequence[int], str, str]  # sizes, dtype, device

class _Plan(TypedDict):
    description: str
    output: tuple[int, int, int]
    useful_flops: float
    workspace_bytes: int
    family: str
    candidates: list[tuple[str, bool, str | None, str | None]]

class _BuildInfo(TypedDict):
    cuda: bool
    cuda_version: str | None
    cuda_archs: str
    torch_target: str
    torch_built: str
    compiler: str

def check(
    direction: str,
    first: _TensorArgument,
    second: _TensorArgument,
    bias: _TensorArgument | None,
    extent: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
    /,
) -> None: ...
def plan(description: str, kind: str, arch: int, num_sms: int, num_threads: int, /) -> _Plan: ...
def kernel_arch(capability: int, /) -> int: ...
def build_info() -> _BuildInfo: ...
def launch_counts() -> dict[str, int]: ...
