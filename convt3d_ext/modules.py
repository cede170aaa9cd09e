# SPDX-License-Identifier: BSD-3-Clause
"""The module, and the conversion of models to it and back."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from convt3d_ext.functional import conv_transpose3d

__all__ = ["ConvTranspose3d", "LazyConvTranspose3d", "convert", "unconvert"]


class ConvTranspose3d(nn.ConvTranspose3d):
    r"""Applies a 3D transposed convolution over an input of several planes.

    A :class:`torch.nn.ConvTranspose3d` in constructor, parameters, ``state_dict``,
    ``output_size``, hooks and ``repr``, whose forward is
    :func:`convt3d_ext.conv_transpose3d`; see there for the guarantees.

    Args:
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the output.
        kernel_size: Size of the kernel; one number or ``(kD, kH, kW)``, as all that follow.
        stride: Stride in elements of the output. Default: 1
        padding: ``dilation * (kernel_size - 1) - padding`` zeros pad both sides. Default: 0
        output_padding: Elements added to one side of the output. Default: 0
        groups: Number of groups that the channels are split into. Default: 1
        bias: If True, adds a learnable bias to the output. Default: True
        dilation: Spacing between the taps. Default: 1
        padding_mode: "zeros", the only one there is.
        device: Device of the parameters.
        dtype: Type of the parameters.

    Shape:
        - Input: :math:`(N, C_{in}, D, H, W)` or :math:`(C_{in}, D, H, W)`
        - Output: :math:`(N, C_{out}, D_{out}, H_{out}, W_{out})` or without :math:`N`

    Example:
        >>> import torch
        >>> import convt3d_ext
        >>> up = convt3d_ext.ConvTranspose3d(16, 8, kernel_size=2, stride=2)
        >>> up(torch.randn(1, 16, 4, 4, 4)).shape
        torch.Size([1, 8, 8, 8, 8])
        >>> up = convt3d_ext.ConvTranspose3d(16, 8, 3, stride=2, padding=1)
        >>> up(torch.randn(1, 16, 4, 4, 4), output_size=(8, 8, 7)).shape
        torch.Size([1, 8, 8, 8, 7])
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Applies the layer.

        Args:
            input: Input of shape :math:`(N, C_{in}, D, H, W)` or :math:`(C_{in}, D, H, W)`.
            output_size: Size of the output where the stride leaves a choice: three extents, or
                all of the output's sizes. It replaces ``output_padding``.

        Returns:
            Output of shape :math:`(N, C_{out}, D_{out}, H_{out}, W_{out})`, or without :math:`N`.

        Raises:
            ValueError: No output padding gives ``output_size``.
            RuntimeError: As for :func:`convt3d_ext.conv_transpose3d`.
        """
        if self.padding_mode != "zeros":
            raise ValueError("Only `zeros` padding mode is supported for ConvTranspose3d")
        parameters: Any = self  # torch types these as tuples of any length
        output_padding = parameters.output_padding
        if output_size is not None:
            output_padding = self._output_padding(
                input,
                output_size,
                parameters.stride,
                parameters.padding,
                parameters.kernel_size,
                3,
                parameters.dilation,
            )
        return conv_transpose3d(
            input,
            self.weight,
            self.bias,
            self.stride,
            parameters.padding,
            output_padding,
            self.groups,
            self.dilation,
        )


class LazyConvTranspose3d(nn.LazyConvTranspose3d):
    """A :class:`torch.nn.LazyConvTranspose3d` that becomes a :class:`ConvTranspose3d`.

    ``in_channels`` is that of the first input.

    Example:
        >>> import torch
        >>> import convt3d_ext
        >>> up = convt3d_ext.LazyConvTranspose3d(8, kernel_size=2, stride=2)
        >>> up(torch.randn(1, 16, 4, 4, 4)).shape
        torch.Size([1, 8, 8, 8, 8])
        >>> up
        ConvTranspose3d(16, 8, kernel_size=(2, 2, 2), stride=(2, 2, 2))
    """

    cls_to_become = ConvTranspose3d


# torch's classes and ours that take each other's place.
_TO_OURS: dict[type[nn.Module], type[nn.Module]] = {
    nn.ConvTranspose3d: ConvTranspose3d,
    nn.LazyConvTranspose3d: LazyConvTranspose3d,
}
_TO_TORCH = {ours: theirs for theirs, ours in _TO_OURS.items()}

Model = TypeVar("Model", bound=nn.Module)


def convert(model: Model) -> Model:
    """Makes every ``nn.ConvTranspose3d`` of a model a :class:`ConvTranspose3d`, in place.

    Only the class of the modules changes: parameters, buffers, hooks, parametrizations and
    ``state_dict`` stay, and so do optimizers and references. Lazy modules convert, too. Left alone
    are subclasses, which may have another forward, and what a module's own ``forward`` attribute
    hides.

    Args:
        model: The model; may be the layer itself.

    Returns:
        The same object.

    Example:
        >>> import torch
        >>> import convt3d_ext
        >>> model = torch.nn.Sequential(torch.nn.ConvTranspose3d(4, 2, 2, stride=2))
        >>> type(convt3d_ext.convert(model)[0]) is convt3d_ext.ConvTranspose3d
        True
    """
    return _swap(model, _TO_OURS)


def unconvert(model: Model) -> Model:
    """Makes every :class:`ConvTranspose3d` of a model an ``nn.ConvTranspose3d``, in place.

    For what matches types exactly, as quantization and TorchScript do, and for what knows aten's
    ops alone, as exporters to ONNX do.

    Args:
        model: The model; may be the layer itself.

    Returns:
        The same object.

    Example:
        >>> import torch
        >>> import convt3d_ext
        >>> model = torch.nn.Sequential(convt3d_ext.ConvTranspose3d(4, 2, 2, stride=2))
        >>> type(convt3d_ext.unconvert(model)[0]) is torch.nn.ConvTranspose3d
        True
    """
    return _swap(model, _TO_TORCH)


def _swap(model: Model, to: dict[type[nn.Module], type[nn.Module]]) -> Model:
    for module in model.modules():
        cls = type(module)
        if cls in to:
            module.__class__ = to[cls]
        elif parametrize.is_parametrized(module) and cls.__bases__[0] in to:
            # parametrize derives a class for the module, whose properties are its parameters.
            namespace = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
            module.__class__ = type(cls.__name__, (to[cls.__bases__[0]],), namespace)
    return model
