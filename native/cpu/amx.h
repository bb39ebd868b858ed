// AMX: tiles of bfloat16 pairs, multiplied 16 x 16 x 32 by one instruction and summed in float32; and their packing. What
// products of matrices (gemm_amx.h) and attention (attention_amx.h) are made of on processors that have them.
//
// A number of another type is cut into bfloat16 pieces that add up to it exactly: float16 into two, float32 into three
// of 8 bits, each the nearest to what is left. Subnormal numbers, pieces and products count as zero.
#pragma once

#include <type_traits>

#include "formats.h"
#include "gemm_pack.h"

#if defined(__AVX512F__)

namespace tsgpt::TSGPT_NS::amx {

using gemm::BFloat16;
using gemm::Half;
using gemm::load;

constexpr int64_t tile_lanes = 16;               // rows of A, or columns of B, in a tile
constexpr int64_t tile_numbers = 32;             // of each along k: a step
constexpr int64_t tile_floats = 256;             // a tile's size, in float32 numbers: 16 rows of 16 pairs
constexpr int64_t block_lanes = 2 * tile_lanes;  // rows and columns of C that are computed together, from two by two tiles

// Steps along k numbers.
inline int64_t steps_of(int64_t k) { return (k + tile_numbers - 1) / tile_numbers; }

// ------------------------------------------------------------------ tile registers

// What the tile registers hold: 16 rows of 64 bytes, all eight alike.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Every task takes the tile registers and lets go of them, so that no thread carries them where it needs none.
struct Tiles {
  explicit Tiles(bool used = true) : used(used) {
    static constexpr TileConfig config;
    if (used) asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~Tiles() {
    if (used) asm volatile("tilerelease");
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  bool used;
};

// As assembler, so that this file needs no flag beyond AVX-512; runtime/dispatch.h says where it may run.
#define TSGPT_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile:)
#define TSGPT_TILE_LOAD(tile, p, row_bytes) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(p), "r"(static_cast<int64_t>(row_bytes)) : "memory")
#define TSGPT_TILE_STORE(tile, p, row_bytes) \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(p), "r"(static_cast<int64_t>(row_bytes)) : "memory")
#define TSGPT_TILE_MULTIPLY(sum, a, b) asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum:)

// Products of the pieces i of A and j of B count while i + j is at most this. What is left out is at most 2^-24 of the product
// of the powers of two next below both numbers, of either sign.
constexpr int most_order = 2;

// Products of tiles for each tile of C and step.
template <int PA, int PB>
constexpr int tile_products = [] {
  int count = 0;
  for (int i = 0; i < PA; i++) count += most_order - i < PB - 1 ? most_order - i + 1 : PB;
  return count;
}();

// sums = (add ? sums : 0) + A B for two by two tiles. A has, for each step along k, each piece's two tiles; B likewise.
template <int PA, int PB>
inline void multiply(int64_t steps, const float* a, const float* b, float* sums, int64_t sums_row, bool add) {
  float* lower = sums + tile_lanes * sums_row;
  int64_t bytes = 4 * sums_row;
  if (add) {
    TSGPT_TILE_LOAD(0, sums, bytes);
    TSGPT_TILE_LOAD(1, sums + tile_lanes, bytes);
    TSGPT_TILE_LOAD(2, lower, bytes);
    TSGPT_TILE_LOAD(3, lower + tile_lanes, bytes);
  } else {
    TSGPT_TILE_ZERO(0);
    TSGPT_TILE_ZERO(1);
    TSGPT_TILE_ZERO(2);
    TSGPT_TILE_ZERO(3);
  }
  for (int64_t s = 0; s < steps; s++) {
    int held = -1;  // the piece of B in registers
#pragma GCC unroll 3
    for (int i = 0; i < PA; i++, a += 2 * tile_floats) {
      TSGPT_TILE_LOAD(4, a, 64);
      TSGPT_TILE_LOAD(5, a + tile_floats, 64);
      int last = smaller(PB - 1, most_order - i);
#pragma GCC unroll 3
      for (int n = 0; n <= last; n++) {
        int j = i % 2 == 0 ? n : last - n;  // forth and back: where it turns, a piece is used twice
        if (j != held) {
          TSGPT_TILE_LOAD(6, b + 2 * j * tile_floats, 64);
          TSGPT_TILE_LOAD(7, b + (2 * j + 1) * tile_floats, 64);
        }
        held = j;
        TSGPT_TILE_MULTIPLY(0, 4, 6);
        TSGPT_TILE_MULTIPLY(1, 4, 7);
        TSGPT_TILE_MULTIPLY(2, 5, 6);
        TSGPT_TILE_MULTIPLY(3, 5, 7);
      }
    }
    b += 2 * PB * tile_floats;
  }
  TSGPT_TILE_STORE(0, sums, bytes);
  TSGPT_TILE_STORE(1, sums + tile_lanes, bytes);
  TSGPT_TILE_STORE(2, lower, bytes);
  TSGPT_TILE_STORE(3, lower + tile_lanes, bytes);
}

// ------------------------------------------------------------------ pieces

template <class T, bool rounded> constexpr int pieces = std::is_same_v<T, BFloat16> || rounded ? 1 : sizeof(T) == 2 ? 2 : 3;

struct alignas(64) PieceOrder {
  uint16_t across[32], along[32];
};
constexpr PieceOrder piece_order = [] {
  PieceOrder order{};
  for (uint16_t i = 0; i < 32; i++) {
    order.across[i] = static_cast<uint16_t>(i % 2 * 32 + i / 2 * 2 + 1);
    order.along[i] = static_cast<uint16_t>(2 * i + 1);
  }
  return order;
}();

// out[piece]: the pieces of `low` and `high`, in the given order. Those before the last are rounded by an addition to the bits;
// the last, where nothing is left to round, keeps a NaN one.
template <int N> inline void cut(vf low, vf high, const uint16_t (&order)[32], vf (&out)[N]) {
  const __m512i at = _mm512_load_si512(&order), upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  __m512i bits[2];
  vf rest[2] = {low, high};
#pragma GCC unroll 3
  for (int piece = 0; piece < N; piece++) {
    for (int i = 0; i < 2; i++) {
      bits[i] = _mm512_castps_si512(rest[i].v);
      if (piece == N - 1) continue;
      bits[i] = _mm512_add_epi32(bits[i], _mm512_set1_epi32(0x8000));
      rest[i] = rest[i] - vf{_mm512_castsi512_ps(_mm512_and_si512(bits[i], upper))};
    }
    out[piece].v = _mm512_castsi512_ps(_mm512_permutex2var_epi16(bits[0], at, bits[1]));
  }
}

// Pairs of n (to 16) lanes that lie side by side, at p and q.
template <int N, class T> inline void pairs_across(const T* p, const T* q, int64_t n, vf (&out)[N]) {
  if constexpr (N == 1) {
    out[0] = gemm::pairs_of(p, q, n);
  } else if (n >= width) {
    cut(load(p), load(q), piece_order.across, out);
  } else {
    cut(load(p, n), load(q, n), piece_order.across, out);
  }
}

// 16 pairs of one lane, where k lies side by side.
template <int N, class T> inline void pairs_along(const T* p, vf (&out)[N]) {
  if constexpr (N == 1) {
    out[0] = gemm::pairs_along(p);
  } else {
    cut(load(p), load(p + width), piece_order.along, out);
  }
}

// A tile of each piece, `apart` floats from one to the next: `lanes` (to 16) rows of A or columns of B and k (to 32)
// numbers of each, zero beyond; what stands in lanes beyond is not determined. k_inside: a tile's row is a lane (A), else
// a pair (B). next: how far on the numbers are that B is asked for meanwhile, where lanes lie side by side.
template <int N, bool k_inside, class T>
inline void pack_tile(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, float* out, int64_t apart,
                      int64_t next) {
  static const T zeros[tile_lanes] = {};
  bool across = lane_stride == 1 && k_stride != 1, turn = across == k_inside;
  alignas(64) float copy[N * tile_floats];
  float* to = turn ? copy : out;
  int64_t to_apart = turn ? tile_floats : apart;
  auto ask = [](const T* q) __attribute__((always_inline)) {  // for the cache lines of 32 numbers
    __builtin_prefetch(q);
    if constexpr (sizeof(T) == 4) __builtin_prefetch(q + 16);
  };
  for (int64_t r = 0; r < tile_lanes; r++, to += tile_lanes) {
    vf row[N];
    if (across) {
      const T* at = p + 2 * r * k_stride;
      if (!k_inside) ask(at + next), ask(at + next + k_stride);
      pairs_across(2 * r < k ? at : zeros, 2 * r + 1 < k ? at + k_stride : zeros, lanes, row);
    } else if (k == tile_numbers && k_stride == 1) {
      if (!k_inside) ask(p + (r + block_lanes) * lane_stride);
      pairs_along(p + smaller(r, lanes - 1) * lane_stride, row);
    } else {
      T numbers[tile_numbers] = {};
      const T* at = p + smaller(r, lanes - 1) * lane_stride;
      if (k_stride == 1) std::memcpy(numbers, at, static_cast<size_t>(k) * sizeof(T));
      for (int64_t s = 0; k_stride != 1 && s < k; s++) numbers[s] = at[s * k_stride];
      pairs_along(static_cast<const T*>(numbers), row);
    }
#pragma GCC unroll 3
    for (int piece = 0; piece < N; piece++) store(to + piece * to_apart, row[piece]);
  }
  for (int piece = 0; turn && piece < N; piece++) {
    const float* rows[tile_lanes];
    for (int64_t i = 0; i < tile_lanes; i++) rows[i] = copy + piece * tile_floats + i * tile_lanes;
    for (int64_t i = 0; i < tile_lanes; i += 4)
      gemm::transpose_steps(rows, i, out + piece * apart + i * tile_lanes, tile_lanes);
  }
}

// `lanes` (to 32) lanes and k numbers of each as multiply() reads them: per step the pieces, of two tiles each.
template <int N, bool k_inside, class T>
inline void pack_block(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, float* out, int64_t next) {
  for (int64_t s = 0; s < k; s += tile_numbers, out += 2 * N * tile_floats) {
    for (int64_t l = 0; l < lanes; l += tile_lanes) {
      pack_tile<N, k_inside>(p + l * lane_stride + s * k_stride, lane_stride, k_stride, smaller(tile_lanes, lanes - l),
                             smaller(tile_numbers, k - s), out + l / tile_lanes * tile_floats, 2 * tile_floats, next);
    }
  }
}

// As many blocks as `lanes` takes. Where lanes lie side by side all blocks take a step before the next one's turn, so that
// long runs are read.
template <int N, bool k_inside, class T>
inline void pack_blocks(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, float* out) {
  int64_t apart = steps_of(k) * 2 * N * tile_floats, at_once = lane_stride == 1 ? tile_numbers : k;
  for (int64_t s = 0; s < k; s += at_once, out += 2 * N * tile_floats) {
    for (int64_t l = 0; l < lanes; l += block_lanes) {
      int64_t next = 2 * block_lanes;  // two blocks on in the row, or from its end in that of the next step
      if (l + next >= lanes) next += tile_numbers * k_stride - (lanes + block_lanes - 1) / block_lanes * block_lanes;
      pack_block<N, k_inside>(p + l * lane_stride + s * k_stride, lane_stride, k_stride, smaller(block_lanes, lanes - l),
                              smaller(at_once, k - s), out + l / block_lanes * apart, next);
    }
  }
}

}  // namespace tsgpt::TSGPT_NS::amx

#endif
