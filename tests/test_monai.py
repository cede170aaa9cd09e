# SPDX-License-Identifier: BSD-3-Clause
"""Real networks: MONAI's, converted in place, give the same results, gradients and checkpoints."""

import copy
from collections.abc import Callable

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import DynUNet, SegResNetDS, UNet
from torch import nn

import convt3d_ext

KERNELS, STRIDES = [3, 3, 3], [1, 2, 2]


def dynunet() -> nn.Module:  # nnU-Net's network: k = s = 2 and (1, 2, 2)
    return DynUNet(
        3, 1, 2, KERNELS, [1, (1, 2, 2), 2], [(1, 2, 2), 2], filters=[8, 16, 16], trans_bias=True
    )


def unet() -> nn.Module:  # k3 s2 p1 op1, and a head of two channels
    return UNet(3, 1, 2, channels=(8, 16, 16), strides=(2, 2))


def segresnet() -> nn.Module:
    return SegResNetDS(3, init_filters=8, in_channels=1, out_channels=2, blocks_down=(1, 1, 1))


NETWORKS = [dynunet, unet, segresnet]


def pair(make: Callable[[], nn.Module], device: torch.device) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    theirs = make().to(device)
    ours = convt3d_ext.convert(copy.deepcopy(theirs))
    assert any(type(m) is convt3d_ext.ConvTranspose3d for m in ours.modules())
    return theirs, ours


@pytest.mark.usefixtures("ieee")
@pytest.mark.parametrize("make", NETWORKS)
def test_training_step(make: Callable[[], nn.Module], device: torch.device) -> None:
    theirs, ours = pair(make, device)
    batch = torch.randn(2, 1, 16, 16, 16, device=device)
    for network in (theirs, ours):
        network(batch).square().mean().backward()
    for (name, expected), (_, got) in zip(
        theirs.named_parameters(), ours.named_parameters(), strict=True
    ):
        torch.testing.assert_close(
            got.grad, expected.grad, rtol=2e-2, atol=1e-4, msg=lambda text, at=name: f"{at}: {text}"
        )


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_inference_under_autocast(
    make: Callable[[], nn.Module], memory_format: torch.memory_format, device: torch.device
) -> None:
    theirs, ours = pair(make, device)
    theirs, ours = theirs.eval(), ours.eval().to(memory_format=memory_format)
    batch = torch.randn(1, 1, 16, 16, 16, device=device)
    with torch.no_grad():
        expected = theirs(batch)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            got = ours(batch.contiguous(memory_format=memory_format))
    assert (got.float() - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("make", NETWORKS)
def test_checkpoints_travel(make: Callable[[], nn.Module], device: torch.device) -> None:
    theirs, ours = pair(make, device)
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    back = convt3d_ext.unconvert(ours)
    assert not any(isinstance(m, convt3d_ext.ConvTranspose3d) for m in back.modules())


def test_meta_tensor_passes_through(device: torch.device) -> None:
    layer = convt3d_ext.ConvTranspose3d(1, 2, 2, 2).to(device)
    image = MetaTensor(torch.randn(1, 1, 4, 4, 4), meta={"name": "scan"}).to(device)
    result = layer(image)
    assert isinstance(result, MetaTensor)
    assert result.meta["name"] == "scan"
