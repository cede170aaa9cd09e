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
//
// Positions as out_channels: in channels_last_3d as many neighbouring positions along w as the
// stride has are a row of as many times the channels, of which a tap meets some. There are fewer
// rows, and fewer taps, of stride 1; k3 s2 p1, where output 2 i + r is channels r of row i:
//
//   taps 0 1 2 of input i meet outputs   2 i - 1   2 i   2 i + 1
//                           as rows    [ none  0 ]     [ 1     2 ]
//
// What no tap meets is multiplied too, and its sums are left out.
#pragma once
#include <cstdint>
#include <limits>

#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_weight {

// The same sums with as few taps and positions as may be; `description` itself where it has them.
Description folded(const Description& description);
// The same with positions as out_channels, too; folded(description) where that cannot be.
Description widened(const Description& description);
// The same tensors, as `fold`, either of these, has them.
Operands folded(const Description& description, const Description& fold, const Operands& operands);
// What `fold` prints in a config.
const char* fold_name(const Description& description, const Description& fold);

// Of a line of fold's weight, [tap along w][out_channel], the part that is the weight's.
struct Line {
  int64_t first = 0, length = std::numeric_limits<int>::max();
};
Line line_of(const Description& description, const Description& fold);

// That of the two which is estimated to be faster: `choose` finds a config's clocks, and
// `pack_clocks` those of turning grad_output into rows.
template <typename Choose, typename PackClocks>
Description best_fold(const Description& description, Choose choose, PackClocks pack_clocks) {
  const Description fold = folded(description), wide = widened(description);
  if (wide == fold) return fold;
  const auto with = choose(wide), without = choose(fold);
  // Blocks that store the weight themselves know of no sums that are left out.
  if (with.units == 0 || with.direct || without.units == 0) return fold;
  const double clocks = without.clocks + pack_clocks(fold, without);
  return with.clocks + pack_clocks(wide, with) < clocks ? wide : fold;
}

}  // namespace convt3d::cuda::halo_weight
