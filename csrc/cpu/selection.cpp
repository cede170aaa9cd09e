// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/selection.h"

#include <algorithm>

#include "cpu/aten.h"
#include "cpu/flat_convolution.h"
#include "cpu/row_weight.h"
#include "cpu/weight_rows.h"

namespace convt3d::cpu {
namespace {

// Every number here is a border between measured wins and losses on Zen 5 (docs/kernels/cpu.md),
// set on the side of torch.

// Positions of one sample below which packing and whole vectors are not repaid.
constexpr int64_t kFewPositions = 2048;
// The same where every output has one tap at most, counted over the batch.
constexpr int64_t kFewShuffled = 512;
constexpr int64_t kFewDouble = 512;
// Multiply-adds below which the plan itself, some 10 us, is felt.
constexpr double kFewProducts = 1 << 20;
// Source channels: above these oneDNN's cache blocking over channels wins.
constexpr int64_t kManyChannels = 128;
constexpr int64_t kManyShuffled = 512;
constexpr int64_t kManyForTinyOutput = 256;
constexpr int64_t kManyForBFloat16 = 64;
constexpr int64_t kManyForBFloat16TinyOutput = 32;
// Taps for every output: k3 s2 has 3.4, k4 s2 has 8.
constexpr int64_t kManyTaps = 4;
// torch's own border (batch * channels * depth * height) below which it uses a matrix product and
// a column buffer, which is good at tiny outputs.
constexpr int64_t kColumnBuffer = 20480;
constexpr int64_t kTinyOutput = 8;
constexpr int64_t kTinyOutputDirect = 4;
constexpr int64_t kSmallGroup = 16;
// Where torch has its fast kernels for groups: 4 channels 1.1x to 1.9x torch, 8 0.5x to 0.8x.
constexpr int64_t kTinyGroup = 4;
constexpr int64_t kTinyGroupBFloat16Last = 2;  // channels_last: 2 channels 1.4x torch, 4 0.6x
// grad_weight of fewer channels than kFewChannels, where a vector is of groups. 1 and 2 channels on
// one side in 8 groups 0.9x to 26x torch, in 3 groups 0.6x to 1.5x; 4 and 7 channels 0.6x to 1.9x;
// pointwise 0.2x to 1x.
constexpr int64_t kTinyGroupWeight = 2;
constexpr int64_t kFewGroupsWeight = 8;
// NCDHW, one image: 2000 1.3x to 4x torch, 384 level with it, 80 to 160 0.8x.
constexpr int64_t kFewPositionsWeight = 1024;
// Of packed panel per thread.
constexpr int64_t kPanelBytes = 4 * 1024 * 1024;
// Of the packed rows of grad_weight.
constexpr int64_t kSlabBytes = 16 * 1024 * 1024;
// Computed positions per wanted one: halo and rounding.
constexpr int64_t kWaste = 2;

constexpr Verdict refuse(const char* why) { return Verdict::refuse(why); }

struct Traits {
  bool stride_one;  // no axis is strided
  bool one_tap;     // at most one tap for every output
  bool odd;         // some output extent is no multiple of the stride, or a residue has no taps
  bool dilated;
  int64_t source, destination;  // channels per group
  int64_t positions;            // of one sample
};

Traits traits_of(const Description& d) {
  const Problem& p = d.problem;
  const Extent3 output = p.output();
  Traits t{true, true, false, false, 0, 0, volume(p.input)};
  for (int a = 0; a < 3; ++a) {
    t.stride_one = t.stride_one && p.stride[a] == 1;
    t.one_tap = t.one_tap && p.kernel[a] <= p.stride[a] && p.dilation[a] == 1;
    t.odd = t.odd || output[a] % p.stride[a] != 0 || p.kernel[a] < p.stride[a];
    t.dilated = t.dilated || (p.dilation[a] != 1 && p.kernel[a] != 1);
  }
  const bool forward = d.direction == Direction::forward;
  t.source = forward ? p.in_channels_per_group() : p.out_channels_per_group();
  t.destination = forward ? p.out_channels_per_group() : p.in_channels_per_group();
  return t;
}

bool small_groups(const Problem& p, const Traits& t, int64_t most = kSmallGroup) {
  return p.groups > 1 && std::max(t.source, t.destination) <= most;
}

// torch leaves its fast kernels for the sake of a bias: 1.2 to 110 times slower than without one.
bool bias_slows_torch(const Description& d, const Traits& t) {
  if (d.direction != Direction::forward || !d.has_bias || d.precision == Precision::fp64) {
    return false;
  }
  const bool narrow = d.precision == Precision::bf16 || d.precision == Precision::fp16;
  if (!narrow && useful_flops(d.problem) < 2 * kFewProducts) return false;
  const bool groups = small_groups(d.problem, t);
  if (t.stride_one) return groups && d.precision == Precision::bf16;
  return groups || t.odd || t.dilated;
}

Verdict select_fp64(const Problem& p, const Traits& t) {
  // torch has a single column buffer path for float64.
  if (t.positions < kFewDouble) return refuse("too few positions");
  if (p.groups == 1 && std::min(t.source, t.destination) == 1) {
    return refuse("float64 with one channel: torch's matrix product wins");
  }
  return Verdict::accept();
}

// Where torch, for float32, takes a matrix product and a column buffer instead of oneDNN.
bool torch_takes_columns(const Problem& p) {
  return p.groups == 1 && p.batch == 1 && p.in_channels * p.input[0] * p.input[1] <= kColumnBuffer;
}

// float32, or float16 computed in it; NCDHW.
Verdict select_fp32(const Problem& p, const Traits& t) {
  if (small_groups(p, t, t.stride_one && !t.one_tap ? kTinyGroup : kSmallGroup)) {
    return p.batch * t.positions < kFewShuffled ? refuse("too few positions") : Verdict::accept();
  }
  if (t.stride_one && !t.one_tap) return refuse("stride 1: torch's dense convolution wins");
  if (t.one_tap) {
    if (p.batch * t.positions < kFewShuffled) return refuse("too few positions");
    if (t.source > kManyShuffled) return refuse("too many channels");
    return Verdict::accept();
  }
  if (t.positions < kFewPositions) return refuse("too few positions");
  if (!t.odd && !t.dilated && t.destination > kTinyOutput &&
      volume(p.kernel) > kManyTaps * volume(p.stride)) {
    return refuse("many taps and an even output: torch's own path is as fast");
  }
  if (t.destination <= kTinyOutputDirect && torch_takes_columns(p)) {
    return refuse("tiny output of a small input: torch's matrix product is as fast");
  }
  const int64_t most = t.destination <= kTinyOutputDirect ? kManyForTinyOutput : kManyChannels;
  return t.source > most ? refuse("too many channels") : Verdict::accept();
}

// bfloat16, NCDHW: oneDNN has dot products at twice the rate where the shapes suit it.
Verdict select_bf16(const Problem& p, const Traits& t, bool torch_is_slow) {
  const Verdict as_fp32 = select_fp32(p, t);
  if (!as_fp32.ok || torch_is_slow || small_groups(p, t, kTinyGroup)) return as_fp32;
  if (t.dilated && p.groups == 1) return Verdict::accept();
  if (t.one_tap && t.source <= kManyForBFloat16) return Verdict::accept();
  if (t.destination <= kTinyOutput && t.source <= kManyForBFloat16TinyOutput && p.groups == 1) {
    return Verdict::accept();
  }
  return refuse("bfloat16: torch's dot products win");
}

// channels_last_3d is oneDNN's own layout: only what it has no kernel for.
Verdict select_channels_last(const Problem& p, const Traits& t, bool bf16, bool torch_is_slow) {
  const Verdict as_fp32 = select_fp32(p, t);
  if (!as_fp32.ok || (!bf16 && torch_takes_columns(p))) return as_fp32;
  if (small_groups(p, t)) {
    const int64_t most = !bf16 ? kTinyGroup : torch_is_slow ? kSmallGroup : kTinyGroupBFloat16Last;
    if (small_groups(p, t, most)) return Verdict::accept();
    return refuse("channels_last: torch's own layout");
  }
  if (p.groups > 1) return refuse("channels_last: torch's own layout");
  if (t.destination <= (bf16 ? 2 : kTinyOutputDirect) && !t.one_tap &&
      (!bf16 || t.source <= kManyForBFloat16TinyOutput)) {
    return Verdict::accept();
  }
  return refuse("channels_last: torch's own layout");
}

Verdict select_grad_input(const Description& d, const Traits& t) {
  const Problem& p = d.problem;
  if (d.precision == Precision::fp64) {
    if (t.stride_one || t.positions < kFewPositions || small_groups(p, t)) {
      return refuse("torch computes the gradient as fast");
    }
    return select_fp64(p, t);
  }
  if (d.precision == Precision::bf16 && !aten::wrong_in_bfloat16(d)) {
    return refuse("bfloat16: torch's dot products win");
  }
  if (t.stride_one || !t.one_tap) return refuse("a strided convolution: torch is as fast");
  if (t.positions < kFewPositions) return refuse("too few positions");
  if (std::max(t.source, t.destination) > kManyShuffled) return refuse("too many channels");
  if (p.groups == 1 && t.source < kTinyOutput) return refuse("few channels: torch is as fast");
  if (p.groups > 1 && !small_groups(p, t)) return refuse("groups of many channels");
  return Verdict::accept();
}

Verdict select_grad_weight(const Description& d, const Traits& t) {
  const Problem& p = d.problem;
  const int64_t few = std::min(t.source, t.destination), many = std::max(t.source, t.destination);
  if (few < kFewChannels) {
    if (few > kTinyGroupWeight || p.groups < kFewGroupsWeight || volume(p.kernel) == 1) {
      return refuse("grad_weight of few channels: vectors stay empty");
    }
    if (useful_flops(p) < 2 * kFewProducts) return refuse("too little work");
    return Verdict::accept();
  }
  const bool bf16 = d.precision == Precision::bf16;
  if (bf16 && aten::wrong_in_bfloat16(d)) return Verdict::accept();
  if (d.precision == Precision::fp64) return refuse("float64: torch computes grad_weight as fast");
  if (useful_flops(p) < 2 * kFewProducts) return refuse("too little work");
  if (p.groups > 1) {
    if (t.one_tap || many > kSmallGroup) return refuse("groups that torch computes as fast");
    if (d.weight == Layout::ncdhw) return Verdict::accept();
    return refuse("channels_last: torch's own layout");
  }
  if (bf16) return refuse("bfloat16: torch's dot products win");
  if (torch_takes_columns(p)) {
    // Which gives NCDHW: a channels_last result would be copied.
    if (d.weight == Layout::ndhwc || t.positions >= kFewPositionsWeight) return Verdict::accept();
    return refuse("too few positions");
  }
  return refuse("torch computes grad_weight as fast");
}

// One channel is dense in either layout, and is described as NCDHW.
bool is_layout(Layout layout, const Description& d) {
  const bool input =
      d.input == layout || (d.input != Layout::strided && d.problem.in_channels == 1);
  const bool output =
      d.output == layout || (d.output != Layout::strided && d.problem.out_channels == 1);
  return input && output && (d.input == layout || d.output == layout);
}

Verdict select(const Description& d) {
  const Problem& p = d.problem;
  const Traits t = traits_of(d);
  if (d.direction == Direction::grad_weight) return select_grad_weight(d, t);
  if (useful_flops(p) < 2 * kFewProducts) return refuse("too little work");
  const bool channels_last = is_layout(Layout::ndhwc, d);
  if (!channels_last && !is_layout(Layout::ncdhw, d)) {
    return refuse("input and output differ in layout, or are not dense");
  }
  if (d.direction == Direction::grad_input) {
    if (channels_last) return refuse("channels_last: torch's own layout");
    return select_grad_input(d, t);
  }
  if (d.precision == Precision::fp64) return select_fp64(p, t);
  const bool bf16 = d.precision == Precision::bf16;
  const bool torch_is_slow = bias_slows_torch(d, t);
  if (channels_last) return select_channels_last(p, t, bf16, torch_is_slow);
  return bf16 ? select_bf16(p, t, torch_is_slow) : select_fp32(p, t);
}

}  // namespace

bool bias_slows_torch(const Description& description) {
  return bias_slows_torch(description, traits_of(description));
}

Verdict select_residue_gemm(const Description& description, const Device&) {
  const Verdict verdict = select(description);
  if (!verdict.ok) return verdict;
  if (description.direction == Direction::grad_weight) {
    if (row_weight::panel_bytes(description) > kSlabBytes) {
      return refuse("the packed rows of one slab are too large");
    }
    return verdict;
  }
  const FlatConvolution f = flat_convolution(description);
  if (f.panel_elements() * compute_bytes(description.precision) > kPanelBytes) {
    return refuse("the packed source of one tile is too large");
  }
  if (f.flat > kWaste * volume(f.tile) + kPositionBlock) {
    return refuse("the halo outweighs the tile");
  }
  return Verdict::accept();
}

}  // namespace convt3d::cpu
