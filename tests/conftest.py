# SPDX-License-Identifier: BSD-3-Clause
"""Devices, markers, seeds and threads of every test."""

import os
from collections.abc import Iterator

# Idle OpenMP threads sleep instead of spinning: tests make thousands of tiny calls, and beside any
# other load spinning costs a hundred times the work. libgomp reads it when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch

from convt3d_ext.testing.cases import Case

REQUIRE_GPU = os.environ.get("CONVT3D_REQUIRE_GPU") == "1"


def _why_no_gpu() -> str | None:
    if not torch.cuda.is_available():
        return "needs a CUDA device"
    from convt3d_ext import _C

    return None if _C.build_info()["cuda"] else "convt3d_ext was built without CUDA"


# Useful FLOPs of a case that a CPU runs: larger ones are there for a GPU's kernels, and a CPU takes
# minutes for one in every precision, layout and family.
_MOST_CPU_FLOPS = 2e8


def _is_for_gpus(item: pytest.Item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    case = parameters.get("case")
    on_cpu = parameters.get("device") == "cpu"
    return on_cpu and isinstance(case, Case) and case.useful_flops > _MOST_CPU_FLOPS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is too much for a CPU and, without a GPU, what needs one.

    The latter not where CONVT3D_REQUIRE_GPU forbids it.
    """
    for item in filter(_is_for_gpus, items):
        item.add_marker(pytest.mark.skip(reason="too much work for a CPU"))
    why = _why_no_gpu()
    if why is None or REQUIRE_GPU:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """On a machine that must have a GPU, a skipped GPU test is a failed one."""
    report = yield
    if REQUIRE_GPU and report.skipped and item.get_closest_marker("gpu"):
        if hasattr(report, "wasxfail"):
            return report
        report.outcome = "failed"
        report.longrepr = f"skipped, but CONVT3D_REQUIRE_GPU=1: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _seed_and_threads():
    torch.manual_seed(0)
    torch.set_num_threads(2)  # more than one, so that work is really divided


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device of a kind that has kernels of ours."""
    return torch.device(request.param)


@pytest.fixture
def ieee() -> Iterator[None]:
    """Full float32 on both sides, where a test compares with torch's float32."""
    flags = torch.backends.cudnn.conv
    before = flags.fp32_precision
    flags.fp32_precision = "ieee"
    yield
    flags.fp32_precision = before
