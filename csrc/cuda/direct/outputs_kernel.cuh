// SPDX-License-Identifier: BSD-3-Clause
// Forward with long strides, where an output has few taps and a residue few outputs.
//
//   output[n, co, o] = bias[co] + sum over ci, t with o + p = s * i + t of
//                      input[n, ci, i] * weight[ci, co, t]
//
// Neighbouring threads take neighbouring outputs: in NCDHW on w, in NDHWC channels first. A thread
// keeps kOutputsW outputs of a line, `step` apart, a multiple of the stride, of kOutputsN images:
// they have the same taps, and so share each weight that it loads:
//
//   line of output   0 1 2 .. step-1 | 0 1 2 .. step-1 | ...      thread 0: all the zeros,
//   taps             a b c ..        | a b c ..        |          thread 1: all the ones, ...
//
// choose() guarantees: dilation 1, 32-bit coordinates, fewer than 2**30 outputs.
#pragma once
#include <cstdint>

#include "cuda/common/element.cuh"
#include "cuda/direct/forward_sum.h"
#include "cuda/direct/tuning.h"

namespace convt3d::cuda::direct {

struct OutputsSum : ForwardSum {
  int steps, step;  // outputs of a line that have a thread each; the same in outputs
  uint32_t threads;
  bool channels_innermost;
};

// Taps of one axis that an output has: the first, and the input that it meets; each further tap is
// a stride on, and its input one less.
struct OutputTaps {
  int tap, input;

  __device__ OutputTaps(const OutputsSum& p, int axis, int output) {
    const int at = output + p.padding[axis];
    input = at / p.scale[axis];
    tap = at - input * p.scale[axis];
  }
};

template <typename T>
__global__ __launch_bounds__(kOutputsThreads,
                             4) void outputs_kernel(const __grid_constant__ OutputsSum p) {
  using Sum = Accumulator<T>;
  uint32_t rest = blockIdx.x * kOutputsThreads + threadIdx.x;
  if (rest >= p.threads) return;
  // Digits of the thread, innermost first: (channel,) w, h, d, images(, channel).
  const auto digit = [&](uint32_t radix) {
    const uint32_t next = rest / radix;
    const auto value = static_cast<int>(rest - next * radix);
    rest = next;
    return value;
  };
  int channel = p.channels_innermost ? digit(p.channels) : 0;
  const int w = digit(p.steps), h = digit(p.result_extent[1]), d = digit(p.result_extent[0]);
  if (!p.channels_innermost) channel = digit(p.channels);
  const int first_n = static_cast<int>(rest) * kOutputsN;
  const int group = channel / p.outs;

  const OutputTaps taps_d(p, 0, d), taps_h(p, 1, h), taps_w(p, 2, w);
  const T* const source = static_cast<const T*>(p.source) + first_n * p.source_stride[0] +
                          int64_t{group} * p.ins * p.source_stride[1];
  const T* const weight = static_cast<const T*>(p.weight) +
                          int64_t{group} * p.ins * p.weight_stride[0] +
                          (channel - group * p.outs) * p.weight_stride[1];
  const int inputs_step = p.step / p.scale[2];
  Sum sum[kOutputsN][kOutputsW] = {};
#pragma unroll 1
  for (int td = taps_d.tap, id = taps_d.input; td < p.kernel[0]; td += p.scale[0], --id) {
    if (id < 0 || id >= p.source_extent[0]) continue;
#pragma unroll 1
    for (int th = taps_h.tap, ih = taps_h.input; th < p.kernel[1]; th += p.scale[1], --ih) {
      if (ih < 0 || ih >= p.source_extent[1]) continue;
#pragma unroll 1
      for (int tw = taps_w.tap, iw = taps_w.input; tw < p.kernel[2]; tw += p.scale[2], --iw) {
        const T* factor =
            weight + td * p.weight_stride[2] + th * p.weight_stride[3] + tw * p.weight_stride[4];
        const T* element =
            source + id * p.source_stride[2] + ih * p.source_stride[3] + iw * p.source_stride[4];
        uint32_t there = 0;  // a bit each: predicates are seven
#pragma unroll
        for (int n = 0; n < kOutputsN; ++n) {
#pragma unroll
          for (int j = 0; j < kOutputsW; ++j) {
            const int at = iw + j * inputs_step;
            const bool in = first_n + n < p.batch && at >= 0 && at < p.source_extent[2];
            there |= static_cast<uint32_t>(in) << (n * kOutputsW + j);
          }
        }
        // A tap's sum is a chain of its own, of at most kRunK pairs.
#pragma unroll 1
        for (int first = 0; first < p.ins; first += kRunK) {
          Sum own[kOutputsN][kOutputsW] = {};
          const int last = min(p.ins, first + kRunK);
#pragma unroll 2
          for (int in = first; in < last; ++in) {
            const Sum by = widen(*factor);
#pragma unroll
            for (int n = 0; n < kOutputsN; ++n) {
#pragma unroll
              for (int j = 0; j < kOutputsW; ++j) {
                own[n][j] += load_or_zero(element + n * p.source_stride[0] +
                                              j * inputs_step * p.source_stride[4],
                                          there >> (n * kOutputsW + j) & 1) *
                             by;
              }
            }
            element += p.source_stride[1];
            factor += p.weight_stride[0];
          }
#pragma unroll
          for (int i = 0; i < kOutputsN * kOutputsW; ++i) {
            sum[i / kOutputsW][i % kOutputsW] += own[i / kOutputsW][i % kOutputsW];
          }
        }
      }
    }
  }
  Sum bias = 0;
  if (p.bias != nullptr) bias = widen(static_cast<const T*>(p.bias)[channel * p.bias_stride]);
  T* const result = static_cast<T*>(p.result) + first_n * p.result_stride[0] +
                    channel * p.result_stride[1] + d * p.result_stride[2] + h * p.result_stride[3] +
                    w * p.result_stride[4];
#pragma unroll
  for (int n = 0; n < kOutputsN; ++n) {
#pragma unroll
    for (int j = 0; j < kOutputsW; ++j) {
      if (first_n + n >= p.batch || w + j * p.step >= p.result_extent[2]) continue;
      result[n * p.result_stride[0] + j * p.step * p.result_stride[4]] =
          narrow<T>(sum[n][j] + bias);
    }
  }
}

}  // namespace convt3d::cuda::direct
