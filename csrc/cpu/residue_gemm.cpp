// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/residue_gemm.h"

#include <algorithm>
#include <atomic>

#include "cpu/element.h"
#include "cpu/instruction_set.h"
#include "cpu/row_weight.h"
#include "cpu/selection.h"
#include "cpu/tile_kernel.h"
#include "geometry/ceil_div.h"

namespace convt3d::cpu::residue_gemm {
namespace {

constexpr int64_t kAlignment = 64;  // of the workspace and of every part of it

int64_t aligned(int64_t bytes) { return round_up(bytes, kAlignment); }

struct Workspace {
  int64_t weight, slice;  // bytes
};

Workspace workspace_of(const FlatConvolution& f, const Description& d) {
  const int64_t bytes = compute_bytes(d.precision);
  return {aligned(f.packed_weight_elements(d.problem) * bytes),
          aligned((f.panel_elements() + f.strip_elements()) * bytes)};
}

std::vector<ClassTaps> class_taps(const FlatConvolution& f) {
  std::vector<ClassTaps> all;
  int64_t weight = 0;
  for (const AxisClass& d : f.axis[0].classes) {
    for (const AxisClass& h : f.axis[1].classes) {
      for (const AxisClass& w : f.axis[2].classes) {
        ClassTaps taps{weight, {}};
        for (const AxisTap& td : d.taps) {
          for (const AxisTap& th : h.taps) {
            for (const AxisTap& tw : w.taps) {
              const int64_t plane =
                  (td.remainder * f.axis[1].remainders + th.remainder) * f.axis[2].remainders +
                  tw.remainder;
              const int64_t shift = (td.shift * f.box[1] + th.shift) * f.box[2] + tw.shift;
              taps.shifts.push_back(plane * f.panel_channels() * f.pitch + shift);
            }
          }
        }
        weight += static_cast<int64_t>(taps.shifts.size());
        all.push_back(std::move(taps));
      }
    }
  }
  return all;
}

// Offsets of the kernel's taps in the weight tensor, in the order of class_taps().
std::vector<int64_t> tap_offsets(const FlatConvolution& f, const TensorView& weight) {
  std::vector<int64_t> offsets;
  for (const AxisClass& d : f.axis[0].classes) {
    for (const AxisClass& h : f.axis[1].classes) {
      for (const AxisClass& w : f.axis[2].classes) {
        for (const AxisTap& td : d.taps) {
          for (const AxisTap& th : h.taps) {
            for (const AxisTap& tw : w.taps) {
              offsets.push_back(td.tap * weight.stride[2] + th.tap * weight.stride[3] +
                                tw.tap * weight.stride[4]);
            }
          }
        }
      }
    }
  }
  return offsets;
}

// [group][channel block][tap][source channel][row of the block], in the compute type.
template <class T>
void pack_weight(const FlatConvolution& f, const TensorView& weight, Compute<T>* packed,
                 const ParallelFor& parallel_for) {
  const std::vector<int64_t> offsets = tap_offsets(f, weight);
  const bool forward = f.direction == Direction::forward;
  const int64_t in_channels = forward ? f.source_channels : f.destination_channels;
  const int64_t source_stride = weight.stride[forward ? 0 : 1];
  const int64_t destination_stride = weight.stride[forward ? 1 : 0];
  const int64_t num_taps = static_cast<int64_t>(offsets.size());
  const int64_t row_elements = num_taps * f.source_channels;
  const int64_t blocks = (f.destination_channels + kChannelBlock - 1) / kChannelBlock;
  // A block of eight rows is cut here exactly as run_tile() cuts it.
  const int64_t grain = 1 + 65536 / (row_elements * kChannelBlock + 1);
  parallel_for(f.groups * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / blocks, first = item % blocks * kChannelBlock;
      const int64_t last = std::min(first + kChannelBlock, f.destination_channels);
      const T* from = static_cast<const T*>(weight.data) + group * in_channels * weight.stride[0];
      for (int64_t row = first, rows; row < last; row += rows) {
        rows = block_rows(row, f.destination_channels);
        Compute<T>* to = packed + (group * f.destination_channels + row) * row_elements;
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < f.source_channels; ++c) {
            const T* taps = from + c * source_stride + (row + r) * destination_stride;
            for (int64_t t = 0; t < num_taps; ++t) {
              to[(t * f.source_channels + c) * rows + r] = load_element(taps[offsets[t]]);
            }
          }
        }
      }
    }
  });
}

}  // namespace

Verdict supports(const Description& description, const Device& device) {
  return select_residue_gemm(description, device);
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  if (description.direction == Direction::grad_weight) {
    return row_weight::workspace_bytes(description, device);
  }
  const Workspace workspace = workspace_of(flat_convolution(description), description);
  return workspace.weight + workspace.slice * device.num_threads;
}

std::string config(const Description& description, const Device&) {
  if (description.direction == Direction::grad_weight) return row_weight::config(description);
  const FlatConvolution f = flat_convolution(description);
  auto extent = [](const Extent3& e) {
    return std::to_string(e[0]) + "x" + std::to_string(e[1]) + "x" + std::to_string(e[2]);
  };
  return "tile " + extent(f.tile) + ", box " + extent(f.box) + ", items " +
         std::to_string(f.num_items()) + ", " + to_string(instruction_set());
}

void launch(const Description& description, const Operands& operands, void* workspace,
            const ParallelFor& parallel_for) {
  if (description.direction == Direction::grad_weight) {
    return row_weight::launch(description, operands, workspace, parallel_for);
  }
  const bool forward = description.direction == Direction::forward;
  TileJob job{};
  job.flat = flat_convolution(description);
  const Workspace sizes = workspace_of(job.flat, description);
  job.classes = class_taps(job.flat);
  job.num_taps = job.classes.back().weight + static_cast<int64_t>(job.classes.back().shifts.size());
  job.source = forward ? operands.input : operands.output;
  job.destination = forward ? operands.output : operands.input;
  job.bias = operands.bias;
  job.bias_stride = operands.bias_stride;
  job.packed_weight = workspace;
  char* slices = static_cast<char*>(workspace) + sizes.weight;

  switch (description.precision) {
    case Precision::fp64:
      pack_weight<double>(job.flat, operands.weight, static_cast<double*>(workspace), parallel_for);
      break;
    case Precision::fp32:
    case Precision::tf32:
      pack_weight<float>(job.flat, operands.weight, static_cast<float*>(workspace), parallel_for);
      break;
    case Precision::fp16:
      pack_weight<Half>(job.flat, operands.weight, static_cast<float*>(workspace), parallel_for);
      break;
    case Precision::bf16:
      pack_weight<BFloat16>(job.flat, operands.weight, static_cast<float*>(workspace),
                            parallel_for);
      break;
  }

  const RunTiles run = run_tiles(description.precision);
  // Which slice a piece gets does not change its result.
  std::atomic<int64_t> next_slice{0};
  parallel_for(job.flat.num_items(), 1, [&](int64_t begin, int64_t end) {
    run(job, begin, end, slices + next_slice.fetch_add(1) * sizes.slice);
  });
}

}  // namespace convt3d::cpu::residue_gemm
