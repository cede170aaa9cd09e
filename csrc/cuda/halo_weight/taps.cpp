// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_weight/taps.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace convt3d::cuda::halo_weight {
namespace {

// One tap of an axis: where its view starts, and its shift in there.
struct AxisTap {
  int tap, start, shift;
};

std::vector<AxisTap> axis_taps(const Problem& p, int axis, bool shares, int* halo) {
  const int64_t stride = p.stride[axis];
  std::vector<AxisTap> taps;
  *halo = 0;
  for (int64_t k = 0; k < p.kernel[axis]; ++k) {
    const int64_t at = p.dilation[axis] * k - p.padding[axis];
    int64_t first = at;
    if (shares) {
      for (int64_t j = 0; j < k; ++j) {
        const int64_t other = p.dilation[axis] * j - p.padding[axis];
        if ((at - other) % stride == 0) first = std::min(first, other);
      }
    }
    const auto shift = static_cast<int>((at - first) / stride);
    taps.push_back({static_cast<int>(k), static_cast<int>(first), shift});
    *halo = std::max(*halo, shift);
  }
  std::stable_sort(taps.begin(), taps.end(), [](const AxisTap& a, const AxisTap& b) {
    return std::pair(a.start, a.shift) < std::pair(b.start, b.shift);
  });
  return taps;
}

struct Place {
  std::array<int, 3> start;
  Lane lane;
};

// From one lane to the next: views, and positions of one.
std::array<int, 4> distance(const Lane& a, const Lane& b) {
  return {b.view - a.view, b.shift[0] - a.shift[0], b.shift[1] - a.shift[1],
          b.shift[2] - a.shift[2]};
}

}  // namespace

std::vector<std::array<bool, 3>> share_choices(const Problem& problem) {
  std::vector<std::array<bool, 3>> choices;
  for (int bits = 0; bits < 8; ++bits) {
    std::array<bool, 3> shares{};
    bool same = false;  // as another choice
    for (int a = 0; a < 3; ++a) {
      shares[a] = (bits >> a & 1) != 0;
      if (shares[a] && (problem.kernel[a] == 1 || problem.input[a] == 1)) same = true;
    }
    if (!same) choices.push_back(shares);
  }
  return choices;
}

Taps make_taps(const Problem& p, const std::array<bool, 3>& shares, int lanes) {
  Taps result;
  std::array<std::vector<AxisTap>, 3> axis;
  for (int a = 0; a < 3; ++a) axis[a] = axis_taps(p, a, shares[a], &result.halo[a]);
  std::vector<Place> places;
  for (const AxisTap& d : axis[0]) {
    for (const AxisTap& h : axis[1]) {
      for (const AxisTap& w : axis[2]) {
        const int tap = static_cast<int>((d.tap * p.kernel[1] + h.tap) * p.kernel[2]) + w.tap;
        places.push_back({{d.start, h.start, w.start}, {tap, 0, {d.shift, h.shift, w.shift}}});
      }
    }
  }
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::tie(a.start, a.lane.shift) < std::tie(b.start, b.lane.shift);
  });
  for (Place& place : places) {
    if (result.views.empty() || result.views.back() != place.start) {
      result.views.push_back(place.start);
    }
    place.lane.view = static_cast<int>(result.views.size()) - 1;
  }
  for (size_t i = 0; i < places.size();) {
    // A run of equal distances; what is left of a unit must stay in its line, where the stage has
    // rows to spare for the lanes that are absent.
    size_t run = 1;
    while (run < static_cast<size_t>(lanes) && i + run < places.size()) {
      const auto step = distance(places[i + run - 1].lane, places[i + run].lane);
      if (run > 1 && step != distance(places[i].lane, places[i + 1].lane)) break;
      ++run;
    }
    if (run > 1 && run < static_cast<size_t>(lanes)) {
      const auto step = distance(places[i].lane, places[i + 1].lane);
      if (step[0] != 0 || step[1] != 0 || step[2] != 0) run = 1;
    }
    for (size_t lane = 0; lane < static_cast<size_t>(lanes); ++lane) {
      result.lanes.push_back(lane < run ? places[i + lane].lane : Lane{});
    }
    ++result.units;
    i += run;
  }
  return result;
}

Views count_views(const Taps& taps, int lanes, int parts, int units) {
  Views views;
  const int all = taps.units * parts;
  int jobs = 0;
  for (int first = 0; first < all; first += units, ++jobs) {
    int count = 0;
    std::pair<int, int> last{-1, -1};  // part, view
    for (int unit = first; unit < std::min(first + units, all); ++unit) {
      const int part = unit / taps.units, of_part = unit % taps.units;
      for (int lane = 0; lane < lanes; ++lane) {
        const Lane& l = taps.lanes[static_cast<size_t>(of_part * lanes + lane)];
        if (l.tap < 0 || last == std::pair(part, l.view)) continue;
        last = {part, l.view};
        ++count;
      }
    }
    views.most = std::max(views.most, count);
    views.mean += count;
  }
  views.mean /= jobs;
  return views;
}

}  // namespace convt3d::cuda::halo_weight
