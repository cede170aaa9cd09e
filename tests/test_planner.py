# SPDX-License-Identifier: BSD-3-Clause
"""Which family a call gets, and why the others refuse, as a text that a change shows as a diff.

After a change that is meant: `CONVT3D_UPDATE_GOLDEN=1 pytest tests/test_planner.py`. A new case is
a new line without indentation in tests/golden/plans.txt, then the same command.
"""

import os
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from native.build import build

GOLDEN = Path(__file__).parent / "golden" / "plans.txt"
CASES = [
    line for line in GOLDEN.read_text().splitlines() if line and not line.startswith((" ", "#"))
]


@pytest.fixture(scope="session")
def native(request):
    return build(request.config.cache.mkdir("native"))


@pytest.fixture(scope="session")
def devices(native):
    return {
        "cpu": native.Device(native.DeviceKind.cpu, num_threads=8),
        "cuda": native.Device(native.DeviceKind.cuda, arch=90, num_sms=132),
    }


@pytest.fixture(scope="session")
def older_devices(native):
    """GPUs without wgmma: an A100, and one with the least shared memory."""
    return {
        "cuda 8.0": native.Device(native.DeviceKind.cuda, arch=80, num_sms=108),
        "cuda 8.9": native.Device(native.DeviceKind.cuda, arch=89, num_sms=128),
    }


def plan_text(native, devices, older_devices, case):
    description = native.parse_description(case)
    lines = [str(description)]
    lines += [f"  {name}: {native.plan(description, d)}" for name, d in older_devices.items()]
    for device_name, device in devices.items():
        lines.append(f"  {device_name}: {native.plan(description, device)}")
        lines += [
            f"    {family} refuses: {reason}"
            for family, ok, reason in native.verdicts(description, device)
            if not ok
        ]
    return "\n".join(lines) + "\n"


def test_golden_plans(native, devices, older_devices):
    header = [line for line in GOLDEN.read_text().splitlines() if line.startswith("#")]
    blocks = [plan_text(native, devices, older_devices, case) for case in CASES]
    text = "\n".join(["\n".join(header) + "\n", *blocks])
    if os.environ.get("CONVT3D_UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "if the new plans are meant: CONVT3D_UPDATE_GOLDEN=1"


PLANES = st.integers(1, 160)
KERNELS = st.integers(1, 7)


# Examples: no line of batch items fits the SMs; more of them than a kernel's parameters hold.
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([1, 2, 8, 24, 64, 333, 1088]),
    st.sampled_from([1, 2, 3, 8, 14, 33, 64, 128, 512, 1024]),
    st.sampled_from([1, 2, 5, 8, 16, 24, 32, 96, 128, 512, 1024]),
    st.tuples(PLANES, PLANES, PLANES),
    st.tuples(KERNELS, KERNELS, KERNELS),
    st.integers(1, 4),
    st.sampled_from(["bf16", "tf32", "fp32"]),
    st.sampled_from(["ncdhw", "ndhwc"]),
    st.sampled_from(["forward", "grad_input", "grad_weight"]),
    st.sampled_from([16, 78, 132, 148]),
)
@example(32, 256, 512, (4, 4, 160), (3, 3, 3), 1, "bf16", "ndhwc", "forward", 132)
@example(1088, 512, 1024, (4, 4, 4), (4, 4, 4), 2, "bf16", "ndhwc", "forward", 132)
@example(64, 128, 128, (5, 5, 5), (4, 4, 4), 2, "bf16", "ndhwc", "forward", 132)
def test_every_size_has_a_plan(
    native, batch, inputs, outputs, extent, kernel, stride, precision, layout, direction, sms
):
    d, h, w = extent
    kernels = "x".join(map(str, kernel))
    padding = min(kernel) // 2
    assume(min(extent) > 1 or padding == 0)
    problem = f"mb{batch}_ic{inputs}oc{outputs}_id{d}ih{h}iw{w}_k{kernels}s{stride}p{padding}"
    description = native.parse_description(f"{problem}:{precision}:{layout}:{direction}")
    device = native.Device(native.DeviceKind.cuda, arch=90, num_sms=sms)
    assert native.plan(description, device)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("device_name", ["cpu", "cuda"])
def test_verdicts(native, devices, device_name, case):
    description, device = native.parse_description(case), devices[device_name]
    rows = native.verdicts(description, device)
    assert rows[-1][1:] == (True, None), "the last family of a table accepts everything"
    assert native.plan(description, device) == next(family for family, ok, _ in rows if ok)
    for family, ok, reason in rows:
        if ok:
            assert reason is None
            assert native.forced(family, description, device) == family
            assert native.workspace_bytes(family, description, device) >= 0
            assert native.config(family, description, device)
        else:
            assert reason, f"{family} refuses without a reason"
            with pytest.raises(ValueError) as error:
                native.forced(family, description, device)
            assert reason in str(error.value)
            assert family in str(error.value)
            assert str(description) in str(error.value)


@pytest.mark.parametrize("device_name", ["cpu", "cuda"])
def test_an_unknown_family_is_named(native, devices, device_name):
    description = native.parse_description(CASES[0])
    with pytest.raises(ValueError, match="there is no family 'winograd'"):
        native.forced("winograd", description, devices[device_name])


def test_every_family_is_chosen_by_some_case(native, devices, older_devices):
    chosen, known = set(), set()
    for case in CASES:
        description = native.parse_description(case)
        chosen |= {("cuda", native.plan(description, d)) for d in older_devices.values()}
        for name, device in devices.items():
            chosen.add((name, native.plan(description, device)))
            known |= {(name, family) for family, _, _ in native.verdicts(description, device)}
    assert chosen == known, "tests/golden/plans.txt has no case for some family"


@pytest.mark.parametrize(
    ("archs", "capability", "expected"),
    [
        ("8.0;8.6;8.9;9.0a;10.0;12.0+PTX", 80, True),
        ("8.0;8.6;8.9;9.0a;10.0;12.0+PTX", 87, True),  # by the code of 8.6
        ("8.0;8.6;8.9;9.0a;10.0;12.0+PTX", 90, True),
        ("8.0;8.6;8.9;9.0a;10.0;12.0+PTX", 103, True),
        ("8.0;8.6;8.9;9.0a;10.0;12.0+PTX", 110, False),
        ("8.0;8.6;8.9;9.0a;10.0;12.0+PTX", 130, True),  # by PTX
        ("8.0;8.6;8.9;9.0a;10.0;12.0+PTX", 75, False),
        ("8.6", 80, False),
        ("9.0a", 100, False),
        ("8.0+PTX", 75, False),
        ("", 90, False),
    ],
)
def test_which_gpus_a_binary_has_code_for(native, archs, capability, expected):
    assert native.has_code(archs, capability) is expected


def test_a_gpu_without_code_gets_torch_kernels(native):
    description = native.parse_description(CASES[0])
    device = native.Device(native.DeviceKind.cuda, arch=0, num_sms=132)
    assert native.plan(description, device).startswith("aten")
    assert native.verdicts(description, device) == [("aten", True, None)]


def test_what_a_user_is_told(native):
    warning = native.no_code_warning(1, 75, "8.0;9.0a")
    assert warning == (
        "convt3d_ext has no code for cuda:1 (compute capability 7.5, built for 8.0;9.0a): "
        "torch's own kernels run there instead"
    )
    error = native.old_driver_error(13000)
    assert error.startswith("convt3d_ext is built with CUDA 13 and needs an NVIDIA driver of that ")
    assert "580" in error
    assert "update the driver" in error
