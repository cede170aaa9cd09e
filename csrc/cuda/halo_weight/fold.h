// SPDX-License-Identifier: BSD-3-Clause
// The same sums as another layer's.
//
// Taps as out_channels: where kernel = stride and nothing is padded, each tap of an input position
// meets an element of its own, and in channels_last_3d those of the taps along w, and then of their
// out_channels, follow one another: kw * out_channels channels of a kernel of 1. The same is so for
// all axes, in both layouts, where the input is a single position.
//
// Positions that no tap meets: where stride and dilation share a factor, taps meet every so many'th
// position alone. These are a tensor with longer strides, and the layer one without that factor.
#pragma once
#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_weight {

// The same sums with as few taps and positions as may be; `description` itself where it has them.
Description folded(const Description& description);
// The same tensors, as folded(description) has them.
Operands folded(const Description& description, const Operands& operands);
// What folded() prints in a config.
const char* fold_name(const Description& description);

}  // namespace convt3d::cuda::halo_weight
