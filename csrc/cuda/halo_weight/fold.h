// SPDX-License-Identifier: BSD-3-Clause
// Taps as out_channels. Where kernel = stride and nothing is padded, each tap of an input position
// meets an element of its own, and in channels_last_3d those of the taps along w, and then of their
// out_channels, follow one another: kw * out_channels channels of a kernel of 1. The same is so for
// all axes, in both layouts, where the input is a single position.
#pragma once
#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_weight {

// The same sums with as few taps as may be; `description` itself where none is a channel.
Description folded(const Description& description);
// The same tensors, as folded(description) has them.
Operands folded(const Description& description, const Operands& operands);

}  // namespace convt3d::cuda::halo_weight
