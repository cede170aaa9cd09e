// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/view_weight/view_weight.h"

#include <algorithm>
#include <numeric>

#include "cuda/halo_weight/fold.h"
#include "cuda/halo_weight/tuning.h"
#include "cuda/halo_weight/turned.h"
#include "cuda/view_weight/config.h"
#include "cuda/weight_gemm/weight_gemm.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::view_weight {
namespace {

// What the choice between this family and tap_gemm looks at.
struct Worth {
  double elements, products;  // of grad_output; of each of them
  double rows;                // the part of the blocks' rows that count, where that is the limit
  bool kept, meets_all;       // in L2; taps meet all elements

  Worth(const Problem& p, const Config& c) {
    const Extent3 output = p.output();
    elements = as_double(p.batch * p.out_channels) * as_double(volume(output));
    products = as_double(p.in_channels * volume(p.kernel)) * as_double(volume(p.input)) /
               as_double(volume(output));
    const int64_t blocks = int64_t{c.unit_jobs} * job_units(c) * kUnitRows;
    rows = as_double(p.out_channels * volume(p.kernel)) / as_double(blocks);
    if (c.runs && (c.columns == kColumnsBuilt[0] || rows >= kLeastRunRows)) rows = 1;
    const double input = as_double(p.batch * p.in_channels) * as_double(volume(p.input));
    kept = kElementBytes * (elements + input) < kKeptBytes;
    meets_all = true;
    for (int a = 0; a < 3; ++a) meets_all = meets_all && std::gcd(p.stride[a], p.dilation[a]) == 1;
  }
};

// float32, whose products take longer than what brings the operands: whether tap_gemm's are faster.
// Measured: 0.7 to 0.95 of this family's time where TMA loads lines of NCDHW (16 bytes), and where
// rows are padding and tap_gemm copies two elements of them or more at a time.
bool better_unpacked(const Description& description, const Description& fold, const Worth& w) {
  constexpr int64_t kLine = 16 / kElementBytes;
  if (fold.output == Layout::ncdhw && fold.problem.output()[2] % kLine == 0) return true;
  return w.rows < kLeastFullRows && description.problem.out_channels % 2 == 0;
}

// Where grad_output has to become rows of channels first: whether its products are many enough.
bool worth_packing(const Problem& p, const Worth& w) {
  // tap_gemm copies lines of odd width element by element.
  const double least = p.output()[2] % 2 == 1 ? kLeastOddProducts
                       : w.kept               ? kLeastKeptProducts
                                              : kLeastProducts;
  return w.meets_all && w.elements >= kLeastElements && w.products >= least && w.rows >= kLeastRows;
}

// Of the launch that turns grad_output into rows of channels, where it is none.
double output_pack_clocks(const Description& fold, const Config& c) {
  return 2 * as_double(packed_output_bytes(fold, c)) / kPackBytesPerClock;
}

}  // namespace

Description fold_of(const Description& description, const Device& device) {
  return halo_weight::best_fold(
      description, [&](const Description& fold) { return choose(fold, device); },
      output_pack_clocks);
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != 90) return Verdict::refuse("its instructions are those of sm_90");
  if (description.direction != Direction::grad_weight) return Verdict::refuse("grad_weight only");
  const bool full = description.precision == Precision::fp32;
  if (!full && description.precision != Precision::tf32) {
    return Verdict::refuse("float32 and TF32 only");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  if (p.in_channels < kMinColumns) return Verdict::refuse("fewer than 9 in channels");
  if (std::max(p.in_channels, p.out_channels) > halo_weight::kMaxChannels) {
    return Verdict::refuse("more than 2**20 channels");
  }
  if (p.batch < 1 || p.batch > halo_weight::kMaxExtent) {
    return Verdict::refuse("an empty or very large batch");
  }
  const int64_t least = p.out_channels <= kFewOut ? kMinFewSum : kMinSum;
  if (full && p.batch * volume(p.input) < least) {
    return Verdict::refuse("float32 sums of so few products: three TF32 products are worse");
  }
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    if (p.stride[axis] > halo_weight::kMaxStride) return Verdict::refuse("a stride above 8");
    if (std::max(p.input[axis], output[axis]) > halo_weight::kMaxExtent ||
        p.dilation[axis] * p.kernel[axis] + p.padding[axis] > halo_weight::kMaxReach) {
      return Verdict::refuse("larger than its coordinates hold");
    }
  }
  if (volume(p.kernel) > halo_weight::kMaxTaps) return Verdict::refuse("more than 512 taps");
  // Whom unaligned tensors fall back to.
  const Verdict fallback = weight_gemm::supports(description, device);
  if (!fallback.ok) return fallback;
  const Description fold = fold_of(description, device);
  const Config config = choose(fold, device);
  if (config.units == 0) {
    return Verdict::refuse("too many taps, or taps too far apart for shared memory");
  }
  const Worth worth(fold.problem, config);
  if (full && better_unpacked(description, fold, worth)) {
    return Verdict::refuse("float32: few rows, or lines that TMA loads: tap_gemm is faster");
  }
  if (fold.output != Layout::ndhwc && !worth_packing(fold.problem, worth)) {
    return Verdict::refuse("grad_output is no rows of channels, and its products are few");
  }
  if (worth.products >= kLeastProducts && worth.rows < kLeastRows) {
    return Verdict::refuse("many products, of which padding of out_channels would be a third");
  }
  return Verdict::accept();
}

std::string config(const Description& description, const Device& device) {
  const Description fold = fold_of(description, device);
  const std::string taps = halo_weight::fold_name(description, fold);
  return to_string(choose(fold, device)) + taps;
}

double clocks(const Description& description, const Device& device) {
  const Description fold = fold_of(description, device);
  const Config config = choose(fold, device);
  return config.clocks + output_pack_clocks(fold, config);
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const Description fold = fold_of(description, device);
  const Config config = choose(fold, device);
  return std::max(pieces_bytes(config) + packed_input_bytes(config) +
                      packed_output_bytes(fold, config) +
                      (config.turned ? halo_weight::turned_bytes(fold) : 0),
                  weight_gemm::workspace_bytes(description, device));
}

}  // namespace convt3d::cuda::view_weight
