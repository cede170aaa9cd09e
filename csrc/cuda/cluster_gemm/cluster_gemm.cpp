// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/cluster_gemm/cluster_gemm.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <vector>

#include "cuda/cluster_gemm/config.h"
#include "cuda/common/kept_answer.h"
#include "cuda/sm90/chain.h"
#include "cuda/sm90/walk_limits.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::cluster_gemm {
namespace {

// Whether TMA walks over what the part reads.
bool can_walk(const Product& product, const Part& part) {
  for (size_t a = 0; a < 3; ++a) {
    const int64_t last = part.first[a] + (part.taps[a] - 1) * part.tap_reads[a];
    const int64_t corner = std::min(part.first[a], last);
    const int64_t upper =
        sm90::upper_corner(corner, part.extent[a], product.step[a], product.read[a]);
    if (corner < sm90::kLeastCorner || corner > sm90::kMostCorner || upper < sm90::kLeastCorner ||
        upper > sm90::kMostCorner || std::max(part.first[a], last) - corner > sm90::kMostOffset ||
        product.step[a] > sm90::kMostStep) {
      return false;
    }
  }
  return true;
}

int64_t chunk_elements(const Description& description) {
  return kChunkBytes / element_bytes(description.precision);
}

int64_t packed_bytes(int64_t rows, const Description& description, const Product& product) {
  const int64_t bytes =
      rows * packed_channels(description, product) * element_bytes(description.precision);
  return ceil_div(bytes, kPackAlign) * kPackAlign;
}

// Clocks of the items, most first, each by the cluster that is free first.
double spread_clocks(const std::vector<std::pair<int64_t, double>>& items, int64_t clusters) {
  std::priority_queue<double, std::vector<double>, std::greater<>> busy;
  for (int64_t i = 0; i < clusters; ++i) busy.push(0);
  double last = 0;
  for (const auto& [count, clocks] : items) {
    // Whole rounds of equal items at once.
    for (int64_t i = 0; i < std::min(count, kMostSpread * clusters); ++i) {
      const double end = busy.top() + clocks;
      busy.pop();
      busy.push(end);
      last = std::max(last, end);
    }
    if (count > kMostSpread * clusters) {
      last += clocks * as_double(count - kMostSpread * clusters) / as_double(clusters);
    }
  }
  return last;
}

// The same where each cluster has every so many-th item.
double dealt_clocks(const std::vector<std::pair<int64_t, double>>& items, int64_t clusters) {
  std::vector<double> busy(static_cast<size_t>(clusters));
  double rounds = 0;
  size_t next = 0;
  for (const auto& [count, clocks] : items) {
    rounds += clocks * as_double(count / clusters);
    for (int64_t i = 0; i < count % clusters; ++i, next = (next + 1) % busy.size()) {
      busy[next] += clocks;
    }
  }
  return rounds + *std::max_element(busy.begin(), busy.end());
}

// Clusters of so many blocks that run at once: whole ones in each part of the GPU.
int64_t clusters_at_once(const Device& device, int splits) {
  const int64_t all = device.num_sms / splits;
  return splits <= 2 ? all : std::max<int64_t>(1, all * kWholeClusters / 100);
}

// Fills in what follows from tile and splits.
void complete(const Description& description, const Device& device, const Product& product,
              Config* c) {
  const int64_t chunks = ceil_div(product.channels, chunk_elements(description));
  const int64_t chain = sm90::max_chain(description.precision) / kStepsOfChunk;
  c->chain_units = static_cast<int>(chain);
  c->long_chains = false;
  const int64_t longest = ceil_div(product.part[0].all_taps * chunks, c->splits);
  const double products = kProductClocks * kStepsOfChunk * (c->rows / 64.0) * (c->columns / 2.0);
  const double loads = kChunkBytes * (c->rows + c->columns) / kL2BytesPerClock;
  const double sums = c->rows * c->columns / (kSumWarps * 32.0);
  const int64_t clusters = clusters_at_once(device, c->splits);
  std::vector<std::pair<int64_t, double>> items;
  int64_t all = 0;
  for (int i = 0; i < product.parts; ++i) {
    const Part& part = product.part[static_cast<size_t>(i)];
    int& splits = c->part_splits[static_cast<size_t>(i)] = 1;
    while (splits < c->splits && ceil_div(part.all_taps * chunks, splits) > longest) splits *= 2;
    const int64_t units = ceil_div(part.all_taps * chunks, splits);
    c->long_chains |= units > chain;
    const double block = kBlockClocks + sums * kStoreClocks +
                         (splits > 1 ? sums * (kJoinClocks + kJoinSplitClocks * splits) : 0);
    const double apart = as_double(std::max<int64_t>(units - chain, 0)) * products * kApartMore;
    const int64_t tiles = ceil_div(part.positions, c->rows) * ceil_div(product.columns, c->columns);
    items.emplace_back(ceil_div(tiles * splits, c->splits),
                       as_double(units) * std::max(products, loads) + block + apart);
    all += items.back().first;
  }
  // One tile after another where K is whole and all tiles alike; else the next free SM has the
  // next.
  const bool in_turn = c->splits == 1 && product.parts == 1;
  c->blocks = static_cast<int>((in_turn ? std::min(all, clusters) : all) * c->splits);
  c->clocks =
      kStartClocks + (in_turn ? dealt_clocks(items, clusters) : spread_clocks(items, clusters));
}

Config search(const Description& description, const Device& device) {
  Product product{};
  const char* why = nullptr;
  make_product(description, &product, &why);
  Config best{};
  best.clocks = std::numeric_limits<double>::infinity();
  for (const TileShape& tile : kTiles) {
    for (int splits = 1; splits <= kMaxSplits; splits *= 2) {
      Config c{tile.rows, tile.columns, splits};
      complete(description, device, product, &c);
      if (c.clocks < best.clocks) best = c;
    }
  }
  return best;
}

// Clocks of the launches ahead, and of stores of single elements.
double turning_clocks(const Description& description, const Product& product) {
  const Problem& p = description.problem;
  const int64_t bytes =
      packed_read_bytes(description, product) + packed_weight_bytes(description, product);
  double clocks = (product.packs_read + product.packs_weight) * kPackClocks +
                  as_double(bytes) / kPackBytesPerClock;
  if (product.forward && description.output != Layout::ndhwc && p.stride[2] > 1) {
    const double result = as_double(p.batch * p.out_channels) * as_double(volume(p.output())) *
                          as_double(element_bytes(description.precision));
    clocks += result / (result < kCachedBytes ? kCachedStrideBytesPerClock : kStrideBytesPerClock);
  }
  return clocks;
}

// Whether the families behind this one are estimated to take less than so many clocks.
bool others_are_faster(const Description& description, const Product& product, double clocks) {
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision);
  const double weight = as_double(product.channels * product.columns * volume(p.kernel));
  const double products = 1e-9 * weight * as_double(p.batch * volume(p.input));
  const double read = as_double(product.channels * p.batch * volume(product.read));
  const Others& others = bytes == 2 ? (product.forward ? kNarrowForward : kNarrowGradInput)
                                    : (product.forward ? kTf32Forward : kTf32GradInput);
  const double megabyte = as_double(bytes) * 1e-6;
  const double theirs =
      others.start + others.products * products + others.weight_megabyte * weight * megabyte +
      (product.packs_read ? others.lines + others.line_megabyte * (weight + read) * megabyte : 0);
  return theirs < others.margin * clocks;
}

}  // namespace

bool make_product(const Description& description, Product* product, const char** why) {
  const Problem& p = description.problem;
  const bool forward = description.direction == Direction::forward;
  const int64_t bytes = element_bytes(description.precision);
  const auto rows_do = [&](Layout layout, int64_t channels) {
    return layout == Layout::ndhwc && channels * bytes % 16 == 0;
  };
  product->forward = forward;
  product->channels = forward ? p.in_channels : p.out_channels;
  product->columns = forward ? p.out_channels : p.in_channels;
  product->read = forward ? p.input : p.output();
  product->packs_read =
      !rows_do(forward ? description.input : description.output, product->channels);
  // Forward's K is down the rows of the weight as it lies.
  product->packs_weight = forward || !rows_do(description.weight, p.out_channels);
  product->parts = 0;
  *why = "more than 8 residues of the output";
  if (forward && volume(p.stride) > kMaxParts) return false;
  const Extent3 residues = forward ? p.stride : Extent3{1, 1, 1};
  for (int64_t r = 0; r < volume(residues); ++r) {
    Part part{};
    const Extent3 of{r / residues[2] / residues[1], r / residues[2] % residues[1], r % residues[2]};
    for (size_t a = 0; a < 3; ++a) {
      part.axis[a] = axis_residue(p, static_cast<int>(a), of[a]);
      const AxisResidue& axis = part.axis[a];
      if (forward) {
        part.extent[a] = axis.num_outputs;
        part.taps[a] = axis.num_taps;
        part.first[a] = axis.first_input;
        part.tap_reads[a] = -axis.input_step;
        product->step[a] = 1;
      } else {
        part.extent[a] = p.input[a];
        part.taps[a] = p.kernel[a];
        part.first[a] = -p.padding[a];
        part.tap_reads[a] = p.dilation[a];
        product->step[a] = p.stride[a];
      }
    }
    part.positions = p.batch * volume(part.extent);
    part.all_taps = volume(part.taps);
    if (part.positions == 0) continue;
    *why = "a residue of the output without taps";
    if (part.all_taps == 0) return false;
    *why = "taps or padding reach too far for TMA";
    if (!can_walk(*product, part)) return false;
    product->part[static_cast<size_t>(product->parts++)] = part;
  }
  *why = "no output";
  if (product->parts == 0) return false;
  std::stable_sort(product->part.begin(), product->part.begin() + product->parts,
                   [](const Part& a, const Part& b) { return a.all_taps > b.all_taps; });
  return true;
}

int64_t packed_channels(const Description& description, const Product& product) {
  const int64_t vector = 16 / element_bytes(description.precision);
  return ceil_div(product.channels, vector) * vector;
}

int64_t packed_read_bytes(const Description& description, const Product& product) {
  const int64_t rows = description.problem.batch * volume(product.read);
  return product.packs_read ? packed_bytes(rows, description, product) : 0;
}

int64_t packed_weight_bytes(const Description& description, const Product& product) {
  const int64_t rows = product.columns * volume(description.problem.kernel);
  return product.packs_weight ? packed_bytes(rows, description, product) : 0;
}

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != kArch) return Verdict::refuse("needs compute capability 9.0");
  if (description.direction == Direction::grad_weight) return Verdict::refuse("no grad_weight");
  if (element_bytes(description.precision) != 2 && description.precision != Precision::tf32) {
    return Verdict::refuse("float16, bfloat16 and TF32 only");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  const Extent3 output = p.output();
  for (size_t a = 0; a < 3; ++a) {
    if (std::max({p.input[a], output[a], p.kernel[a], p.stride[a], p.dilation[a], p.padding[a]}) >
        kMaxExtent) {
      return Verdict::refuse("an axis is longer than 2**20");
    }
  }
  const auto elements = [](int64_t n, const Extent3& e) {
    return as_double(n) * as_double(e[0]) * as_double(e[1]) * as_double(e[2]);
  };
  if (std::max({elements(p.batch * p.in_channels, p.input),
                elements(p.batch * p.out_channels, output),
                elements(p.in_channels * p.out_channels, p.kernel)}) >= as_double(kMaxElements)) {
    return Verdict::refuse("a tensor has 2**31 elements or more");
  }
  Product product{};
  const char* why = nullptr;
  if (!make_product(description, &product, &why)) return Verdict::refuse(why);
  if (std::min(product.channels, product.columns) < kMinChannels) {
    return Verdict::refuse("fewer than 64 in_channels or out_channels");
  }
  if (1e-9 * elements(p.in_channels * p.out_channels, p.kernel) * elements(p.batch, p.input) >
      kMostProducts) {
    return Verdict::refuse("so many products that halo_gemm is as fast");
  }
  if (product.columns > kNarrowTile && product.columns < kMinColumns &&
      product.part[0].positions > kNarrowPositions) {
    return Verdict::refuse("many positions, and 65 to 95 channels of the result");
  }
  if (others_are_faster(
          description, product,
          choose(description, device).clocks + turning_clocks(description, product))) {
    return Verdict::refuse("others are estimated to be faster");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description& description, const Device&) {
  Product product{};
  const char* why = nullptr;
  make_product(description, &product, &why);
  // What is dense in rows of channels may still begin where TMA cannot read it.
  product.packs_read = product.packs_weight = true;
  return packed_read_bytes(description, product) + packed_weight_bytes(description, product);
}

std::string to_string(const Config& c) {
  return std::to_string(c.rows) + "x" + std::to_string(c.columns) + " tiles, " +
         std::to_string(c.splits) + " splits" +
         (c.long_chains ? ", chains of " + std::to_string(c.chain_units) + " chunks" : "");
}

std::string config(const Description& description, const Device& device) {
  Product product{};
  const char* why = nullptr;
  make_product(description, &product, &why);
  return to_string(choose(description, device)) + (product.packs_read ? ", input packed" : "") +
         (product.packs_weight ? ", weight packed" : "");
}

}  // namespace convt3d::cuda::cluster_gemm
