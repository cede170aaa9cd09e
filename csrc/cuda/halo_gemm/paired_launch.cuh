// SPDX-License-Identifier: BSD-3-Clause
// From a call of paired.h to its launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>

#include "cuda/common/bias_fill.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/halo_gemm/launch.cuh"
#include "cuda/halo_gemm/paired_call.h"
#include "cuda/halo_gemm/paired_kernel.cuh"

namespace convt3d::cuda::halo_gemm {

// A tap's place in the blocks of one chunk: of d and h its residue's taps, and which of them it is;
// of w its block, and half of that (or both, 64 rows: -1).
struct PairedTap {
  short before, count, at;
};
struct PairedSlot {
  short matrix, at, half, tap;  // tap -1: zeros
};

// The weight as A: [column tile][residue of d, h][tap of d][chunk][matrix][tap of h][tap of w]
// [row][64 bytes], 16-byte pieces where the swizzle has them. TF32 is rounded to nearest even.
struct PairedPack {
  const void* weight;
  uint4* packed;
  int64_t stride[5];
  int kernel[3], channels, sources, matrices, chunks, blocks, rows, slots;
  int count[2];  // taps of w of each matrix
  int64_t units;
  PairedTap of_d[kPairedMaxKernel], of_h[kPairedMaxKernel];
  PairedSlot slot[2 * (2 * kPairedMaxKernel)];
};

inline constexpr int kPairedPackThreads = 128;

// Slots of w are the fastest, so that taps are read side by side.
template <typename T>
__global__ void __launch_bounds__(kPairedPackThreads)
    paired_pack_kernel(const __grid_constant__ PairedPack p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  sm90::let_next_launch_start();
  constexpr int kVector = 16 / sizeof(T), kPieces = kPairedRowBytes / 16;
  const int64_t unit = blockIdx.x * int64_t{kPairedPackThreads} + threadIdx.x;
  if (unit >= p.units) return;
  auto at = static_cast<unsigned>(unit);
  const PairedSlot slot = p.slot[take(&at, p.slots)];
  const int kernel_h = take(&at, p.kernel[1]), kernel_d = take(&at, p.kernel[0]);
  const int piece = take(&at, kPieces * p.chunks), channel = take(&at, p.rows);
  const int tile = static_cast<int>(at), chunk = piece / kPieces;
  const PairedTap d = p.of_d[kernel_d], h = p.of_h[kernel_h];
  const int row = p.matrices == 1 ? channel / 8 * 16 + slot.half * 8 + channel % 8 : channel;
  const int out = tile * p.rows + channel;
  alignas(16) T values[kVector];
  const T* const from = static_cast<const T*>(p.weight) + out * p.stride[1] +
                        kernel_d * p.stride[2] + kernel_h * p.stride[3] + slot.tap * p.stride[4];
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    const int source = piece * kVector + v;
    const bool there = out < p.channels && source < p.sources && slot.tap >= 0;
    values[v] = there ? from[source * p.stride[0]] : T();
    if constexpr (sizeof(T) == 4) values[v] = round_to_tf32(values[v]);
  }
  int64_t block = (tile * p.kernel[0] + d.before) * p.kernel[1] + d.count * h.before;
  block = (block + d.at * h.count) * (p.chunks * p.blocks) + chunk * h.count * p.blocks;
  block += (slot.matrix * p.count[0] * h.count) + h.at * p.count[slot.matrix] + slot.at;
  const int place = piece % kPieces ^ (row / 2 % 4);
  p.packed[(block * kPairedBlockRows + row) * kPieces + place] =
      *reinterpret_cast<const uint4*>(values);
#endif
}

inline void set_taps(const Axis& axis, PairedTap* taps) {
  for (int r = 0; r < axis.residues; ++r) {
    const Residue& of = axis.residue[r];
    for (int j = 0; j < of.num_taps; ++j) {
      taps[of.first_tap + j * axis.tap_step] = {static_cast<short>(of.taps_before),
                                                static_cast<short>(of.num_taps),
                                                static_cast<short>(j)};
    }
  }
}

template <typename T>
void pack_paired_weight(const PairedCall& call, const Params& p, const PairedParams& q) {
  const PairedConfig& config = call.config;
  const TensorView& weight = call.operands.weight;
  PairedPack pack{};
  pack.weight = weight.data;
  pack.packed = static_cast<uint4*>(call.workspace);
  std::copy(weight.stride.begin(), weight.stride.end(), pack.stride);
  for (int a = 0; a < 3; ++a) {
    pack.kernel[a] = static_cast<int>(call.description.problem.kernel[a]);
  }
  pack.channels = p.out_channels;
  pack.sources = p.in_channels;
  pack.matrices = config.matrices;
  pack.chunks = config.chunks;
  pack.blocks = config.blocks;
  pack.rows = paired_channels(config.matrices);
  set_taps(p.axis[0], pack.of_d);
  set_taps(p.axis[1], pack.of_h);
  for (int m : {0, 1}) pack.count[m] = config.taps[m].count;
  for (int e = 0; e < 2; ++e) {
    const Residue& of = q.of_w[e];
    const int matrix = config.matrices == 1 ? 0 : e;
    for (int j = 0; j < config.taps[matrix].count; ++j) {
      // The row that tap j of the matrix reads, as a tap of the residue.
      const int row = config.taps[matrix].first - j * config.step_w;
      const int last = of.first_input - (e == 0 ? config.lead : 0) - config.halo_w;
      const int tap = (last - row) / config.step_w;
      const bool there = row <= last && tap < of.num_taps;
      pack.slot[pack.slots++] = {
          static_cast<short>(matrix), static_cast<short>(j), static_cast<short>(e),
          static_cast<short>(there ? of.first_tap + tap * q.tap_step_w : -1)};
    }
  }
  pack.units = int64_t{config.column_tiles} * pack.rows * pack.chunks * (kPairedRowBytes / 16) *
               pack.kernel[0] * pack.kernel[1] * pack.slots;
  const auto blocks = static_cast<unsigned>(ceil_div(pack.units, int64_t{kPairedPackThreads}));
  paired_pack_kernel<T><<<blocks, kPairedPackThreads, 0, call.stream>>>(pack);
  check(cudaGetLastError(), "halo_gemm paired_pack_kernel");
}

// Lines of a larger box: at most a plane, and so many that tiles in two planes have such boxes too.
inline int paired_box_lines(const PairedConfig& config) {
  return std::clamp(config.stage_rows / config.pitch / 2, 1, std::min(config.lines, kMaxBoxLines));
}

inline Params make_paired_base(const PairedCall& call) {
  const Product product = make_product(call.description);
  const PairedConfig& config = call.config;
  const TensorView& output = call.operands.output;
  Problem problem = product.problem;
  Params p{};
  p.packed = static_cast<const unsigned char*>(call.workspace);
  p.bias = call.operands.bias;
  p.output = output.data;
  p.bias_stride = call.operands.bias_stride;
  std::copy(output.stride.begin(), output.stride.end(), p.output_stride);
  p.axis[0] = make_axis(product, 0);
  p.axis[1] = make_axis(product, 1);
  // One residue that stands for both.
  Axis& w = p.axis[2];
  w.residues = w.stride = w.dilation = w.input_step = w.tap_step = w.input_stride = 1;
  w.kernel = config.span + 1;
  w.input = static_cast<int>(problem.input[2]);
  w.halo_first = config.halo_w;
  w.halo_span = config.span;
  w.residue[0] = {0, config.width, 0, config.span + 1, config.halo_w + config.span, 0, 0};
  problem.stride[2] = 1;
  p.sum_residues = p.fused = p.segments = 1;
  p.batch = static_cast<int>(problem.batch);
  p.in_channels = static_cast<int>(problem.in_channels);
  p.out_channels = static_cast<int>(problem.out_channels);
  p.warpgroups = paired_positions(config.matrices) / kGroupRows;
  p.chunks = config.chunks;
  p.chunk_channels = kPairedRowBytes / static_cast<int>(element_bytes(call.description.precision));
  p.column_tiles = config.column_tiles;
  p.strip = config.strip;
  p.pitch = config.pitch;
  p.lines = config.lines;
  p.planes = config.planes;
  p.strips = config.strips;
  p.tiles = config.tiles;
  p.box_lines = paired_box_lines(config);
  p.stage_bytes = config.stage_rows * kPairedRowBytes;
  set_work(problem, &p);
  return p;
}

// Where the rows of channels of the input go: behind the weight in the workspace.
inline TensorView paired_input(const PairedCall& call) {
  if (!call.config.packed_input) return call.operands.input;
  const Extent3 e = call.description.problem.input;
  const int64_t row = packed_channels(call.description);
  return {static_cast<unsigned char*>(call.workspace) +
              paired_weight_bytes(call.description, call.config),
          {volume(e) * row, 1, e[1] * e[2] * row, e[2] * row, row}};
}

inline PairedParams make_paired_params(const PairedCall& call, const Params& p) {
  const Product product = make_product(call.description);
  const PairedConfig& config = call.config;
  const Axis w = make_axis(product, 2);
  const int64_t bytes = element_bytes(call.description.precision);
  PairedParams q{};
  for (int m : {0, 1}) {
    q.taps[m] = config.taps[m];
    q.of_w[m] = w.residue[config.of[m]];
  }
  q.step_w = config.step_w;
  q.tap_step_w = w.tap_step;
  q.blocks = config.blocks;
  q.stages = config.stages;
  q.stage_bytes = config.stage_bytes;
  const int residues = static_cast<int>(p.items) / p.residue_items, tiles = p.tiles * p.strips;
  q.slab_tiles = std::max(1, call.device.num_sms / p.column_tiles);
  q.slabs = ceil_div(tiles, q.slab_tiles);
  q.slab_units = make_divisor(int64_t{q.slab_tiles} * residues * p.column_tiles);
  q.of_slab = make_divisor(q.slab_tiles);
  q.of_last_slab = make_divisor(tiles - (q.slabs - 1) * q.slab_tiles);
  q.tiles = make_divisor(p.tiles);
  q.column_tiles = make_divisor(p.column_tiles);
  q.pitch = make_divisor(p.pitch);
  q.lines = make_divisor(p.lines);
  q.planes = make_divisor(p.planes);
  for (int r = 0; r < residues; ++r) {
    q.order_d[r] = static_cast<unsigned char>(p.order[r] / p.axis[1].stride);
    q.order_h[r] = static_cast<unsigned char>(p.order[r] % p.axis[1].stride);
  }
  q.outputs = static_cast<int>(call.description.problem.output()[2]);
  q.lead = config.lead;
  q.leaks = config.leaks;
  q.aligned = config.lead == 0 && q.outputs % 4 == 0 && config.strip % 2 == 0 &&
              reinterpret_cast<uintptr_t>(p.output) % static_cast<uintptr_t>(4 * bytes) == 0;
  for (int dim : {0, 1, 2, 3}) q.aligned = q.aligned && p.output_stride[dim] % 4 == 0;
  const TensorView input = paired_input(call);
  q.input = input.data;
  q.weight = call.operands.weight.data;
  std::copy(input.stride.begin(), input.stride.end(), q.input_stride);
  std::copy(call.operands.weight.stride.begin(), call.operands.weight.stride.end(),
            q.weight_stride);
  return q;
}

inline PairedMaps make_paired_maps(const PairedCall& call, const Params& p) {
  const Problem& problem = call.description.problem;
  const TensorView input = paired_input(call);
  const auto& s = input.stride;
  sm90::TensorBox box{
      input.data,
      call.description.precision,
      {problem.in_channels, problem.input[2], problem.input[1], problem.input[0], problem.batch},
      {1, s[4], s[3], s[2], s[0]},
      {p.chunk_channels, p.pitch, 1, 1, 1}};
  PairedMaps maps{};
  maps.line = sm90::encode(box);
  box.box[2] = p.box_lines;
  maps.lines = sm90::encode(box);
  return maps;
}

template <Precision kPrecision>
void run_paired(const PairedCall& call) {
  using T = ElementOf<kPrecision>;
  const PairedConfig& config = call.config;
  const auto kernel = config.matrices == 1 ? paired_kernel<T, 1> : paired_kernel<T, 2>;
  allow_shared_memory(kernel, "halo_gemm shared memory");
  const Params p = make_paired_base(call);
  const PairedParams q = make_paired_params(call, p);
  const PairedMaps maps = make_paired_maps(call, p);
  if (fills_with_bias(call.description)) {
    fill_with_bias(call.description, call.operands, call.stream);
  }
  pack_paired_weight<T>(call, p, q);
  if (config.packed_input) {
    const Problem& problem = call.description.problem;
    const TensorView& input = call.operands.input;
    sm90::pack_rows({input.data, input.stride, problem.batch, problem.in_channels, problem.input,
                     element_bytes(call.description.precision), const_cast<void*>(q.input), true},
                    call.stream);
  }
  const unsigned blocks = std::min(p.items, static_cast<unsigned>(call.device.num_sms));
  sm90::launch_overlapping("halo_gemm paired_kernel", kernel,
                           {blocks, kPairedThreads, kSharedBytes, call.stream}, p, q, maps);
}

}  // namespace convt3d::cuda::halo_gemm
