// SPDX-License-Identifier: BSD-3-Clause
#include "binding/checks.h"

#include <algorithm>
#include <array>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

namespace convt3d {
namespace {

using Array5 = std::array<int64_t, 5>;

// Lists and extents as text, once they are printed.
struct List {
  Ints values;
};
List show(Ints values) { return {values}; }

std::ostream& operator<<(std::ostream& text, const List& list) {
  text << '[';
  for (size_t i = 0; i < list.values.size(); ++i) text << (i == 0 ? "" : ", ") << list.values[i];
  return text << ']';
}

struct Extent {
  const Extent3& values;
};
Extent show(const Extent3& values) { return {values}; }

std::ostream& operator<<(std::ostream& text, const Extent& extent) {
  const Extent3& e = extent.values;
  return text << '(' << e[0] << " x " << e[1] << " x " << e[2] << ')';
}

template <typename... Parts>
[[noreturn, gnu::noinline, gnu::cold]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::runtime_error(text.str());
}

template <typename... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]] {
    fail(parts...);
  }
}

struct DtypeName {
  const char* dtype;
  const char* scalar;  // in torch.FloatTensor, and 'Float' in "not implemented for"
};
constexpr std::array<DtypeName, 13> kDtypeNames{{{"float64", "Double"},
                                                 {"float32", "Float"},
                                                 {"float16", "Half"},
                                                 {"bfloat16", "BFloat16"},
                                                 {"uint8", "Byte"},
                                                 {"int8", "Char"},
                                                 {"int16", "Short"},
                                                 {"int32", "Int"},
                                                 {"int64", "Long"},
                                                 {"bool", "Bool"},
                                                 {"complex32", "ComplexHalf"},
                                                 {"complex64", "ComplexFloat"},
                                                 {"complex128", "ComplexDouble"}}};
constexpr size_t kComputedDtypes = 4;  // the leading rows

std::string scalar_name(std::string_view dtype) {
  for (const DtypeName& name : kDtypeNames) {
    if (dtype == name.dtype) return name.scalar;
  }
  return std::string(dtype);
}

// torch.cuda.HalfTensor
std::string type_name(const TensorArgument& tensor) {
  const std::string kind(tensor.device_type);
  return "torch." + (kind == "cpu" ? "" : kind + ".") + scalar_name(tensor.dtype) + "Tensor";
}

// cuda:0
std::string device_name(const TensorArgument& tensor) {
  const std::string kind(tensor.device_type);
  return tensor.device_index < 0 ? kind : kind + ":" + std::to_string(tensor.device_index);
}

struct Names {
  const char* first;
  const char* second;
};

Names names_of(Direction direction) {
  switch (direction) {
    case Direction::forward:
      return {"input", "weight"};
    case Direction::grad_input:
      return {"grad_output", "weight"};
    case Direction::grad_weight:
      return {"grad_output", "input"};
  }
  return {"", ""};
}

std::string capitalized(std::string word) {
  word[0] = static_cast<char>(word[0] - 'a' + 'A');
  return word;
}

void check_dims(const Arguments& a, const Names& names) {
  const size_t dims = a.first.sizes.size();
  require(dims == 4 || dims == 5, "Expected 4D (unbatched) or 5D (batched) ", names.first,
          " to conv_transpose3d, but got ", names.first, " of size: ", show(a.first.sizes));
  if (a.direction == Direction::grad_weight) {
    require(
        a.second.sizes.size() == dims, "Expected input of ", dims,
        "D to conv_transpose3d, as grad_output is, but got input of size: ", show(a.second.sizes));
  } else {
    require(a.second.sizes.size() == 5,
            "Expected 5D weight (in_channels, out_channels/groups, kD, kH, kW) to "
            "conv_transpose3d, but got weight of size: ",
            show(a.second.sizes));
  }
}

void check_dtypes(const Arguments& a, const Names& names) {
  const auto same = [&](const TensorArgument& other, const char* name) {
    if (a.first.dtype == other.dtype) return;
    fail(capitalized(names.first), " type (", type_name(a.first), ") and ", name, " type (",
         type_name(other), ") should be the same");
  };
  same(a.second, names.second);
  if (a.bias) same(*a.bias, "bias");
  const bool computed =
      std::any_of(kDtypeNames.begin(), kDtypeNames.begin() + kComputedDtypes,
                  [&](const DtypeName& name) { return a.first.dtype == name.dtype; });
  if (computed) return;
  fail("\"conv_transpose3d\" not implemented for '", scalar_name(a.first.dtype), "'");
}

void check_devices(const Arguments& a) {
  const auto same = [&](const TensorArgument& other) {
    if (a.first.same_device(other)) return;
    fail("Expected all tensors to be on the same device, but found at least two devices, ",
         device_name(a.first), " and ", device_name(other), "!");
  };
  same(a.second);
  if (a.bias) same(*a.bias);
}

Extent3 expand(const char* name, Ints values) {
  require(values.size() == 1 || values.size() == 3, "expected ", name,
          " to be a single integer value or a list of 3 values to match the convolution "
          "dimensions, but got ",
          name, "=", show(values));
  if (values.size() == 1) return {values[0], values[0], values[0]};
  return {values[0], values[1], values[2]};
}

bool all_at_least(const Extent3& extent, int64_t least) {
  return std::all_of(extent.begin(), extent.end(), [&](int64_t v) { return v >= least; });
}

void check_signs(const Problem& p) {
  require(all_at_least(p.padding, 0), "negative padding is not supported");
  require(all_at_least(p.output_padding, 0), "negative output_padding is not supported");
  require(all_at_least(p.stride, 1), "non-positive stride is not supported");
  require(all_at_least(p.dilation, 1),
          "dilation should be greater than zero, but got dilation_depth: ", p.dilation[0],
          ", dilation_height: ", p.dilation[1], ", dilation_width: ", p.dilation[2]);
  constexpr int64_t kMaxPadding = std::numeric_limits<int64_t>::max() / 2;
  for (int axis = 0; axis < 3; ++axis) {
    require(p.padding[axis] <= kMaxPadding, "Given padding=", p.padding[axis], " at dimension ",
            axis, " , expected padding to be at most ", kMaxPadding);
  }
}

// weight's sizes: the argument's, or those of the result of grad_weight.
void check_groups(int64_t groups, const Array5& weight) {
  require(groups > 0, "non-positive groups is not supported");
  require(weight[0] >= groups, "Given groups=", groups, ", expected weight to be at least ", groups,
          " at dimension 0, but got weight of size ", show(weight), " instead");
  require(weight[0] % groups == 0, "Given groups=", groups, ", expected weight to be divisible by ",
          groups, " at dimension 0, but got weight of size [", show(weight), "] instead");
}

void check_weight_extents(const Array5& weight) {
  require(std::all_of(weight.begin(), weight.end(), [](int64_t size) { return size > 0; }),
          "non-empty 5D (n_output_plane x n_input_plane x kernel_depth x kernel_height x "
          "kernel_width) tensor expected for weight, but got: ",
          show(weight));
}

void check_output_padding(const Problem& p) {
  for (int axis = 0; axis < 3; ++axis) {
    require(p.output_padding[axis] < std::max(p.stride[axis], p.dilation[axis]),
            "output padding must be smaller than either stride or dilation, but got "
            "output_padding_depth: ",
            p.output_padding[0], " output_padding_height: ", p.output_padding[1],
            " output_padding_width: ", p.output_padding[2], " stride_depth: ", p.stride[0],
            " stride_height: ", p.stride[1], " stride_width: ", p.stride[2],
            " dilation_depth: ", p.dilation[0], " dilation_height: ", p.dilation[1],
            " dilation_width: ", p.dilation[2]);
  }
}

bool bytes_fit(int64_t batch, int64_t channels, const Extent3& extent) {
  int64_t bytes = 8;  // the widest element
  for (int64_t factor : {std::max<int64_t>(batch, 1), channels, extent[0], extent[1], extent[2]}) {
    if (__builtin_mul_overflow(bytes, factor, &bytes)) return false;
  }
  return true;
}

void check_output(const Problem& p) {
  Extent3 output{};
  bool fits = true;
  for (int axis = 0; axis < 3; ++axis) {
    fits = fits && output_extent(p.input[axis], p.kernel[axis], p.stride[axis], p.padding[axis],
                                 p.output_padding[axis], p.dilation[axis], &output[axis]);
  }
  require(fits, "Given input size per channel: ", show(p.input),
          ". Calculated output size per channel does not fit 64 bits. Output size is too large");
  require(all_at_least(output, 1), "Given input size per channel: ", show(p.input),
          ". Calculated output size per channel: ", show(output), ". Output size is too small");
  require(bytes_fit(p.batch, p.out_channels, output) && bytes_fit(p.batch, p.in_channels, p.input),
          "Given input size per channel: ", show(p.input),
          ". Calculated output size per channel: ", show(output), ". Output size is too large");
}

// Of four or five sizes; four are one sample.
Array5 batched_sizes(Ints sizes) {
  Array5 result{1, 1, 1, 1, 1};
  std::copy(sizes.begin(), sizes.end(), result.end() - static_cast<ptrdiff_t>(sizes.size()));
  return result;
}

Extent3 last_three(const Array5& sizes) { return {sizes[2], sizes[3], sizes[4]}; }

void check_bias(const Arguments& a, const Problem& p) {
  if (!a.bias) return;
  require(a.bias->sizes.size() == 1 && a.bias->sizes[0] == p.out_channels,
          "Given transposed=1, weight of size ", show(a.second.sizes),
          ", expected bias to be 1-dimensional with ", p.out_channels,
          " elements, but got bias of size ", show(a.bias->sizes), " instead");
}

void check_input(const Array5& input, const Array5& weight) {
  require(input[1] == weight[0], "Given transposed=1, weight of size ", show(weight),
          ", expected input", show(input), " to have ", weight[0], " channels, but got ", input[1],
          " channels instead");
  require(
      all_at_least(last_three(input), 1),
      "Only zero batch or zero channel inputs are supported, but got input shape: ", show(input));
}

void check_grad_output(const Array5& grad_output, const Problem& p) {
  const Extent3 output = p.output();
  const Array5 expected{p.batch, p.out_channels, output[0], output[1], output[2]};
  require(grad_output == expected, "Expected grad_output of size ", show(expected),
          ", the output size of this conv_transpose3d, but got grad_output of size ",
          show(grad_output));
}

}  // namespace

Checked check(const Arguments& a) {
  const Names names = names_of(a.direction);
  check_dims(a, names);
  check_dtypes(a, names);
  check_devices(a);

  Checked checked;
  Problem& p = checked.problem;
  checked.batched = a.first.sizes.size() == 5;
  p.stride = expand("stride", a.stride);
  p.padding = expand("padding", a.padding);
  p.output_padding = expand("output_padding", a.output_padding);
  p.dilation = expand("dilation", a.dilation);
  const Array5 first = batched_sizes(a.first.sizes), second = batched_sizes(a.second.sizes);
  Array5 input = first, weight = second;
  if (a.direction == Direction::grad_input) {
    const Extent3 extent = expand("input_size", a.extent);
    input = {first[0], weight[0], extent[0], extent[1], extent[2]};
  } else if (a.direction == Direction::grad_weight) {
    const Extent3 kernel = expand("kernel_size", a.extent);
    input = second;
    require(first[0] == input[0], "Expected grad_output and input of the same batch size, but got ",
            first[0], " and ", input[0]);
    require(a.groups <= 0 || first[1] % a.groups == 0, "Given groups=", a.groups,
            ", expected grad_output to be divisible by ", a.groups,
            " at dimension 1, but got grad_output of size ", show(a.first.sizes), " instead");
    const int64_t out_channels_per_group = a.groups > 0 ? first[1] / a.groups : first[1];
    weight = {input[1], out_channels_per_group, kernel[0], kernel[1], kernel[2]};
  }
  check_signs(p);
  check_groups(a.groups, weight);
  check_input(input, weight);
  check_weight_extents(weight);

  p.batch = input[0];
  p.in_channels = input[1];
  p.groups = a.groups;
  require(!__builtin_mul_overflow(weight[1], a.groups, &p.out_channels),
          "out_channels does not fit 64 bits");
  p.input = last_three(input);
  p.kernel = last_three(weight);
  check_bias(a, p);
  check_output_padding(p);
  check_output(p);
  if (a.direction != Direction::forward) check_grad_output(first, p);
  return checked;
}

}  // namespace convt3d
