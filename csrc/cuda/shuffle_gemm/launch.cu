// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers: merged axes, column order, and the widest accesses that fit.
#include <algorithm>
#include <array>
#include <stdexcept>

#include "cuda/shuffle_gemm/call.h"
#include "cuda/shuffle_gemm/patch_launch.h"
#include "cuda/shuffle_gemm/point_config.h"
#include "cuda/shuffle_gemm/point_launch.h"
#include "cuda/shuffle_gemm/resident_launch.h"
#include "cuda/shuffle_gemm/shuffle_gemm.h"
#include "cuda/shuffle_gemm/skip_config.h"
#include "cuda/shuffle_gemm/skip_launch.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

// One axis of an array: axes of extent 1 say nothing about strides.
struct Axis {
  int64_t extent, stride;
};

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

struct Volume {
  int64_t d, h, w;
};

// Outputs from one position's to the next's.
int64_t block_step(const Problem& p, int axis) {
  return p.input[axis] == 1 ? p.kernel[axis] : p.stride[axis];
}

// Axes whose blocks are one line in the output become one with w: then lines are longer, and their
// ends rarer.
Volume merge_axes(const Problem& p, const TensorView& input, const TensorView& output) {
  Volume v{p.input[0], p.input[1], p.input[2]};
  const Extent3 extent = p.output();
  // Whether `axis` goes on where the lines of w end, in both tensors.
  const auto follows = [&](int axis, int64_t lines) {
    return lines == 1 || (input.stride[axis] == v.w * input.stride[4] &&
                          output.stride[axis] == v.w * p.kernel[2] * output.stride[4]);
  };
  if (p.kernel[1] != 1 || extent[1] != v.h || extent[2] != v.w * p.kernel[2] || !follows(3, v.h)) {
    return v;
  }
  v = {v.d, 1, v.h * v.w};
  if (p.kernel[0] != 1 || extent[0] != v.d || !follows(2, v.d)) return v;
  return {1, 1, v.d * v.w};
}

// Of input or grad_input, a row of whose channels is [positions].
int positions_access(const Problem& p, const TensorView& view, const Volume& v, int64_t element) {
  const auto [n, c, d, h, w] = view.stride;
  if (w != 1) return as_int(element);
  // A run of positions: the image, a plane or a line.
  const bool plane = v.h == 1 || h == v.w;
  const bool image = plane && (v.d == 1 || d == v.h * v.w);
  const int64_t run = v.w * (plane ? v.h : 1) * (image ? v.d : 1);
  const std::array<Axis, 4> axes{
      {{p.batch, n}, {p.in_channels, c}, {image ? 1 : v.d, d}, {plane ? 1 : v.h, h}}};
  return widest_access(view.data, element, run, axes);
}

// Of input or grad_input, a row of whose positions is [channels].
int channels_access(const Problem& p, const TensorView& view, const Volume& v, int64_t element) {
  const auto [n, c, d, h, w] = view.stride;
  if (c != 1 && p.in_channels != 1) return as_int(element);
  const std::array<Axis, 4> axes{{{p.batch, n}, {v.d, d}, {v.h, h}, {v.w, w}}};
  return widest_access(view.data, element, p.in_channels, axes);
}

bool has_channels_inner(int64_t channels, const Extent3& extent, const TensorView& view) {
  const int64_t c = view.stride[1], w = view.stride[4];
  return channels > 1 && (volume(extent) == 1 ? c == 1 : c < w);
}

// axes: outermost first. Those that continue each other become one digit.
Digits make_digits(const std::array<Axis, 4>& axes) {
  Digits digits;
  Axis inner{1, 1};
  int count = 0;
  const auto close = [&] {
    digits.stride[count] = inner.stride;
    if (count < 3) digits.size[count] = Divider(inner.extent);
    ++count;
  };
  for (size_t i = axes.size(); i-- > 0;) {
    if (axes[i].extent == 1) continue;
    if (inner.extent == 1) {
      inner = axes[i];
    } else if (axes[i].stride == inner.extent * inner.stride) {
      inner.extent *= axes[i].extent;
    } else {
      close();
      inner = axes[i];
    }
  }
  close();
  digits.count = count;
  return digits;
}

// Pairs of out_channel and tap in a tensor whose strides are those of output or weight.
Digits pair_digits(const Problem& p, const TensorView& view, bool taps_inner) {
  const auto& s = view.stride;
  const Axis c{p.out_channels, s[1]}, d{p.kernel[0], s[2]}, h{p.kernel[1], s[3]},
      w{p.kernel[2], s[4]};
  return make_digits(taps_inner ? std::array{c, d, h, w} : std::array{d, h, w, c});
}

bool is_contiguous(const Digits& digits) { return digits.count == 1 && digits.stride[0] == 1; }

// grad_output as A: [positions][K], or lines of groups.
void set_gradient(const Problem& p, const TensorView& gradient, const Volume& v, int64_t element,
                  Call* call) {
  Params& params = call->params;
  const auto [n, c, d, h, w] = gradient.stride;
  const Extent3 extent = p.output();
  // All of a single position's block in one piece, in the order of NCDHW.
  const bool one_block = volume(p.input) == 1 && is_contiguous(pair_digits(p, gradient, true));
  call->channels_inner = one_block || has_channels_inner(p.out_channels, extent, gradient);
  params.taps_inner = one_block || !call->channels_inner;
  params.depth_source = pair_digits(p, gradient, params.taps_inner);
  if (one_block) {
    params.source_access =
        widest_access(gradient.data, element, params.depth, std::array{Axis{p.batch, n}});
    return;
  }
  if (call->channels_inner) {
    const bool joins = p.kernel[2] == 1 || w == p.out_channels;  // neighbouring taps of kw
    const std::array<Axis, 4> axes{{{p.batch, n},
                                    {extent[0], d},
                                    {extent[1], h},
                                    {joins ? v.w : extent[2], joins ? block_step(p, 2) * w : w}}};
    const int64_t run = p.out_channels * (joins ? p.kernel[2] : 1);
    params.source_access =
        c == 1 ? widest_access(gradient.data, element, run, axes) : as_int(element);
    return;
  }
  int64_t group = 16 / element;  // taps
  while (p.kernel[2] % group != 0) group /= 2;
  params.group_log = 0;
  while (1 << params.group_log < group * element) ++params.group_log;
  params.lines = as_int(params.depth / group);
  // Neighbouring positions join where a group is all of kw.
  const bool joins = group == p.kernel[2] && group == block_step(p, 2);
  const std::array<Axis, 5> axes{{{p.batch, n},
                                  {p.out_channels, c},
                                  {extent[0], d},
                                  {extent[1], h},
                                  {joins ? 1 : extent[2] / group, group}}};
  params.source_access = w == 1 || extent[2] == 1 ? widest_access(gradient.data, element,
                                                                  joins ? v.w * group : group, axes)
                                                  : as_int(element);
}

void set_weight(const Problem& p, const TensorView& weight, int64_t element, Params* params) {
  params->weight = weight.data;
  std::copy(weight.stride.begin(), weight.stride.end(), params->weight_stride);
  params->depth_weight = pair_digits(p, weight, params->taps_inner);
  params->weight_access =
      is_contiguous(params->depth_weight)
          ? widest_access(weight.data, element, p.out_channels * volume(p.kernel),
                          std::array{Axis{p.in_channels, weight.stride[0]}})
          : as_int(element);
}

// The output of forward.
void set_output(const Problem& p, const TensorView& output, const Volume& v, int64_t element,
                Params* params) {
  const auto [n, c, d, h, w] = output.stride;
  const Extent3 extent = p.output();
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
    params->result_access = join ? widest_access(output.data, element, v.w * params->run, lines)
                                 : widest_access(output.data, element, params->run, axes);
  } else if (params->taps_inner) {  // one position in the whole image: its block is contiguous
    params->result_access =
        widest_access(output.data, element, params->columns, std::array{Axis{p.batch, n}});
  } else {
    const std::array<Axis, 3> axes{{{p.batch, n}, {extent[0], d}, {extent[1], h}}};
    params->result_access = widest_access(output.data, element, p.kernel[2] * p.out_channels, axes);
  }
}

void set_positions(const Problem& p, const TensorView& input, const TensorView& output,
                   const Volume& v, bool forward, Params* params) {
  params->positions = as_int(p.batch * volume(p.input));
  params->image = Divider(volume(p.input));
  params->plane = Divider(v.h * v.w);
  params->line = Divider(v.w);
  const TensorView &source = forward ? input : output, &result = forward ? output : input;
  params->source = source.data;
  params->result = result.data;
  std::copy(source.stride.begin(), source.stride.end(), params->source_stride);
  std::copy(result.stride.begin(), result.stride.end(), params->result_stride);
  for (int i = 0; i < 4; ++i) {
    const int axis = i == 0 ? 0 : i + 1;
    const int64_t block = i == 0 ? 1 : block_step(p, i - 1);
    const int64_t in = input.stride[axis], out = output.stride[axis] * block;
    params->source_position[i] = forward ? in : out;
    params->result_position[i] = forward ? out : in;
  }
}

}  // namespace

Call make_call(const Description& description, const Config& config, const Operands& operands,
               void* stream) {
  const Problem& p = description.problem;
  const bool forward = description.direction == Direction::forward;
  const Extent3 extent = p.output();
  const int64_t element = element_bytes(description.precision);
  const int64_t pairs = p.out_channels * volume(p.kernel);
  Call call{{}, config, false, static_cast<cudaStream_t>(stream)};
  Params& params = call.params;
  params.bias = operands.bias;
  params.bias_stride = operands.bias_stride;
  params.batch = p.batch;
  params.depth = as_int(forward ? p.in_channels : pairs);
  params.columns = as_int(forward ? pairs : p.in_channels);
  params.out_channels = as_int(p.out_channels);
  params.chunks = as_int(config.chunks);
  params.tiles = as_int(config.tiles);
  params.slices = as_int(config.slices);
  params.walkers = as_int(config.walkers);
  params.resident = config.resident;
  params.splits = as_int(config.splits);
  params.run = 1;
  for (int axis = 0; axis < 3; ++axis) {
    params.kernel[axis] = as_int(p.kernel[axis]);
    params.covered[axis] = as_int(p.input[axis] * p.kernel[axis]);
    params.extent[axis] = as_int(extent[axis]);
    params.has_border |= params.covered[axis] != params.extent[axis];
  }
  const TensorView &input = operands.input, &output = operands.output;
  const Volume v = merge_axes(p, input, output);
  set_positions(p, input, output, v, forward, &params);
  const bool channels_last = (forward ? description.output : description.input) == Layout::ndhwc;
  if (forward) {
    params.taps_inner = !channels_last;
    params.along_positions = !channels_last && (volume(p.input) > 1 || params.has_border);
    call.channels_inner = has_channels_inner(p.in_channels, p.input, input);
    params.source_access = call.channels_inner ? channels_access(p, input, v, element)
                                               : positions_access(p, input, v, element);
    set_output(p, output, v, element, &params);
  } else {
    params.along_positions = !channels_last && volume(p.input) > 1;
    set_gradient(p, output, v, element, &call);
    params.result_access = params.along_positions ? positions_access(p, input, v, element)
                                                  : channels_access(p, input, v, element);
  }
  set_weight(p, operands.weight, element, &params);
  return call;
}

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  if (points_fit(description)) {
    return launch_points(description, device, operands, static_cast<cudaStream_t>(stream));
  }
  if (skips_fit(description, device)) {
    return launch_skips(description, device, operands, static_cast<cudaStream_t>(stream));
  }
  if (patches_fit(description, device) &&
      launch_patches(description, device, operands, workspace, static_cast<cudaStream_t>(stream))) {
    return;
  }
  if (resident_fits(description, device) &&
      launch_resident(description, device, operands, workspace,
                      static_cast<cudaStream_t>(stream))) {
    return;
  }
  const Call call = make_call(description, choose(description, device), operands, stream);
  with_precision<Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() {
        description.direction == Direction::forward ? run<kPrecision, Direction::forward>(call)
                                                    : run<kPrecision, Direction::grad_input>(call);
      });
}

}  // namespace convt3d::cuda::shuffle_gemm
