// Matrix products: C = activation(alpha A B + beta C + bias) + residual, batched, any strides, float32, half types and float64.
// On processors with AMX all but small products of float32 and half types take another way, gemm_amx.h. Without it bfloat16
// (and float32 where the caller allows it to be rounded) is multiplied in pairs by the dot product instruction where that is
// fast; everywhere else half types become float32 while they are packed.
//
// C is cut into tiles of rows and columns, the tasks of the pool. A task walks along k in blocks; per block it packs
// its columns of B (into its own level-2 cache, never through memory) and then goes over panels of A, which stay in
// level 1 while they meet all packed columns; of a tall A that is packed, some panels stay in level 2 instead, and B in
// level 3. A with rows along k is read where it lies, or from copies of its rows; other layouts are packed a few panels at a
// time. After Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
//
// Where B comes packed already (Gemm::packed_b, made by pack()), tasks read it from there.
//
// Every element of C is summed along k in an order that depends on sizes, types and layouts alone (for pairs also on whether A
// begins at a whole one): how C is cut, and so the number of threads, never changes a bit.
#include <type_traits>

#include "../kernels.h"
#include "../runtime/dispatch.h"
#include "gemm_amx.h"
#include "gemm_common.h"
#include "gemm_pack.h"
#include "gemm_skinny.h"
#include "gemm_tile.h"

namespace tsgpt::TSGPT_NS {
namespace gemm {

// Steps of the longest block of k. C is read and written once per block, which is what counts where A is read in place: from
// level 2 if need be, since its rows are followed ahead. In one block instead of two 1024 x 3072 x 768 runs at 460 instead of
// 420 GFLOP/s with AVX-512 (two cores of a Zen 5), at 181 instead of 166 with AVX2 (Zen 3). Rows that are copied or packed
// are so once for each task along n, and longer blocks leave a task fewer columns. (float64 takes twice the room; nothing that
// is timed uses it.)
constexpr int64_t k_block_in_place = tile_rows > 8 ? 1536 : 768, k_block_copied = tile_rows > 8 ? 384 : 768;
constexpr int64_t k_block_packed = 512;

// Most scalars of B that one task packs: 768 KB, within the level-2 cache of the processors that this is tuned for (Zen 4:
// 1 MB, Intel's servers: 1 to 2 MB); where it has 512 KB (Zen 3) less is not faster either. And most of its columns: the
// more, the less often A is packed, which costs more beside pairs.
constexpr int64_t most_packed = 384 * 512;
template <class P> constexpr int64_t most_cols_packed = 512 * P::per_step;

// Where A is packed and much taller than B is wide, a task takes more columns, packed to 2 MB in level 3, so that A is packed
// once instead of once for every 384 columns; then a few panels of A stay in level 2 while each panel of B meets them. Weight
// gradients of 3072 x 768 x 1024 and 8192 x 512 x 512 run at 450 instead of 439 and 431 GFLOP/s (two cores of a Zen 5). With
// wide B the columns of level 2 are not slower. Not where C is of a half type and large: its sums are in scratch, which would
// grow with the columns (4M of them are 16 MB).
constexpr int64_t most_packed_tall = 1024 * 512, most_sums_tall = 1024 * 4096;

// Panels of A that are packed together: as many rows as they have lie side by side in memory. 12 x 16 x 512 floats are
// 384 KB, of which a panel is read at a time. With 12 instead of 4 weight gradients are 2 to 4 % faster (two cores of a Zen 5).
constexpr int64_t panels_at_once = 12;

// What packing one number costs, in multiplications: more than its own time, since it takes room in the caches. (Of 6, 12, 20,
// 40 and 80 this serves most shapes best, by up to 5 %, on two cores of a Zen 5.)
constexpr double pack_cost = 40;

// How the register tile gets A: where it lies, from copied rows, or from panels with k outside.
enum class Rows { in_place, copied, packed };

// The same number of blocks as with the longest, but of equal length.
template <class P> inline int64_t k_step(int64_t k, Rows a) {
  int64_t steps = a == Rows::packed ? k_block_packed : a == Rows::copied ? k_block_copied : k_block_in_place;
  int64_t longest = steps * P::per_step;
  return k <= longest ? k : div_up(div_up(k, div_up(k, longest)), 4) * 4;
}

// Scalars that `k` numbers take in a packed panel, for each lane.
template <class P> inline int64_t steps_of(int64_t k) { return div_up(k, P::per_step); }

// Rows with k along them are read where they lie, if they hold whole scalars of the tile; otherwise they are copied, which was
// 2 to 5 % faster than packing them (256 x 768 x 3072, two cores of a Zen 4).
template <class P, class T> inline Rows rows_of(const Gemm& g) {
  if (g.a_col != 1) return Rows::packed;
  bool whole = sizeof(T) * P::per_step == sizeof(typename P::Scalar) && g.k % P::per_step == 0 && g.a_row % P::per_step == 0 &&
               g.a_batch % P::per_step == 0 && reinterpret_cast<uintptr_t>(g.a) % sizeof(typename P::Scalar) == 0;
  return whole ? Rows::in_place : Rows::copied;
}

// The most rows that are read where they lie, `stride` bytes apart. Where they fall into the same sets of level 1: two less
// than its ways, or 8 where it has fewer than 11. 1024 x 768 x 3072 runs at 492 GFLOP/s with 10 rows, at 470 with 14 and at 455
// with copies (two cores of a Zen 5, of 12 ways); bfloat16 alike. Other numbers of ways were not measured.
inline int64_t most_rows_in_place(int64_t stride) {
  int64_t kinds = stride % 4096 == 0 ? 1 : stride % 2048 == 0 ? 2 : 4;  // of sets, in the worst case
  int64_t ways = level_1_ways();
  return min_of(tile_rows, (ways > 10 ? ways - 2 : 8) * kinds);
}

// Scalars from one copied row to the next: an odd multiple of 16, so that rows fall into many sets.
inline int64_t copied_row(int64_t steps) { return (div_up(steps, 16) | 1) * 16; }

// ------------------------------------------------------------------ one tile of C

template <class P, class TA, class TB> struct Operands {
  const TA* a;
  const TB* b;
  int64_t a_row, a_col, b_row, b_col, k;
  Rows rows;
  bool tall;
  bool one_panel;                  // C has room for the rows of one panel, which finish() takes from there
  const typename P::Scalar* kept;  // the columns from b on, packed (keep_columns), or null
};

// Steps of k packed before the next panel's turn. Where lanes lie side by side, neighbouring panels share pages and
// cache lines, so all panels take a few steps together.
inline int64_t pack_steps(int64_t lane_stride, int64_t k) { return lane_stride == 1 ? min_of(16, k) : k; }

template <class P, class T>
inline void pack(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, typename P::Scalar* out,
                 int64_t padded) {
  if constexpr (P::per_step == 1) {
    pack_panel(p, lane_stride, k_stride, lanes, k, out, padded);
  } else {
    pack_pairs(p, lane_stride, k_stride, lanes, k, out, padded);
  }
}

template <class T> inline void fetch_row(const T* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(p + i, 0, 2);
}

template <class P, class T> inline void copy_row(const T* p, int64_t k, typename P::Scalar* out) {
  if constexpr (P::per_step == 1) {
    copy_along(p, k, out);
  } else {
    copy_pairs_along(p, k, out);
  }
}

// Scalars that a step of a panel of `cols` columns takes.
template <class P> inline int64_t padded(int64_t cols) { return cols > P::lanes ? tile_cols<P> : P::lanes; }

// Columns in whole panels.
template <class P> inline int64_t whole_columns(int64_t cols) { return div_up(cols, tile_cols<P>) * tile_cols<P>; }

// `numbers` along k of `cols` columns of B as panels, one after the other.
template <class P, class T>
void pack_columns(const T* b, int64_t b_row, int64_t b_col, int64_t cols, int64_t numbers, typename P::Scalar* out) {
  constexpr int64_t unit = tile_cols<P>, per = P::per_step;
  int64_t k = steps_of<P>(numbers);
  for (int64_t s = 0, steps = pack_steps(b_col, k); s < k; s += steps) {
    for (int64_t j = 0; j < cols; j += unit) {
      int64_t n = min_of(unit, cols - j), step = padded<P>(n);
      pack<P>(b + s * per * b_row + j * b_col, b_col, b_row, n, min_of(steps * per, numbers - s * per), out + j * k + s * step,
              step);
    }
  }
}

// C[rows, cols] of one task. finish(row, height): called when these rows are whole; unless `tall`, before the next panel
// begins.
template <class P, class TA, class TB, class Finish>
void run_tile(const Operands<P, TA, TB>& x, int64_t rows, int64_t cols, Output<P> out, typename P::Scalar* scratch,
              Finish finish) {
  using Scalar = typename P::Scalar;
  constexpr int64_t unit = tile_cols<P>, per = P::per_step;
  int64_t most_rows = x.rows == Rows::in_place ? most_rows_in_place(x.a_row * static_cast<int64_t>(sizeof(TA))) : tile_rows;
  int64_t longest = k_step<P>(x.k, x.rows), panels = div_up(rows, most_rows);
  Scalar* packed_a = scratch + (x.kept ? 0 : steps_of<P>(longest) * whole_columns<P>(cols));
  auto panel_begin = [&](int64_t p) { return rows * p / panels; };  // of equal height, as far as it goes
  for (int64_t k0 = 0; k0 < x.k; k0 += longest) {
    int64_t numbers = min_of(longest, x.k - k0), k = steps_of<P>(numbers);  // of this block; a step has `per` numbers
    auto columns = [&](int64_t j, int64_t n) {                              // n of them from the j-th on
      return x.kept ? x.kept + j * steps_of<P>(x.k) + k0 / per * padded<P>(n) : scratch + j * k;
    };
    if (!x.kept) pack_columns<P>(x.b + k0 * x.b_row, x.b_row, x.b_col, cols, numbers, scratch);
    for (int64_t p0 = 0; p0 < panels; p0 += panels_at_once) {
      int64_t p1 = min_of(p0 + panels_at_once, panels);
      for (int64_t s = 0, steps = pack_steps(x.a_row, k); x.rows == Rows::packed && s < k; s += steps) {
        for (int64_t p = p0; p < p1; p++) {
          int64_t i = panel_begin(p);
          const TA* from = x.a + i * x.a_row + (k0 + s * per) * x.a_col;
          pack<P>(from, x.a_row, x.a_col, panel_begin(p + 1) - i, min_of(steps * per, numbers - s * per),
                  packed_a + ((p - p0) * k + s) * panel_rows, panel_rows);
        }
      }
      auto multiply = [&](int64_t p, const Scalar* a, int64_t a_row, int64_t j) {  // the columns of B's panel from j on
        int64_t i = panel_begin(p), height = panel_begin(p + 1) - i, n = min_of(unit, cols - j);
        Scalar* c = out.c + (x.one_panel ? 0 : i * out.row) + j;
        Output<P> at{c, out.row, out.alpha, out.beta, out.bias ? out.bias + j : nullptr};
        tile_for<P>(height, n, x.rows != Rows::packed)(k, a, a_row, columns(j, n), at, n);
      };
      auto panel = [&](int64_t p) { return packed_a + (p - p0) * k * panel_rows; };
      for (int64_t j = 0; x.tall && j < cols; j += unit) {
        for (int64_t p = p0; p < p1; p++) multiply(p, panel(p), 0, j);
      }
      for (int64_t p = p0; p < p1; p++) {
        int64_t i = panel_begin(p), height = panel_begin(p + 1) - i, a_row = 0;
        const Scalar* a = panel(p);
        if (x.rows == Rows::in_place) {
          a = reinterpret_cast<const Scalar*>(x.a + i * x.a_row + k0 * x.a_col);
          a_row = x.a_row / per;
        } else if (x.rows == Rows::copied) {
          a = packed_a;
          a_row = copied_row(k);
          for (int64_t r = 0; r < height; r++) copy_row<P>(x.a + (i + r) * x.a_row + k0, numbers, packed_a + r * a_row);
        }
        for (int64_t j = 0; !x.tall && j < cols; j += unit) {
          if (x.rows == Rows::copied && p + 1 < panels) {  // asks for a part of the rows that are copied next
            int64_t next = panel_begin(p + 1), next_height = panel_begin(p + 2) - next, end = min_of(j + unit, cols);
            for (int64_t r = next_height * j / cols; r < next_height * end / cols; r++) {
              fetch_row(x.a + (next + r) * x.a_row + k0, numbers);
            }
          }
          multiply(p, a, a_row, j);
        }
        if (k0 + numbers == x.k) finish(i, height);
      }
    }
    out.beta = 1;  // further blocks add
    out.bias = nullptr;
  }
}

template <class P, class TA, class TB = TA> void run_tiles(const Gemm& g) {
  using Scalar = typename P::Scalar;
  Rows a = rows_of<P, TA>(g);
  const Scalar* kept = nullptr;
  if constexpr (std::is_same_v<Scalar, float>) kept = g.packed_b;
  bool through_scratch = P::lanes == width && g.type_c != DType::float32;
  bool tall = a == Rows::packed && g.m >= 2 * g.n && !(through_scratch && g.m * g.n > most_sums_tall);
  int64_t longest = k_step<P>(g.k, a), steps = steps_of<P>(longest);
  int64_t most_cols = min_of((tall ? most_packed_tall : most_packed) / steps, (tall ? 2 : 1) * most_cols_packed<P>);
  Grid grid = choose_grid(g, {tile_cols<P>, most_cols / tile_cols<P>, tile_rows, 1.0 / P::per_step,
                              a == Rows::in_place ? 0 : pack_cost, kept ? 0 : pack_cost});
  int64_t tiles = grid.row_tiles * grid.col_tiles, most_rows = div_up(g.m, grid.row_tiles) + 1;
  int64_t packed = kept ? 0 : steps * whole_columns<P>(grid.cols);
  packed += a == Rows::packed ? panels_at_once * panel_rows * steps : a == Rows::copied ? tile_rows * copied_row(steps) : 0;
  bool one_panel = through_scratch && !tall && longest == g.k;
  int64_t sums = through_scratch ? (one_panel ? tile_rows : most_rows) * grid.cols : 0;
  parallel_unless(is_tiny(g), g.batch * tiles, [&](int64_t task) {
    int64_t batch = task / tiles, tile = task % tiles;
    int64_t i = grid.row_begin(g.m, tile % grid.row_tiles), rows = grid.row_begin(g.m, tile % grid.row_tiles + 1) - i;
    int64_t j = tile / grid.row_tiles * grid.cols, cols = min_of(grid.cols, g.n - j);
    size_t bytes = static_cast<size_t>(packed + sums) * sizeof(Scalar);
    auto* scratch = static_cast<Scalar*>(thread_scratch(scratch_slot, bytes));
    Operands<P, TA, TB> x{static_cast<const TA*>(g.a) + batch * g.a_batch + i * g.a_row,
                          static_cast<const TB*>(g.b) + batch * g.b_batch + j * g.b_col,
                          g.a_row,
                          g.a_col,
                          g.b_row,
                          g.b_col,
                          g.k,
                          a,
                          tall,
                          one_panel,
                          kept ? kept + j * steps_of<P>(g.k) : nullptr};
    if (!through_scratch) {
      Scalar* c = static_cast<Scalar*>(g.c) + batch * g.c_batch + i * g.c_row + j;
      run_tile<P, TA, TB>(x, rows, cols, {c, g.c_row, g.alpha, g.beta, g.bias ? g.bias + j : nullptr}, scratch,
                          [&](int64_t row, int64_t height) { finish_fused(g, batch, i + row, height, j, cols); });
      return;
    }
    if constexpr (P::lanes == width) {  // C of a half type: summed in float32, rounded once
      float* c = scratch + packed;
      run_tile<P, TA, TB>(x, rows, cols, {c, grid.cols, 1, 0, nullptr}, scratch, [&](int64_t row, int64_t height) {
        const float* rows_sums = c + (one_panel ? 0 : row * grid.cols);
        for (int64_t r = 0; r < height; r++) finish_row(g, batch, i + row + r, j, rows_sums + r * grid.cols, cols);
        finish_fused(g, batch, i + row, height, j, cols);
      });
    }
  });
}

// B as panels, each with all of k, for every task of run_tiles. Answers how many floats that takes.
template <class P, class T> int64_t keep_columns(const Gemm& g, float* out) {
  constexpr int64_t at_once = 4 * tile_cols<P>;  // columns of a task
  parallel(out ? div_up(g.n, at_once) : 0, [&](int64_t task) {
    int64_t j = task * at_once;
    pack_columns<P>(static_cast<const T*>(g.b) + j * g.b_col, g.b_row, g.b_col, min_of(at_once, g.n - j), g.k,
                    out + j * steps_of<P>(g.k));
  });
  return whole_columns<P>(g.n) * steps_of<P>(g.k);
}

// ------------------------------------------------------------------ choosing the way

// Few rows: see gemm_skinny.h. A is made (batch, m, k) float32 first, unless it is that already.
template <class TA, class TB> void run_skinny(const Gemm& g) {
  bool rows_follow = (g.m == 1 || g.a_row == g.k) && (g.batch == 1 || g.a_batch == g.m * g.k);
  bool ready = sizeof(TA) == sizeof(float) && g.a_col == 1 && rows_follow;
  bool dots = g.b_row == 1;
  int64_t a_size = ready ? 0 : g.batch * g.m * g.k, size = a_size + (dots ? 0 : sums_size(g));
  auto* scratch = static_cast<float*>(thread_scratch(scratch_slot, static_cast<size_t>(size) * sizeof(float)));
  const float* a = scratch;
  if (ready) {
    a = static_cast<const float*>(g.a);
  } else {
    for (int64_t batch = 0; batch < g.batch; batch++) {
      for (int64_t i = 0; i < g.m; i++) {
        const TA* from = static_cast<const TA*>(g.a) + batch * g.a_batch + i * g.a_row;
        float* to = scratch + (batch * g.m + i) * g.k;
        for (int64_t s = 0; s < g.k; s++) to[s] = to_float(from[s * g.a_col]);
      }
    }
  }
  if (dots) {
    run_dots<TB>(g, a);
  } else {
    run_sums<TB>(g, a, scratch + a_size);
  }
}

// The most rows for which streaming B is not slower than packing it, on every instruction set but AMX. To compare, set it to 0
// and run `npm run bench -- gemm --threads 1`: streamed, 8 x 768 x 768 runs at 76 GFLOP/s there.
constexpr int64_t skinny_rows = 16;

template <class T> constexpr bool is_half = std::is_same_v<T, Half>;

template <class TA, class TB> Packing way_of(const Gemm& g) {
#if defined(__AVX512F__)
  bool rounds = !is_half<TA> && !is_half<TB> && (sizeof(TA) == 2 || g.bf16);
  if (has_amx() && (rounds ? pieces_pay<TA, TB, true>(g) : pieces_pay<TA, TB, false>(g))) {
    return rounds ? Packing::rounded_pieces : Packing::pieces;
  }
#endif
  if (g.m <= skinny_rows && (g.b_row == 1 || g.b_col == 1)) return Packing::none;
#if defined(__AVX512F__)
  if (rounds && fast_bf16_dot()) return Packing::pairs;
#endif
  return Packing::numbers;
}

template <class TA, class TB> void run(const Gemm& g) {
  switch (way_of<TA, TB>(g)) {
    case Packing::none: return run_skinny<TA, TB>(g);
    case Packing::numbers: return run_tiles<Single, TA, TB>(g);
#if defined(__AVX512F__)
    case Packing::pieces: return run_pieces<TA, TB, false>(g);
    case Packing::pairs:
      if constexpr (!is_half<TA> && !is_half<TB>) run_tiles<Bf16Pairs, TA, TB>(g);
      return;
    case Packing::rounded_pieces:
      if constexpr (!is_half<TA> && !is_half<TB>) run_pieces<TA, TB, true>(g);
      return;
#endif
    default: return;  // way_of() gives no other
  }
}

// As run() packs B, for all tasks. Answers how many floats that takes; out may be null.
template <class T> int64_t keep(const Gemm& g, Packing packing, float* out) {
  switch (packing) {
    case Packing::numbers: return keep_columns<Single, T>(g, out);
#if defined(__AVX512F__)
    case Packing::pieces: return keep_blocks<pieces<T, false>, T>(g, out);
    case Packing::pairs:
      if constexpr (!is_half<T>) return keep_columns<Bf16Pairs, T>(g, out);
      return 0;
    case Packing::rounded_pieces:
      if constexpr (!is_half<T>) return keep_blocks<1, T>(g, out);
      return 0;
#endif
    default: return 0;
  }
}

// C = activation(beta * C + bias) + residual, where k is 0
void run_empty(const Gemm& g) {
  constexpr int64_t chunk = 256;
  static const float zeros[chunk] = {};
  for (int64_t row = 0; row < g.batch * g.m; row++) {
    for (int64_t j = 0; j < g.n; j += chunk) finish_row(g, row / g.m, row % g.m, j, zeros, min_of(chunk, g.n - j));
    finish_fused(g, row / g.m, row % g.m, 1, 0, g.n);
  }
}

void run_empty_double(const Gemm& g) {
  for (int64_t row = 0; row < g.batch * g.m; row++) {
    double* c = static_cast<double*>(g.c) + row / g.m * g.c_batch + row % g.m * g.c_row;
    for (int64_t j = 0; j < g.n; j++) {
      c[j] = (g.beta != 0 ? static_cast<double>(g.beta) * c[j] : 0) + (g.bias ? static_cast<double>(g.bias[j]) : 0);
    }
    finish_fused(g, row / g.m, row % g.m, 1, 0, g.n);
  }
}

// The same product with fewer, larger matrices where there is one.
Gemm simplify(Gemm g) {
  // One B for the whole batch, and rows that follow one another: one taller product.
  if (g.batch > 1 && g.b_batch == 0 && g.a_batch == g.m * g.a_row && g.c_batch == g.m * g.c_row) {
    g.m *= g.batch;
    g.batch = 1;
  }
  // A column is written as the row of the transposed product.
  if (g.n == 1 && g.m > 1 && g.c_row == 1 && !g.bias && g.type_a == g.type_b) {
    const void* a = g.a;
    int64_t a_row = g.a_row, a_col = g.a_col, a_batch = g.a_batch;
    g.a = g.b, g.a_row = g.b_col, g.a_col = g.b_row, g.a_batch = g.b_batch;
    g.b = a, g.b_row = a_col, g.b_col = a_row, g.b_batch = a_batch;
    g.n = g.m, g.m = 1, g.c_row = g.n;
    g.packed_b = nullptr;
  }
  return g;
}

bool is_single_or_half(DType type) { return type == DType::float32 || type == DType::float16 || type == DType::bfloat16; }

template <class T> using Type = std::type_identity<T>;

// f(the types of A and B), where they are float32 or half types that go together.
template <class F> inline bool with_types(DType a, DType b, F f) {
  if (b == DType::float32) {
    if (a == b) return f(Type<float>(), Type<float>()), true;
    if (a == DType::float16) return f(Type<Half>(), Type<float>()), true;
    if (a == DType::bfloat16) return f(Type<BFloat16>(), Type<float>()), true;
  } else if (b == DType::float16) {
    if (a == b) return f(Type<Half>(), Type<Half>()), true;
    if (a == DType::float32) return f(Type<float>(), Type<Half>()), true;
  } else if (b == DType::bfloat16) {
    if (a == b) return f(Type<BFloat16>(), Type<BFloat16>()), true;
    if (a == DType::float32) return f(Type<float>(), Type<BFloat16>()), true;
  }
  return false;
}

bool gemm(const Gemm& given) {
  DType a = given.type_a, b = given.type_b, c = given.type_c;
  bool wide = a == DType::float64 && b == a && c == a;
  if (!wide && !is_single_or_half(c)) return false;
  bool empty = given.batch == 0 || given.m == 0 || given.n == 0;
  Gemm g = simplify(given);
  if (wide) {
    if (!empty) g.k == 0 ? run_empty_double(g) : run_tiles<Double, double>(g);
    return true;
  }
  return with_types(a, b, [&]<class TA, class TB>(Type<TA>, Type<TB>) {
    if (!empty) g.k == 0 ? run_empty(g) : run<TA, TB>(g);
  });
}

// For one matrix B, where A is read with k along its rows, as layers have it.
Packing packing(const Gemm& given) {
  Gemm g = simplify(given);
  Packing found = Packing::none;
  if (g.batch != 1 || g.a_col != 1 || g.b != given.b || !is_single_or_half(g.type_c) || g.k == 0) return found;
  with_types(g.type_a, g.type_b, [&]<class TA, class TB>(Type<TA>, Type<TB>) { found = way_of<TA, TB>(g); });
  return found;
}

int64_t pack(const Gemm& g, float* out) {
  int64_t size = 0;
  with_types(g.type_a, g.type_b, [&]<class TA, class TB>(Type<TA>, Type<TB>) { size = keep<TB>(g, packing(g), out); });
  return size;
}

}  // namespace gemm

void register_gemm(KernelTable& table) {
  table.gemm = gemm::gemm;
  table.packing = gemm::packing;
  table.pack = gemm::pack;
}

}  // namespace tsgpt::TSGPT_NS
