// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/batch_rows.h"

#include <algorithm>

#include "cuda/halo_gemm/store_clocks.h"
#include "cuda/halo_gemm/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {
namespace {

// Of an output position, the taps of one residue that read any input.
int64_t taps_inside(const Product& product, size_t axis, const ProductResidue& residue,
                    int64_t at) {
  int64_t inside = 0;
  for (int64_t tap = 0; tap < residue.num_taps; ++tap) {
    const int64_t from = at + residue.first_input - tap * residue.input_step;
    const int64_t input = residue.input_offset + product.input_stride[axis] * from;
    inside += input >= 0 && input < product.problem.input[axis];
  }
  return inside;
}

// The same of all residues that its sum goes through.
int64_t taps_of_sum(const Product& product, size_t axis, size_t residue, int64_t at) {
  const auto& residues = product.axis[axis];
  if (!product.sums) return taps_inside(product, axis, residues[residue], at);
  int64_t taps = 0;
  for (const ProductResidue& each : residues) taps += taps_inside(product, axis, each, at);
  return taps;
}

// Clocks of a stage, of a mean strip.
double stage_clocks(const Product& product, const Config& config, const ProductResidue& of_w) {
  if (of_w.num_taps == 0) return 0;
  int64_t taps = 0;
  for (int64_t w = 0; w < of_w.num_outputs; ++w) taps += taps_inside(product, 2, of_w, w);
  const double step = config.channels / 2.0 + kIssueClocks;
  const double products = static_cast<double>(taps) / config.strips * config.steps * step;
  const double rows =
      static_cast<double>(std::min<int64_t>(config.pitch, of_w.inputs)) * config.batch_rows;
  const double loads = (rows + static_cast<double>(of_w.num_taps) * config.channels) * kRowBytes;
  return std::max(products, loads / kLoadBytesPerClock);
}

// Most work first.
std::vector<BatchLine> all_lines(const Product& product) {
  std::vector<BatchLine> lines;
  const auto& [of_d, of_h, of_w] = product.axis;
  const auto number = [&](const auto& of) { return product.sums ? size_t{1} : of.size(); };
  int residue = 0;
  for (size_t rd = 0; rd < number(of_d); ++rd) {
    for (size_t rh = 0; rh < number(of_h); ++rh) {
      for (size_t rw = 0; rw < number(of_w); ++rw, ++residue) {
        for (int d = 0; d < of_d[rd].num_outputs; ++d) {
          for (int h = 0; h < of_h[rh].num_outputs; ++h) {
            const int64_t taps = taps_of_sum(product, 0, rd, d) * taps_of_sum(product, 1, rh, h);
            const int64_t of_line = product.sums ? 1 : of_w[rw].num_taps;
            lines.push_back({residue, d, h, taps, 1 + taps * of_line});
          }
        }
      }
    }
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const BatchLine& a, const BatchLine& b) { return a.work > b.work; });
  return lines;
}

// Of the group that is busy longest.
double estimate_batch_rows(const Shape& shape, const Product& product, const Config& config,
                           const BatchDeal& deal) {
  const auto& of_w = product.axis[2];
  const double start = kItemClocks + store_clocks(config, shape.bytes, 1) / 2;
  std::vector<double> clocks(static_cast<size_t>(deal.groups));
  for (size_t i = 0; i < deal.lines.size(); ++i) {
    const BatchLine& line = deal.lines[i];
    if (line.work == 0) continue;
    double stages = 0;
    for (size_t r = 0; r < of_w.size(); ++r) {
      if (shape.sums || r == static_cast<size_t>(line.residue) % of_w.size()) {
        stages += stage_clocks(product, config, of_w[r]);
      }
    }
    clocks[i % clocks.size()] += start + static_cast<double>(line.taps * config.chunks) * stages;
  }
  return *std::max_element(clocks.begin(), clocks.end());
}

}  // namespace

BatchDeal deal_lines(const Product& product, const Config& config, int num_sms) {
  const int64_t blocks_of_line =
      config.tiles * config.strips * ceil_div(product.problem.out_channels, config.channels);
  BatchDeal deal{static_cast<int>(num_sms / blocks_of_line), 0, {}};
  if (deal.groups == 0) return deal;
  const auto groups = static_cast<size_t>(deal.groups);
  deal.blocks = static_cast<int>(deal.groups * blocks_of_line);
  std::vector<int64_t> busy(groups);
  std::vector<size_t> rounds(groups);
  for (const BatchLine& line : all_lines(product)) {
    const auto least =
        static_cast<size_t>(std::min_element(busy.begin(), busy.end()) - busy.begin());
    const size_t at = rounds[least]++ * groups + least;
    if (at >= deal.lines.size()) deal.lines.resize((at / groups + 1) * groups);
    deal.lines[at] = line;
    busy[least] += line.work;
  }
  return deal;
}

Config choose_batch_rows(const Description& description, const Shape& shape,
                         const Product& product) {
  const AxisSummary &d = shape.axis[0], &h = shape.axis[1], &w = shape.axis[2];
  const Problem& p = shape.problem;
  const int64_t residues = shape.sums ? 1 : volume(p.stride);
  if (p.out_channels % kChannelMultiple != 0 || p.batch < kMinBatchRows ||
      d.outputs * h.outputs * residues > kMaxBatchLines)
    return {};
  for (const AxisSummary& axis : shape.axis) {
    for (const ProductResidue& residue : axis.residues) {
      if (!shape.sums && residue.num_taps == 0) return {};  // bias_fill.h
    }
  }
  // Turned around, the positions of a channel are whole pieces of 16 bytes.
  const Extent3 result = product.reversed ? description.problem.input : p.output();
  if (product.output != Layout::ndhwc && volume(result) * shape.bytes % 16 != 0) return {};
  Config config;
  config.slots = 1;
  config.channels = kMaxTileChannels;
  if (static_cast<double>(ceil_div(p.out_channels, config.channels) * config.channels) >
      kPlainPadding * static_cast<double>(p.out_channels)) {
    return {};
  }
  config.steps = kMaxSteps;
  config.chunks = static_cast<int>(ceil_div(p.in_channels * shape.bytes, kRowBytes));
  config.tiles = ceil_div(p.batch, kGroupRows);
  config.batch_rows = static_cast<int>(ceil_div(p.batch, config.tiles));
  config.strips = static_cast<int>(ceil_div(w.outputs, max_warpgroups(1)));
  config.strip = static_cast<int>(ceil_div(w.outputs, config.strips));
  config.warpgroups = config.strip;
  if (config.strip + w.span > kMaxBox) return {};
  config.pitch = static_cast<int>(config.strip + w.span);
  config.lines = static_cast<int>(h.outputs);
  config.planes = static_cast<int>(d.outputs);
  // A warpgroup reads beyond the last position's rows.
  const int64_t rows = (config.pitch - 1) * int64_t{config.batch_rows} + kGroupRows;
  const int64_t stage = ceil_div(rows * kRowBytes, kSwizzleAlign) * kSwizzleAlign;
  config.stage_rows = static_cast<int>(stage / kRowBytes);
  int64_t taps = 0, lines = 1;  // taps: of w
  for (const ProductResidue& r : w.residues) taps = std::max(taps, r.num_taps);
  config.weight_group = static_cast<int>(taps);
  const int64_t room = kSharedBytes - kSwizzleAlign - barrier_bytes() -
                       ceil_div(p.out_channels, config.channels) * config.channels * 4;
  const int64_t all = stage + taps * config.channels * kRowBytes;
  config.input_stages = config.weight_stages =
      static_cast<int>(std::min<int64_t>(room / all, kMaxInputStages));
  if (config.input_stages < 2) return {};
  // Long sums: a stage is so many instructions.
  for (int a : {0, 1}) {
    int64_t most = 0;
    for (const ProductResidue& r : shape.axis[a].residues) most = std::max(most, r.num_taps);
    lines *= shape.sums ? shape.axis[a].all_taps() : most;
  }
  if (shape.sums) lines *= static_cast<int64_t>(w.residues.size());
  const int64_t stages = lines * config.chunks, each = taps * config.steps;
  if (each > shape.max_chain) return {};
  if (stages * each > shape.max_chain) {
    config.parking_chunks =
        static_cast<int>(ceil_div(stages, ceil_div(stages, shape.max_chain / each)));
  }
  config.packed_input = product.input != Layout::ndhwc || p.in_channels * shape.bytes % 16 != 0;
  config.weight_rows = product.reversed;
  config.weight_as_is = product.reversed && description.weight == Layout::ndhwc &&
                        fits_boxes(p.in_channels, p.out_channels, shape.bytes);
  config.turned = product.output != Layout::ndhwc;
  const BatchDeal deal = deal_lines(product, config, shape.num_sms);
  const auto lines_dealt = static_cast<int64_t>(deal.lines.size());
  if (deal.groups == 0 || lines_dealt > kMaxBatchLines) return {};
  const auto turned = static_cast<double>(2 * turned_bytes(description, config));
  config.clocks = estimate_batch_rows(shape, product, config, deal) +
                  turned / kPackBytesPerClock / shape.num_sms;
  return config;
}

}  // namespace convt3d::cuda::halo_gemm
