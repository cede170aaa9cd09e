// SPDX-License-Identifier: BSD-3-Clause
// The producers of turn_kernel.cuh.
//
//   grad_output: a plane's lines of one channel are one run of bytes
//      | one warp: a bulk copy for each channel, of all pieces of 16 bytes that hold a part of it
//      v
//   raw lines of the channels of a piece of 16 bytes: each begins where it does in memory, modulo
//   16
//      | 3 warps: a lane takes one element of each channel
//      v
//   stage: rows of 32 bytes of channels, by residue of h, then of w, then line by line
//
// Where each element of a run goes is found once (`rows`), and what no element goes to is zeroed
// once. Lines outside grad_output are zeros.
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_gemm/turn_params.h"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/ring.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

inline constexpr uint32_t kNoRow = 0xFFFF;

template <typename T>
inline constexpr int kTurnVector = 16 / static_cast<int>(sizeof(T));

__device__ __forceinline__ uint32_t load_half(uint32_t address) {
  uint16_t value;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(value) : "r"(address) : "memory");
  return value;
}

template <typename T>
__device__ __forceinline__ uint32_t load_element(uint32_t address) {
  return sizeof(T) == 4 ? load_shared(address) : load_half(address);
}

// By all threads, before the first stage: in pieces of 16 bytes, from the start of a stage.
__device__ __forceinline__ void find_rows(const TurnParams& p, uint32_t rows) {
  const int width = p.source_extent[2];
  for (int at = threadIdx.x; at < turn_table(p.elements); at += kTurnThreads) {
    const int line = at / width, x = at - line * width + p.padding[2];
    const int residue = line % kTurnStride, row = line / kTurnStride * p.pitch + x / kTurnStride;
    const int byte = residue * 2 * p.class_bytes[0] + x % kTurnStride * p.class_bytes[residue] +
                     row * kTurnRowBytes;
    const bool there = at < p.elements && x / kTurnStride < p.pitch;
    const uint32_t piece = there ? byte / 16 ^ (byte / 128 % 2) : kNoRow;
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(rows + 2 * at), "h"(static_cast<uint16_t>(piece)));
  }
}

// The elements of a unit's lines that lie in grad_output.
struct TurnInside {
  int begin, end;
  __device__ TurnInside(const TurnParams& p, const TurnWalk& walk) {
    const int first = walk.first_source(p), width = p.source_extent[2];
    begin = max(-first, 0) * width;
    end = min((p.source_extent[1] - first) * width, p.elements);
  }
};

// The address of a channel's first element of a unit's lines, in grad_output or before it.
template <typename T>
__device__ __forceinline__ intptr_t turn_run(const TurnParams& p, const TurnWalk& walk, int tap,
                                             int channel) {
  const auto& s = p.source_stride;
  const int64_t at = walk.item * s[0] + channel * s[1] + walk.source_plane(p, tap) * s[2] +
                     walk.first_source(p) * s[3];
  return reinterpret_cast<intptr_t>(p.source) + at * static_cast<int>(sizeof(T));
}

// Whether the phase has ended, without waiting for it; the same for all lanes.
__device__ __forceinline__ bool has_ended(uint32_t barrier, uint32_t parity) {
  uint32_t ended;
  asm volatile(
      "{\n .reg .pred done;\n"
      " mbarrier.test_wait.parity.shared::cta.b64 done, [%1], %2;\n"
      " selp.b32 %0, 1, 0, done;\n}"
      : "=r"(ended)
      : "r"(barrier), "r"(parity)
      : "memory");
  return __all_sync(~0u, ended != 0);
}

// Lines of the channels of a piece, each a lane's.
template <typename T>
__device__ __forceinline__ void copy_piece(const TurnParams& p, const TurnSteps& at, uint32_t raw,
                                           uint32_t full) {
  constexpr int kBytes = sizeof(T);
  const int lane = threadIdx.x % 32;
  if (lane < kTurnVector<T>) {
    const TurnInside inside(p, at.walk);
    const int channel = at.step * kTurnVector<T> + lane;
    const intptr_t run = turn_run<T>(p, at.walk, at.tap, channel);
    const intptr_t from = (run + inside.begin * kBytes) & -16;
    const intptr_t to = (run + inside.end * kBytes + 15) & -16;
    const auto bytes = channel < p.sources ? static_cast<uint32_t>(to - from) : 0;
    sm90::barrier_arrive_expect(full, bytes);
    if (bytes > 0) {
      sm90::bulk_copy(raw + lane * p.raw_pitch + static_cast<uint32_t>(from - (run & -kTurnLead)),
                      reinterpret_cast<const void*>(from), bytes, full);
    }
  }
  __syncwarp();
}

// One warp copies lines and weights, whichever there is room for.
template <typename T>
__device__ __forceinline__ void copy_all(const TurnParams& p, const TurnShared& shared) {
  const int first = blockIdx.x % p.blocks * kTurnKernel;  // of the weights' taps of d
  sm90::Ring raw, weights;
  TurnSteps lines(p, p.chunks * kTurnPieces), taps(p, p.chunks * kTurnKernel);
  bool more_lines = lines.next(p), more_taps = taps.next(p);
  while (more_lines || more_taps) {
    if (more_lines && has_ended(shared.raw_empty + 8 * raw.stage, raw.parity ^ 1)) {
      copy_piece<T>(p, lines, shared.raw + raw.stage * kTurnVector<T> * p.raw_pitch,
                    shared.raw_full + 8 * raw.stage);
      raw.next(p.raw_slots);
      more_lines = lines.next(p);
    }
    if (more_taps && has_ended(shared.weights_empty + 8 * weights.stage, weights.parity ^ 1)) {
      if (threadIdx.x % 32 == 0) {
        const uint32_t full = shared.weights_full + 8 * weights.stage;
        sm90::barrier_arrive_expect(full, kTurnWeightBytes);
        sm90::bulk_copy(
            shared.weights + weights.stage * kTurnWeightBytes,
            p.weights + (int64_t{first + taps.tap} * taps.steps + taps.step) * kTurnWeightBytes,
            kTurnWeightBytes, full);
      }
      __syncwarp();
      weights.next(p.weight_slots);
      more_taps = taps.next(p);
    }
  }
}

// kBatch elements of each channel of a piece a lane, all loaded before the first is stored.
// `from`: of each channel, this thread's first element. kAll: all of them lie in grad_output.
template <typename T, bool kAll>
__device__ __forceinline__ void turn_piece(const TurnParams& p, uint32_t (&from)[kTurnVector<T>],
                                           uint32_t rows, uint32_t slot, int piece, int channels,
                                           const TurnInside& inside) {
  constexpr int kVector = kTurnVector<T>, kBytes = sizeof(T);
  const int thread = threadIdx.x - kTurnConsumers * 32;
  rows += 2 * thread;
#pragma unroll 1
  for (int first = thread; first < p.elements; first += kTurnBatch * kTurnStep) {
    uint32_t row[kTurnBatch], element[kTurnBatch][kVector];
#pragma unroll
    for (int i = 0; i < kTurnBatch; ++i) {
      row[i] = load_half(rows + 2 * i * kTurnStep);
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        element[i][v] = load_element<T>(from[v] + i * kTurnStep * kBytes);
      }
    }
    rows += 2 * kTurnBatch * kTurnStep;
#pragma unroll
    for (int v = 0; v < kVector; ++v) from[v] += kTurnBatch * kTurnStep * kBytes;
#pragma unroll
    for (int i = 0; i < kTurnBatch; ++i) {
      if constexpr (!kAll) {
        const int at = first + i * kTurnStep;
        const bool there = at >= inside.begin && at < inside.end;
#pragma unroll
        for (int v = 0; v < kVector; ++v) element[i][v] = there && v < channels ? element[i][v] : 0;
      }
      uint32_t value[4];
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        if constexpr (sizeof(T) == 4) {
          value[w] = round_to_tf32(element[i][w]);
        } else {
          value[w] = __byte_perm(element[i][2 * w], element[i][2 * w + 1], 0x5410);
        }
      }
      if (row[i] != kNoRow) {
        store_shared(slot + (row[i] ^ piece) * 16,
                     make_uint4(value[0], value[1], value[2], value[3]));
      }
    }
  }
}

template <typename T>
__device__ __forceinline__ void turn_lines(const TurnParams& p, const TurnShared& shared) {
  constexpr int kVector = kTurnVector<T>, kBytes = sizeof(T);
  const int thread = threadIdx.x - kTurnConsumers * 32;
  sm90::Ring raw, ring;
  TurnSteps at(p, p.chunks);
  while (at.next(p)) {
    const TurnInside inside(p, at.walk);
    sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
    const uint32_t slot = shared.slots + ring.stage * p.slot_bytes;
#pragma unroll 1
    for (int piece = 0; piece < kTurnPieces; ++piece) {
      const int channel = (at.step * kTurnPieces + piece) * kVector;
      const auto run = static_cast<uint32_t>(turn_run<T>(p, at.walk, at.tap, channel));
      uint32_t from[kVector];
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        const uint32_t of_channel = run + v * static_cast<uint32_t>(p.source_stride[1]) * kBytes;
        from[v] = shared.raw + (raw.stage * kVector + v) * p.raw_pitch +
                  (of_channel & (kTurnLead - 1)) + thread * kBytes;
      }
      const int channels = p.sources - channel;
      sm90::barrier_wait(shared.raw_full + 8 * raw.stage, raw.parity);
      if (inside.begin == 0 && inside.end == p.elements && channels >= kVector) {
        turn_piece<T, true>(p, from, shared.rows, slot, piece, channels, inside);
      } else {
        turn_piece<T, false>(p, from, shared.rows, slot, piece, channels, inside);
      }
      __syncwarp();
      sm90::release(shared.raw_empty, raw);
      raw.next(p.raw_slots);
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncwarp();
    sm90::release(shared.full, ring);
    ring.next(p.slots);
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
