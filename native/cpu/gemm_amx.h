// Matrix products on AMX: tiles of bfloat16 pairs, multiplied 16 x 16 x 32 by one instruction and summed in float32.
//
// A number of another type is cut into bfloat16 pieces that add up to it exactly: float16 into two, float32 into three
// of 8 bits. The products of pieces are summed like any others, apart from those below 2^-24 of the whole: a float32 product
// takes 6 tile products instead of 9, a float16 product 4. A core multiplies 16 to 18 times as many bfloat16 numbers by
// tiles as float32 numbers by vectors, so even six products are twice as fast; and they are no less exact, since a sum is
// rounded less often (docs/benchmarking.md).
//
// The blocking is that of gemm.cpp: a task packs its columns of B into level 2, then goes over panels of 32 rows of A,
// packed into level 1 along a chunk of k, which meet all columns. The sums of a panel wait in level 2 between chunks.
//
// Subnormal pieces count as zero, so a float32 below 2^-102 keeps fewer bits. An infinity has no pieces: its sums come out
// as NaN, and every NaN is computed again from the operands, number by number.
#pragma once

#include "gemm_common.h"

#if defined(__AVX512F__)

namespace tsgpt::TSGPT_NS::gemm::amx {

// Rows and columns of C, and numbers of k, that meet at a time: two by two tiles, each 16 rows of 16 pairs.
constexpr int64_t tile_lanes = 16, tile_numbers = 32, tile_floats = 256, block_lanes = 2 * tile_lanes;

// ------------------------------------------------------------------ tile registers

// What the tile registers hold: 16 rows of 64 bytes, all eight alike.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Every task takes the tile registers and lets go of them, so that no thread carries them where it needs none.
struct Tiles {
  Tiles() {
    static constexpr TileConfig config;
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~Tiles() { asm volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// As assembler, so that this file needs no flag beyond AVX-512; runtime/dispatch.h says where it may run.
#define TSGPT_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile:)
#define TSGPT_TILE_LOAD(tile, p, row_bytes) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(p), "r"(static_cast<int64_t>(row_bytes)) : "memory")
#define TSGPT_TILE_STORE(tile, p, row_bytes) \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(p), "r"(static_cast<int64_t>(row_bytes)) : "memory")
#define TSGPT_TILE_MULTIPLY(sum, a, b) asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum:)

// Products of the pieces i of A and j of B count while i + j is at most this.
constexpr int most_order = 2;

// sums = (add ? sums : 0) + A B for two by two tiles; each step along k has PA pieces of two tiles of A, then the next.
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
      int last = min_of(PB - 1, most_order - i);
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

// out[piece]: the upper halves of `low` and `high`, then those of what they leave, in the given order.
template <int N> inline void cut(vf low, vf high, const uint16_t (&order)[32], vf (&out)[N]) {
  const __m512i at = _mm512_load_si512(&order), upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  auto rest_of = [&](vf v) { return v - vf{_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v.v), upper))}; };
#pragma GCC unroll 3
  for (int piece = 0; piece < N; piece++) {
    out[piece].v = _mm512_castsi512_ps(_mm512_permutex2var_epi16(_mm512_castps_si512(low.v), at, _mm512_castps_si512(high.v)));
    if (piece + 1 < N) low = rest_of(low), high = rest_of(high);
  }
}

// Pairs of n (to 16) lanes that lie side by side, at p and q.
template <int N, class T> inline void pairs_across(const T* p, const T* q, int64_t n, vf (&out)[N]) {
  if constexpr (N == 1) {
    out[0] = pairs_of(p, q, n);
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
// a pair (B).
template <int N, bool k_inside, class T>
inline void pack_tile(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, float* out, int64_t apart) {
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
      if (!k_inside) ask(at + tile_numbers * k_stride), ask(at + (tile_numbers + 1) * k_stride);
      pairs_across(2 * r < k ? at : zeros, 2 * r + 1 < k ? at + k_stride : zeros, lanes, row);
    } else if (k == tile_numbers && k_stride == 1) {
      if (!k_inside) ask(p + (r + block_lanes) * lane_stride);
      pairs_along(p + min_of(r, lanes - 1) * lane_stride, row);
    } else {
      T numbers[tile_numbers] = {};
      for (int64_t s = 0; s < k; s++) numbers[s] = p[min_of(r, lanes - 1) * lane_stride + s * k_stride];
      pairs_along(static_cast<const T*>(numbers), row);
    }
#pragma GCC unroll 3
    for (int piece = 0; piece < N; piece++) store(to + piece * to_apart, row[piece]);
  }
  for (int piece = 0; turn && piece < N; piece++) {
    const float* rows[tile_lanes];
    for (int64_t i = 0; i < tile_lanes; i++) rows[i] = copy + piece * tile_floats + i * tile_lanes;
    for (int64_t i = 0; i < tile_lanes; i += 4) transpose_steps(rows, i, out + piece * apart + i * tile_lanes, tile_lanes);
  }
}

// `lanes` (to 32) lanes and k numbers of each as multiply() reads them: per step the pieces, of two tiles each.
template <int N, bool k_inside, class T>
inline void pack_block(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, float* out) {
  for (int64_t s = 0; s < k; s += tile_numbers, out += 2 * N * tile_floats) {
    for (int64_t l = 0; l < lanes; l += tile_lanes) {
      pack_tile<N, k_inside>(p + l * lane_stride + s * k_stride, lane_stride, k_stride, min_of(tile_lanes, lanes - l),
                             min_of(tile_numbers, k - s), out + l / tile_lanes * tile_floats, 2 * tile_floats);
    }
  }
}

// As many blocks as `lanes` takes. Where lanes lie side by side all blocks take a step before the next one's turn.
template <int N, class T>
inline void pack_panels(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, float* out) {
  int64_t apart = div_up(k, tile_numbers) * 2 * N * tile_floats, at_once = lane_stride == 1 ? tile_numbers : k;
  for (int64_t s = 0; s < k; s += at_once, out += 2 * N * tile_floats) {
    for (int64_t l = 0; l < lanes; l += block_lanes) {
      pack_block<N, true>(p + l * lane_stride + s * k_stride, lane_stride, k_stride, min_of(block_lanes, lanes - l),
                          min_of(at_once, k - s), out + l / block_lanes * apart);
    }
  }
}

// ------------------------------------------------------------------ the product

// The longest part of k whose columns of B are packed together, and most bytes of them (of the 2 MB of level 2) and of a
// panel of A (of the 48 KB of level 1, which columns of B pass through). More pieces want shorter parts and so more columns
// that a packed panel meets: 1024 x 768 x 3072 float32 at 450 GFLOP/s with parts of 256, at 400 with 1024; bfloat16 at
// 1.95 TFLOP/s with 1024, at 1.7 with 512 (two cores of a Granite Rapids).
template <int PB> constexpr int64_t longest_part = PB == 1 ? 1024 : 256;
template <int PB> constexpr int64_t most_packed_b = (PB == 1 ? 1280 : 768) << 10;
template <int PA> constexpr int64_t most_panel = (PA == 1 ? 16 : 24) << 10;

// Panels of A that are packed together where k does not lie side by side: then 256 bytes of bfloat16 are read at a time.
constexpr int64_t panels_at_once = 4;

// Equal parts of k, whole steps, none longer than `longest`.
inline int64_t part_of(int64_t k, int64_t longest) {
  return div_up(div_up(k, div_up(k, longest)), tile_numbers) * tile_numbers;
}

// The sums that are NaN again, from the operands: right where the numbers are infinite, which have no pieces.
template <class TA, class TB>
inline void repair(const TA* a, int64_t a_col, const TB* b, int64_t b_row, int64_t b_col, int64_t k, float* sums, int64_t n) {
  for (int64_t j = 0; j < n; j++) {
    if (sums[j] == sums[j]) continue;
    float sum = 0;
    for (int64_t s = 0; s < k && sum == sum; s++) sum += to_float(a[s * a_col]) * to_float(b[s * b_row + j * b_col]);
    sums[j] = sum;
  }
}

inline void add_block(const float* from, float* to, int64_t to_row) {
  for (int64_t i = 0; i < block_lanes; i++, from += block_lanes, to += to_row) {
    for (int64_t j = 0; j < block_lanes; j += width) store(to + j, load(to + j) + load(from + j));
  }
}

inline bool any_nan(const float* p, int64_t n) {
  __mmask16 nan = 0;
  for (int64_t j = 0; j < n; j += width) {
    __m512 v = n - j >= width ? load(p + j).v : load(p + j, n - j).v;
    nan = static_cast<__mmask16>(nan | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q));
  }
  return nan != 0;
}

// Whether packing pays: as measured against the vectors of AVX-512, with B in memory and near.
template <class TA, class TB, bool rounded> inline bool is_faster(const Gemm& g) {
  constexpr int most = std::max(pieces<TA, rounded>, pieces<TB, rounded>),
                least = std::min(pieces<TA, rounded>, pieces<TB, rounded>);
  constexpr int64_t rows = most == 1 ? 9 : least == 3 ? 33 : 16, products = least == 3 ? 1 << 22 : 1 << 18;
  return g.m >= rows && g.n >= 32 && g.k >= 32 && g.batch * g.m * g.n * g.k >= products;
}

// rounded: float32 operands are rounded to bfloat16, one piece, instead of cut.
template <class TA, class TB, bool rounded> void run(const Gemm& g) {
  constexpr int PA = pieces<TA, rounded>, PB = pieces<TB, rounded>;
  constexpr bool one_piece = PA == 1 && PB == 1;
  constexpr int64_t a_step = 2 * PA * tile_floats, b_step = 2 * PB * tile_floats;  // floats of a step, in a block
  int64_t part = part_of(g.k, longest_part<PB>), steps = part / tile_numbers, parts = div_up(g.k, part);
  int64_t chunk = part_of(part, most_panel<PA> / (4 * a_step) * tile_numbers);
  int64_t most_blocks = most_packed_b<PB> / (4 * b_step * steps);
  int64_t group = g.a_col == 1 ? 1 : panels_at_once;  // of panels
  double tile_products = PA == 1 && PB == 1 ? 1 : PA == PB ? 2 * PA : PA + PB - 1;
  Grid grid = choose_grid(g, {block_lanes, most_blocks, block_lanes, tile_products / 14, 20, 20});
  int64_t tiles = grid.row_tiles * grid.col_tiles, col_blocks = div_up(grid.cols, block_lanes);
  int64_t most_rows = div_up(g.m, grid.row_tiles), most_panels = div_up(most_rows, block_lanes) + 1;
  int64_t sums_row = col_blocks * block_lanes + tile_lanes;  // an odd multiple of 64 bytes: rows in many sets of level 1
  int64_t b_size = col_blocks * steps * b_step, a_size = group * (chunk / tile_numbers) * a_step;
  int64_t sums_size = block_lanes * sums_row * (parts > 1 ? most_panels : group);
  // Whole blocks of C that are but sums are written as such.
  bool plain = one_piece && parts == 1 && g.type_c == DType::float32 && g.alpha == 1 && g.beta == 0 && !g.bias;
  parallel_unless(is_tiny(g), g.batch * tiles, [&](int64_t task) {
    int64_t batch = task / tiles, tile = task % tiles;
    int64_t i0 = grid.row_begin(g.m, tile % grid.row_tiles), rows = grid.row_begin(g.m, tile % grid.row_tiles + 1) - i0;
    int64_t j0 = tile / grid.row_tiles * grid.cols, cols = min_of(grid.cols, g.n - j0);
    size_t bytes = static_cast<size_t>(b_size + a_size + sums_size) * sizeof(float);
    auto* packed_b = static_cast<float*>(thread_scratch(scratch_slot, bytes));
    float *packed_a = packed_b + b_size, *sums = packed_a + a_size;
    const TA* a = static_cast<const TA*>(g.a) + batch * g.a_batch + i0 * g.a_row;
    const TB* b = static_cast<const TB*>(g.b) + batch * g.b_batch + j0 * g.b_col;
    Tiles registers;
    for (int64_t k0 = 0; k0 < g.k; k0 += part) {
      int64_t k = min_of(part, g.k - k0), k_steps = div_up(k, tile_numbers);
      for (int64_t j = 0; j < cols; j += block_lanes) {
        pack_block<PB, false>(b + k0 * g.b_row + j * g.b_col, g.b_col, g.b_row, min_of(block_lanes, cols - j), k,
                              packed_b + j / block_lanes * k_steps * b_step);
      }
      for (int64_t i = 0, height = 0; i < rows; i += height) {
        height = min_of(group * block_lanes, rows - i);
        float* panels = sums + (parts > 1 ? i * sums_row : 0);
        float* c = static_cast<float*>(g.c) + batch * g.c_batch + (i0 + i) * g.c_row + j0;  // if `plain`
        for (int64_t s = 0; s < k; s += chunk) {
          int64_t numbers = min_of(chunk, k - s), chunk_steps = div_up(numbers, tile_numbers);
          pack_panels<PA>(a + i * g.a_row + (k0 + s) * g.a_col, g.a_row, g.a_col, height, numbers, packed_a);
          for (int64_t r = 0; r < height; r += block_lanes) {
            const float *panel = packed_a + r / block_lanes * chunk_steps * a_step,
                        *columns = packed_b + s / tile_numbers * b_step;
            for (int64_t j = 0; j < cols; j += block_lanes, columns += k_steps * b_step) {
              int64_t n = min_of(block_lanes, cols - j), m = min_of(block_lanes, height - r);
              if (plain && m == block_lanes && n == block_lanes) {
                multiply<PA, PB>(chunk_steps, panel, columns, c + r * g.c_row + j, g.c_row, k0 + s > 0);
                continue;
              }
              float* block = panels + r * sums_row + j;
              if (one_piece || k0 + s == 0) {
                multiply<PA, PB>(chunk_steps, panel, columns, block, sums_row, k0 + s > 0);
              } else {  // a sum of its own: the longer a sum, the more each rounding costs
                alignas(64) float chunk_sums[block_lanes * block_lanes];
                multiply<PA, PB>(chunk_steps, panel, columns, chunk_sums, block_lanes, false);
                add_block(chunk_sums, block, sums_row);
              }
              if (k0 + s + numbers < g.k) continue;
              for (int64_t row = 0; row < m; row++, block += sums_row) {
                if constexpr (!one_piece) {
                  if (any_nan(block, n)) {
                    repair(a + (i + r + row) * g.a_row, g.a_col, b + j * g.b_col, g.b_row, g.b_col, g.k, block, n);
                  }
                }
                finish_row(g, batch, i0 + i + r + row, j0 + j, block, n);
              }
            }
          }
        }
      }
    }
  });
}

// Does the product if tiles are faster, and answers whether they are.
template <class TA, class TB> bool run_if_faster(const Gemm& g) {
  if constexpr (!std::is_same_v<TA, Half> && !std::is_same_v<TB, Half>) {
    if (sizeof(TA) == 2 || g.bf16) return is_faster<TA, TB, true>(g) && (run<TA, TB, true>(g), true);
  }
  return is_faster<TA, TB, false>(g) && (run<TA, TB, false>(g), true);
}

#undef TSGPT_TILE_ZERO
#undef TSGPT_TILE_LOAD
#undef TSGPT_TILE_STORE
#undef TSGPT_TILE_MULTIPLY

}  // namespace tsgpt::TSGPT_NS::gemm::amx

#endif
