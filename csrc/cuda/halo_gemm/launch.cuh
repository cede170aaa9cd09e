// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>
#include <array>
#include <numeric>

#include "cuda/common/alignment.h"
#include "cuda/common/bias_fill.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/kept_answer.h"
#include "cuda/common/launch.h"
#include "cuda/halo_gemm/batch_launch.cuh"
#include "cuda/halo_gemm/call.h"
#include "cuda/halo_gemm/kernel.cuh"
#include "cuda/halo_gemm/product.h"
#include "cuda/halo_gemm/shared_line.cuh"
#include "cuda/halo_gemm/weight_boxes.h"
#include "cuda/halo_gemm/weight_pack.cuh"
#include "cuda/sm90/row_pack.h"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {

// `ordered`: from the residue of output 0 on.
inline Axis make_axis(const Product& product, int axis, bool ordered = false) {
  const Problem& problem = product.problem;
  const auto& residues = product.axis[axis];
  Axis result{};
  if (ordered)
    result.first_residue = static_cast<int>(problem.padding[axis] % problem.stride[axis]);
  int taps = 0;
  int64_t first = INT64_MAX, last = INT64_MIN;
  for (size_t r = 0; r < residues.size(); ++r) {
    const ProductResidue& residue = residues[(r + result.first_residue) % residues.size()];
    result.residue[result.residues++] = {
        static_cast<int>(residue.first_output), static_cast<int>(residue.num_outputs),
        static_cast<int>(residue.first_tap),    static_cast<int>(residue.num_taps),
        static_cast<int>(residue.first_input),  taps,
        static_cast<int>(residue.input_offset)};
    taps += static_cast<int>(residue.num_taps);
    result.input_step = static_cast<int>(residue.input_step);
    result.tap_step = static_cast<int>(residue.tap_step);
    if (residue.num_taps == 0) continue;
    first = std::min(first, residue.first_input - (residue.num_taps - 1) * residue.input_step);
    last = std::max(last, residue.first_input);
  }
  result.halo_first = static_cast<int>(first);
  result.halo_span = static_cast<int>(last - first);
  result.stride = static_cast<int>(problem.stride[axis]);
  result.dilation = static_cast<int>(problem.dilation[axis]);
  result.kernel = static_cast<int>(problem.kernel[axis]);
  result.input = static_cast<int>(problem.input[axis]);
  result.input_stride = static_cast<int>(product.input_stride[axis]);
  return result;
}

// Which work there is, and in which order.
inline void set_work(const Problem& problem, Params* p) {
  const auto& axis = p->axis;
  // Of output + padding = stride * plane + tap.
  const int stride = axis[0].stride;
  p->padding = static_cast<int>(problem.padding[0]);
  p->outputs = static_cast<int>(problem.output()[0]);
  p->first_plane = p->padding / stride;
  p->marching_steps = (p->outputs - 1 + p->padding) / stride - p->first_plane + 1;
  const auto with_taps = [&](const Axis& of) {
    return static_cast<int>(std::count_if(of.residue, of.residue + of.residues,
                                          [](const Residue& r) { return r.num_taps > 0; }));
  };
  const int plane_taps = axis[1].kernel * axis[2].kernel;
  const int classes = with_taps(axis[1]) * (p->fused > 1 ? 1 : with_taps(axis[2]));
  p->segment_planes = static_cast<int>(ceil_div(p->marching_steps, p->segments));
  p->segment_cost = (plane_taps + classes) * p->segment_planes * p->column_tiles;
  const int residues = static_cast<int>(volume(problem.stride));
  std::array<int, kMaxResidues> taps;
  for (int r = 0; r < residues; ++r) {
    p->order[r] = static_cast<unsigned char>(r);
    taps[r] = axis[2].residue[r % axis[2].stride].num_taps *
              axis[1].residue[r / axis[2].stride % axis[1].stride].num_taps *
              axis[0].residue[r / axis[2].stride / axis[1].stride].num_taps;
  }
  std::stable_sort(p->order, p->order + residues,
                   [&](unsigned char a, unsigned char b) { return taps[a] > taps[b]; });
  // Those without taps are not items: bias_fill.h.
  const auto items = p->sum_residues > 1 ? 1
                                         : std::count_if(taps.begin(), taps.begin() + residues,
                                                         [](int each) { return each > 0; });
  p->residue_items = p->column_tiles * p->tiles * p->strips;
  p->items = static_cast<unsigned>(p->residue_items * items);
  if (p->batch == 1 && p->sum_residues == 1) {
    int outside = 0;  // planes whose taps do not all reach the input
    for (int r = 0; r < axis[0].residues; ++r) {
      const Residue& of_d = axis[0].residue[r];
      outside = std::max(outside, (of_d.num_taps - 1) * axis[0].input_step - of_d.first_input);
    }
    const int64_t before = int64_t{outside} * p->lines * p->pitch;
    p->first_tile = static_cast<int>(before / (p->warpgroups * kGroupRows) % p->tiles);
  }
}

// Whether every line of the output, and what a lane has of it, starts at an even element.
inline bool lines_are_even(const TensorView& output, int64_t width, int64_t pair, const Params& p) {
  bool even = reinterpret_cast<uintptr_t>(output.data) % static_cast<uintptr_t>(pair) == 0 &&
              width % 2 == 0;
  for (int dim : {0, 1, 2, 3}) even = even && output.stride[dim] % 2 == 0;
  if (p.fused > 1) return even;
  return even && p.axis[2].stride == 1 && p.pitch % 2 == 0 && (p.strips == 1 || p.strip % 2 == 0);
}

// Whether every line of the output, and what a lane has of it, starts at a multiple of 16 bytes,
// with both residues of w.
inline bool lines_are_pieces(const TensorView& output, int64_t width, int64_t bytes,
                             const Params& p) {
  const int64_t elements = 16 / bytes, positions = elements / 2;
  bool whole = p.fused > 1 && is_aligned(output.data) && width % elements == 0;
  for (int dim : {0, 1, 2, 3}) whole = whole && output.stride[dim] % elements == 0;
  return whole && p.pitch % positions == 0 && (p.strips == 1 || p.strip % positions == 0);
}

// At most a plane, and so many that tiles in two planes have boxes of them too.
inline int box_lines(const Config& config) {
  return std::clamp(config.stage_rows / config.pitch / 2, 1, std::min(config.lines, kMaxBoxLines));
}

// Whether the weight stays as it is. Its strides are those of its layout.
inline bool takes_boxes(const Call& call) {
  return call.config.weight_as_is && is_aligned(call.operands.weight.data);
}

// How many counters Params::joining has.
inline int arrived(const Config& config) {
  return static_cast<int>(arrived_bytes(config) / int64_t{sizeof(unsigned)});
}

// The tensor that the product writes. One that is turned lies behind all else in the workspace, as
// rows of channels.
inline TensorView result(const Call& call) {
  const Product product = make_product(call.description);
  const Config& config = call.config;
  if (!config.turned) return product.reversed ? call.operands.input : call.operands.output;
  const Extent3 e = product.reversed ? call.description.problem.input : product.problem.output();
  const int64_t row = product.problem.out_channels;
  return {static_cast<unsigned char*>(call.workspace) +
              packed_weight_bytes(call.description, config) +
              packed_input_bytes(call.description, config) + parked_bytes(config, call.device),
          {volume(e) * row, 1, e[1] * e[2] * row, e[2] * row, row}};
}

inline Params make_params(const Call& call) {
  const Product product = make_product(call.description);
  const Problem& problem = product.problem;
  const Operands& operands = call.operands;
  const Config& config = call.config;
  const TensorView output = result(call);
  Params p{};
  p.packed = static_cast<const unsigned char*>(call.workspace);
  p.bias = operands.bias;
  p.output = output.data;
  p.bias_stride = operands.bias_stride;
  std::copy(output.stride.begin(), output.stride.end(), p.output_stride);
  p.reversed = product.reversed;
  for (int a = 0; a < 3; ++a) p.axis[a] = make_axis(product, a, config.fused > 1 && a == 2);
  if (config.slots == kPairSlots) {  // of the input planes that a pair reads
    ++p.axis[0].kernel;
    ++p.axis[0].residue[0].num_taps;
    ++p.axis[0].residue[0].first_input;
  }
  p.sum_residues = product.sums ? p.axis[0].residues * p.axis[1].residues * p.axis[2].residues : 1;
  p.batch = static_cast<int>(problem.batch);
  p.in_channels = static_cast<int>(problem.in_channels);
  p.out_channels = static_cast<int>(problem.out_channels);
  p.fused = config.fused;
  p.warpgroups = config.warpgroups;
  p.steps = config.steps;
  p.chunks = config.chunks;
  p.chunk_channels =
      config.steps * 32 / static_cast<int>(element_bytes(call.description.precision));
  p.column_tiles = static_cast<int>(ceil_div(problem.out_channels, config.channels));
  p.strip = config.strip;
  p.pitch = config.pitch;
  p.lines = config.lines;
  p.planes = config.planes;
  p.strips = config.strips;
  p.tiles = static_cast<int>(config.tiles);
  p.box_lines = box_lines(config);
  p.stage_bytes = config.stage_rows * kRowBytes;
  const int block_bytes = config.steps * 32 * config.slots * config.channels;
  p.weight_bytes = config.weight_stages * config.weight_group * block_bytes;
  p.input_stages = config.input_stages;
  p.weight_stages = config.weight_stages;
  p.weight_group = config.weight_group;
  p.resident = config.resident;
  p.packed_input = config.packed_input;
  p.weight_rows = config.weight_rows;
  p.weight_as_is = takes_boxes(call);
  const int64_t bytes = element_bytes(call.description.precision);
  p.tile_runs = static_cast<int>(config.channels / run_channels(bytes));
  p.parking_chunks = config.parking_chunks;
  p.parking.memory = reinterpret_cast<float*>(static_cast<unsigned char*>(call.workspace) +
                                              packed_weight_bytes(call.description, config) +
                                              packed_input_bytes(call.description, config));
  if (config.sharing_blocks > 0) {
    p.joining.memory = p.parking.memory + parked_bytes(config, call.device) / 4;
    p.joining.arrived = reinterpret_cast<unsigned*>(p.joining.memory + joined_bytes(config) / 4);
    p.joining.threads = config.warpgroups * 128;
  }
  if (config.lines_out) {
    const auto bytes = static_cast<int>(element_bytes(call.description.precision));
    const Problem& whole = call.description.problem;
    const int64_t width = product.reversed ? whole.input[2] : whole.output()[2];
    p.stretches = config.stretches;
    p.line_bytes = config.stretches ? stretch_bytes(bytes) : line_bytes(config.fused, bytes);
    p.line_pairs = lines_are_even(output, width, 2 * bytes, p);
    p.line_pieces = lines_are_pieces(output, width, bytes, p);
  }
  p.whole_segments = config.segments > 0;
  p.segments = std::max(config.segments, 1);
  set_work(problem, &p);
  if (config.sharing_blocks > 0) {
    const SharedLine line = kept_answer(call.description, call.device,
                                        [&] { return cut_line(p, config.sharing_blocks); });
    std::copy(line.starts.begin(), line.starts.end(), p.starts);
    std::copy(line.item_planes.begin(), line.item_planes.end(), p.item_planes);
  }
  return p;
}

// Where the rows of channels of the input go: behind the weight in the workspace.
inline TensorView packed_input(const Call& call) {
  const Extent3 e = make_product(call.description).problem.input;
  const int64_t row = packed_channels(call.description);
  return {static_cast<unsigned char*>(call.workspace) +
              packed_weight_bytes(call.description, call.config),
          {volume(e) * row, 1, e[1] * e[2] * row, e[2] * row, row}};
}

// The tensor that the product reads.
inline const TensorView& read_operand(const Call& call) {
  return call.description.direction == Direction::grad_input ? call.operands.output
                                                             : call.operands.input;
}

// Of h and d the kernel itself picks a residue's inputs, of w the maps do.
inline Maps make_maps(const Call& call) {
  const Product product = make_product(call.description);
  const Problem& problem = product.problem;
  const TensorView input = call.config.packed_input ? packed_input(call) : read_operand(call);
  const auto& s = input.stride;
  const auto bytes = static_cast<int>(element_bytes(call.description.precision));
  Maps maps{};
  for (size_t r = 0; r < (product.sums ? product.axis[2].size() : 1); ++r) {
    const ProductResidue& residue = product.axis[2][r];
    if (residue.num_taps == 0 && product.sums) continue;
    if (call.config.batch_rows > 0) {
      maps.of_w[r] = maps.lines_of_w[r] = sm90::encode(batch_box(call, input, residue));
      continue;
    }
    sm90::TensorBox lines{
        static_cast<const unsigned char*>(input.data) + residue.input_offset * s[4] * bytes,
        call.description.precision,
        {problem.in_channels, residue.inputs, problem.input[1], problem.input[0], problem.batch},
        {1, s[4] * product.input_stride[2], s[3], s[2], s[0]},
        {kRowBytes / bytes, call.config.pitch, 1, 1, 1}};
    maps.of_w[r] = sm90::encode(lines);
    lines.box[2] = box_lines(call.config);
    lines.step[2] = static_cast<int>(product.input_stride[1]);
    maps.lines_of_w[r] = sm90::encode(lines);
  }
  if (takes_boxes(call)) {
    maps.weight =
        weight_boxes(call.operands.weight.data, call.description.precision, volume(problem.kernel),
                     problem.in_channels, problem.out_channels, call.config.channels);
  }
  return maps;
}

using Kernel = void (*)(Params, Maps);

template <typename T, int kSlots, int kChannels, int kFused, int kSteps>
Kernel kernel_of_layout(const Config& config) {
  if constexpr (!marches(kSlots)) {
    if (config.sharing_blocks > 0) {
      return config.lines_out ? halo_gemm_kernel<T, kSlots, kChannels, kFused, kSteps, true, true>
                              : halo_gemm_kernel<T, kSlots, kChannels, kFused, kSteps, false, true>;
    }
  }
  return config.lines_out ? halo_gemm_kernel<T, kSlots, kChannels, kFused, kSteps, true, false>
                          : halo_gemm_kernel<T, kSlots, kChannels, kFused, kSteps, false, false>;
}

template <typename T, int kSlots, int kChannels, int kFused = 1>
Kernel kernel_of_steps(const Config& config) {
  switch (config.steps) {
    case 1:
      if constexpr (is_built(kSlots, kFused, 1)) {
        return kernel_of_layout<T, kSlots, kChannels, kFused, 1>(config);
      }
      return nullptr;
    case 2:
      if constexpr (is_built(kSlots, kFused, 2)) {
        return kernel_of_layout<T, kSlots, kChannels, kFused, 2>(config);
      }
      return nullptr;
    case 3:
      if constexpr (is_built(kSlots, kFused, 3)) {
        return kernel_of_layout<T, kSlots, kChannels, kFused, 3>(config);
      }
      return nullptr;
    default:
      return kernel_of_layout<T, kSlots, kChannels, kFused, 4>(config);
  }
}

template <typename T>
Kernel kernel_of(const Config& config) {
  constexpr int kSlots = kMarchingSlots;
  if (config.slots == kPairSlots) return kernel_of_steps<T, kPairSlots, kPairChannels>(config);
  switch (config.slots == 1 ? 0 : config.channels) {
    case 16:
      return kernel_of_steps<T, kSlots, 16>(config);
    case 24:
      return config.fused == 2 ? kernel_of_steps<T, kSlots, 24, 2>(config)
                               : kernel_of_steps<T, kSlots, 24>(config);
    case 32:
      return config.fused == 2 ? kernel_of_steps<T, kSlots, 32, 2>(config)
                               : kernel_of_steps<T, kSlots, 32>(config);
    case 48:
      return kernel_of_steps<T, kSlots, 48>(config);
    case 64:
      return kernel_of_steps<T, kSlots, 64>(config);
  }
  switch (config.channels) {
    case 32:
      return kernel_of_steps<T, 1, 32>(config);
    case 64:
      return kernel_of_steps<T, 1, 64>(config);
    case 96:
      return kernel_of_steps<T, 1, 96>(config);
    default:
      return kernel_of_steps<T, 1, 128>(config);
  }
}

// `second`: of this call's launches.
inline void pack_input(const Call& call, bool second) {
  const Problem problem = make_product(call.description).problem;
  const TensorView& input = read_operand(call);
  sm90::pack_rows({input.data, input.stride, problem.batch, problem.in_channels, problem.input,
                   element_bytes(call.description.precision),
                   const_cast<void*>(packed_input(call).data), second},
                  call.stream);
}

template <typename T, int kTaps>
void launch_pack(const Call& call, const Params& p, const dim3& grid, const WeightPack& pack) {
  const PackPlaces<kTaps> places =
      pack_places<T, kTaps>(p, pack.slots, pack.channels, call.config.stretches);
  pack_kernel<T, kTaps><<<grid, kPackThreads, 0, call.stream>>>(pack, places);
  check(cudaGetLastError(), "halo_gemm pack_kernel");
}

template <typename T>
void pack_weight(const Call& call, const Params& p) {
  const TensorView& weight = call.operands.weight;
  const Config& config = call.config;
  constexpr int kVector = 16 / sizeof(T);
  WeightPack pack{};
  pack.weight = weight.data;
  pack.packed = static_cast<unsigned char*>(call.workspace);
  std::copy(weight.stride.begin(), weight.stride.end(), pack.stride);
  if (p.reversed) std::swap(pack.stride[0], pack.stride[1]);
  // 16 bytes of the second dimension begin at a multiple of them only if all do.
  const int second = p.reversed ? p.in_channels : p.out_channels;
  const bool aligned = is_aligned(weight.data) && second % kVector == 0;
  const Layout layout = aligned ? call.description.weight : Layout::strided;
  pack.order = layout == Layout::ncdhw   ? WeightOrder::taps_last
               : layout == Layout::ndhwc ? WeightOrder::channels_last
                                         : WeightOrder::strided;
  pack.reversed = p.reversed;
  pack.rows = p.weight_rows;
  pack.in_channels = p.in_channels;
  pack.out_channels = p.out_channels;
  pack.steps = p.steps;
  pack.slots = config.slots;
  pack.channels = config.channels;
  pack.pieces = 2 * config.steps * config.chunks;
  pack.outs = p.column_tiles * config.channels;
  int taps = 1;
  const Problem problem = make_product(call.description).problem;
  for (int a = 0; a < 3; ++a) taps *= pack.kernel[a] = static_cast<int>(problem.kernel[a]);
  pack.tile_units = pack.pieces * packed_taps(problem, config.slots) * config.channels;
  pack.zeros = p.joining.arrived;
  pack.num_zeros = arrived(config);
  dim3 grid(static_cast<unsigned>(pack.pieces),
            static_cast<unsigned>(ceil_div(pack.outs * taps, kVector * kPackThreads)));
  if (p.reversed && pack.order == WeightOrder::taps_last) {
    const int fits = kPackedElements / (kVector * (taps | 1));
    pack.ins = std::min(pack.pieces, fits < 8 ? fits : fits / 8 * 8) * kVector;
    grid = {static_cast<unsigned>(pack.outs),
            static_cast<unsigned>(ceil_div(pack.pieces * kVector, pack.ins))};
  } else if (p.reversed || pack.order == WeightOrder::strided) {
    constexpr int64_t kMaxRow = 1 << 15;  // limit: 65535
    const int64_t units = int64_t{pack.pieces} * pack.outs * taps;
    const int64_t blocks = ceil_div(units, kPackThreads * kPackUnits);
    grid = {static_cast<unsigned>(std::min(blocks, kMaxRow)),
            static_cast<unsigned>(ceil_div(blocks, kMaxRow))};
  }
  taps <= kFewTaps ? launch_pack<T, kFewTaps>(call, p, grid, pack)
                   : launch_pack<T, kMaxTaps>(call, p, grid, pack);
}

template <Precision kPrecision>
void run(const Call& call) {
  using T = ElementOf<kPrecision>;
  const Config& config = call.config;
  const Params p = make_params(call);
  const Maps maps = make_maps(call);
  if (fills_with_bias(call.description)) {
    fill_with_bias(call.description, call.operands, call.stream);
  }
  bool second = true;  // is the next launch of this call, or a later one
  if (!p.weight_as_is) {
    pack_weight<T>(call, p);
  } else if (config.joins) {
    zero_kernel<<<1, kPackThreads, 0, call.stream>>>(p.joining.arrived, arrived(config));
    check(cudaGetLastError(), "halo_gemm zero_kernel");
  } else {
    second = false;
  }
  if (config.packed_input) {
    pack_input(call, second);
    second = true;
  }
  if (config.batch_rows > 0) return run_batch<T>(call, p, maps, second);
  const Kernel kernel = kernel_of<T>(config);
  allow_shared_memory(kernel, "halo_gemm shared memory");
  const bool marching = marches(config.slots);
  const auto sms = static_cast<unsigned>(call.device.num_sms);
  const unsigned blocks = config.sharing_blocks > 0 ? static_cast<unsigned>(config.sharing_blocks)
                          : marching                ? sms
                                                    : std::min(p.items, sms);
  const auto threads = static_cast<unsigned>((config.warpgroups + 1) * 128);
  launch_grid("halo_gemm kernel", kernel, {blocks, threads, kSharedBytes, call.stream, second}, p,
              maps);
}

}  // namespace convt3d::cuda::halo_gemm
