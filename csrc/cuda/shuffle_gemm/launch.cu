// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers: merged axes, column order, and the widest accesses that fit.
#include <algorithm>
#include <array>
#include <stdexcept>

#include "cuda/shuffle_gemm/call.h"
#include "cuda/shuffle_gemm/shuffle_gemm.h"
#include "cuda/shuffle_gemm/tile.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

// One axis of an array: axes of extent 1 say nothing about strides.
struct Axis {
  int64_t extent, stride;
};

// Whether the axes, outermost first, are one contiguous run.
template <size_t n>
bool is_contiguous(const std::array<Axis, n>& axes) {
  int64_t expected = 1;
  for (size_t i = n; i-- > 0;) {
    if (axes[i].extent != 1 && axes[i].stride != expected) return false;
    expected *= axes[i].extent;
  }
  return true;
}

// The largest access in bytes that starts at multiples of its size in runs of `run` elements,
// which lie at multiples of the strides.
template <size_t n>
int widest_access(const void* data, int64_t element, int64_t run, const std::array<Axis, n>& axes) {
  int64_t bytes = 16;
  const auto fits = [&] {
    if (reinterpret_cast<uintptr_t>(data) % bytes != 0 || run * element % bytes != 0) return false;
    return std::all_of(axes.begin(), axes.end(), [&](const Axis& axis) {
      return axis.extent == 1 || axis.stride * element % bytes == 0;
    });
  };
  while (bytes > element && !fits()) bytes /= 2;
  return static_cast<int>(bytes);
}

int as_int(int64_t value) { return static_cast<int>(value); }

struct Volume {
  int64_t d, h, w;
};

// Axes whose blocks are one line in the output become one with w: then lines are longer, and their
// ends rarer.
Volume merge_axes(const Problem& p, const TensorView& input) {
  Volume v{p.input[0], p.input[1], p.input[2]};
  const Extent3 output = p.output();
  const bool h_follows = v.h == 1 || v.w == 1 || input.stride[3] == v.w * input.stride[4];
  if (p.kernel[1] != 1 || output[1] != v.h || output[2] != v.w * p.kernel[2] || !h_follows) {
    return v;
  }
  // With w of extent 1 its stride is any number.
  if (v.h > 1 && v.w == 1 && input.stride[4] != input.stride[3]) return v;
  v = {v.d, 1, v.h * v.w};
  const bool d_follows = v.d == 1 || input.stride[2] == v.w * input.stride[4];
  if (p.kernel[0] != 1 || output[0] != v.d || !d_follows) return v;
  return {1, 1, v.d * v.w};
}

void set_input(const Problem& p, const TensorView& input, const Volume& v, int64_t element,
               Call* call) {
  Params& params = call->params;
  params.input = input.data;
  std::copy(input.stride.begin(), input.stride.end(), params.input_stride);
  const auto [n, c, d, h, w] = input.stride;
  const bool one_position = volume(p.input) == 1;
  call->channels_inner = p.in_channels > 1 && (one_position ? c == 1 : c < w);
  if (call->channels_inner) {
    const std::array<Axis, 4> axes{{{p.batch, n}, {v.d, d}, {v.h, h}, {v.w, w}}};
    params.input_access =
        c == 1 ? widest_access(input.data, element, p.in_channels, axes) : as_int(element);
    return;
  }
  // A run of positions: the image, a plane or a line.
  const bool plane = v.h == 1 || h == v.w;
  const bool image = plane && (v.d == 1 || d == v.h * v.w);
  const int64_t run = v.w * (plane ? v.h : 1) * (image ? v.d : 1);
  const std::array<Axis, 4> axes{
      {{p.batch, n}, {p.in_channels, c}, {image ? 1 : v.d, d}, {plane ? 1 : v.h, h}}};
  params.input_access = w == 1 ? widest_access(input.data, element, run, axes) : as_int(element);
}

void set_weight(const Problem& p, const TensorView& weight, int64_t element, Params* params) {
  params->weight = weight.data;
  std::copy(weight.stride.begin(), weight.stride.end(), params->weight_stride);
  const auto& s = weight.stride;
  const Axis channel{p.out_channels, s[1]}, d{p.kernel[0], s[2]}, h{p.kernel[1], s[3]},
      w{p.kernel[2], s[4]};
  const bool rows = params->taps_inner ? is_contiguous(std::array{channel, d, h, w})
                                       : is_contiguous(std::array{d, h, w, channel});
  params->weight_access = rows ? widest_access(weight.data, element, params->columns,
                                               std::array{Axis{p.in_channels, s[0]}})
                               : as_int(element);
}

void set_output(const Problem& p, const TensorView& output, const Volume& v, int64_t element,
                Params* params) {
  params->output = output.data;
  std::copy(output.stride.begin(), output.stride.end(), params->output_stride);
  const auto [n, c, d, h, w] = output.stride;
  const Extent3 extent = p.output();
  params->run = 1;
  if (params->along_positions) {
    if (w == 1 || extent[2] == 1) {
      params->run = p.kernel[2] % 4 == 0 ? 4 : p.kernel[2] % 2 == 0 ? 2 : 1;
    }
    // Neighbouring positions join where a run is all of kw.
    const bool join = params->run == p.kernel[2] && (w == 1 || extent[2] == 1);
    const std::array<Axis, 5> axes{{{p.batch, n},
                                    {p.out_channels, c},
                                    {extent[0], d},
                                    {extent[1], h},
                                    {v.w, p.kernel[2] * w}}};
    const std::array<Axis, 4> lines{{axes[0], axes[1], axes[2], axes[3]}};
    params->output_access = join ? widest_access(output.data, element, v.w * params->run, lines)
                                 : widest_access(output.data, element, params->run, axes);
  } else if (params->taps_inner) {  // one position in the whole image: its block is contiguous
    params->output_access =
        widest_access(output.data, element, params->columns, std::array{Axis{p.batch, n}});
  } else {
    const std::array<Axis, 3> axes{{{p.batch, n}, {extent[0], d}, {extent[1], h}}};
    params->output_access = widest_access(output.data, element, p.kernel[2] * p.out_channels, axes);
  }
}

}  // namespace

Call make_call(const Description& description, const Config& config, const Operands& operands,
               void* stream) {
  const Problem& p = description.problem;
  const Extent3 extent = p.output();
  const int64_t element = element_bytes(description.precision);
  const int64_t taps = volume(p.kernel);
  Call call{{}, config, false, static_cast<cudaStream_t>(stream)};
  Params& params = call.params;
  params.bias = operands.bias;
  params.bias_stride = operands.bias_stride;
  params.batch = p.batch;
  params.channels = as_int(p.in_channels);
  params.out_channels = as_int(p.out_channels);
  params.columns = as_int(p.out_channels * taps);
  params.positions = as_int(p.batch * volume(p.input));
  params.chunks = as_int(config.chunks);
  params.tiles = as_int(config.tiles);
  params.slices = as_int(config.slices);
  params.walkers = as_int(config.walkers);
  params.resident = config.resident;
  for (int axis = 0; axis < 3; ++axis) {
    params.kernel[axis] = as_int(p.kernel[axis]);
    params.covered[axis] = as_int(p.input[axis] * p.kernel[axis]);
    params.extent[axis] = as_int(extent[axis]);
    params.has_border |= params.covered[axis] != params.extent[axis];
  }
  const Volume v = merge_axes(p, operands.input);
  params.image = Divider(volume(p.input));
  params.plane = Divider(v.h * v.w);
  params.line = Divider(v.w);
  const bool channels_last = description.output == Layout::ndhwc;
  params.taps_inner = !channels_last;
  params.along_positions = !channels_last && (volume(p.input) > 1 || params.has_border);
  set_input(p, operands.input, v, element, &call);
  set_weight(p, operands.weight, element, &params);
  set_output(p, operands.output, v, element, &params);
  return call;
}

void run(Precision precision, const Call& call) {
  switch (precision) {
    case Precision::fp32:
      return run<Precision::fp32>(call);
    case Precision::tf32:
      return run<Precision::tf32>(call);
    case Precision::fp16:
      return run<Precision::fp16>(call);
    case Precision::bf16:
      return run<Precision::bf16>(call);
    case Precision::fp64:
      break;
  }
  throw std::logic_error("shuffle_gemm has no kernel for fp64");
}

void launch(const Description& description, const Device& device, const Operands& operands, void*,
            void* stream) {
  run(description.precision, make_call(description, choose(description, device), operands, stream));
}

}  // namespace convt3d::cuda::shuffle_gemm
