// Copies between any two layouts and dtypes.
//
// The dimensions are ordered by the destination's strides and merged, so that a copy is a number of rows. Three cases:
// rows of equal dtypes (memcpy where both sides are contiguous), a transpose in tiles (equal sizes, the destination
// contiguous along one dimension and the source along another), and rows that are converted, which pass through a
// buffer where a side is not contiguous. Conversions between the floating formats run in float32 vectors; float64
// and integers reach the half formats through float32.
#include <type_traits>
#include <utility>

#include "../kernels.h"
#include "formats.h"
#include "simd.h"
#include "space.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 32768;        // numbers in one task
constexpr int64_t buffer_items = 1024;  // numbers converted at once

// ------------------------------------------------------------------ rows of equal dtypes

// y[i * step_y] = x[i * step_x]
using CopyRow = void (*)(const void* x, int64_t step_x, void* y, int64_t step_y, int64_t n);

template <class T> void copy_row(const void* x_, int64_t step_x, void* y_, int64_t step_y, int64_t n) {
  const T* x = static_cast<const T*>(x_);
  T* y = static_cast<T*>(y_);
  if (step_x == 1 && step_y == 1) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(T));
  } else if (step_x == 0 && step_y == 1) {
    for (int64_t i = 0; i < n; i++) y[i] = *x;
  } else if (step_y == 1) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i * step_x];
  } else {
    for (int64_t i = 0; i < n; i++) y[i * step_y] = x[i * step_x];
  }
}

CopyRow copy_row_of(int64_t size) {
  switch (size) {
    case 1: return copy_row<uint8_t>;
    case 2: return copy_row<uint16_t>;
    case 4: return copy_row<uint32_t>;
    default: return copy_row<uint64_t>;
  }
}

template <class T> void add_row(const void* x_, int64_t step_x, void* y_, int64_t step_y, int64_t n) {
  const T* x = static_cast<const T*>(x_);
  T* y = static_cast<T*>(y_);
  if (step_x == 1 && step_y == 1) {
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
  } else {
    for (int64_t i = 0; i < n; i++) y[i * step_y] += x[i * step_x];
  }
}

// ------------------------------------------------------------------ conversions of contiguous rows

using ConvertRow = void (*)(const void* x, void* y, int64_t n);

template <DType type> constexpr bool is_half = type == DType::float16 || type == DType::bfloat16;
template <DType type> constexpr bool is_vector = std::is_same_v<typename Format<type>::V, vf>;

template <DType to, class S> inline typename Format<to>::T cast(S x) {
  using T = typename Format<to>::T;
  if constexpr (to == DType::boolean) return x != 0;
  else if constexpr (std::is_floating_point_v<S> && std::is_integral_v<T>) return to_integer<T>(x);
  else return static_cast<T>(x);
}

template <DType from, DType to> void convert_row(const void* x_, void* y_, int64_t n) {
  using From = Format<from>;
  using To = Format<to>;
  const auto* x = static_cast<const typename From::T*>(x_);
  auto* y = static_cast<typename To::T*>(y_);
  if constexpr (is_vector<from> && is_vector<to>) {
    int64_t i = 0;
    for (; i + width <= n; i += width) {
      ask(at(x + i, ahead));
      ask(at(y + i, ahead));
      To::store(y + i, From::load(x + i));
    }
    if (i < n) To::store(y + i, From::load(x + i, n - i), n - i);
  } else if constexpr (is_half<from> || is_half<to>) {
    float middle[buffer_items];
    for (int64_t i = 0; i < n; i += buffer_items) {
      int64_t part = smaller(n - i, buffer_items);
      convert_row<from, DType::float32>(x + i, middle, part);
      convert_row<DType::float32, to>(middle, y + i, part);
    }
  } else {
    for (int64_t i = 0; i < n; i++) y[i] = cast<to>(x[i]);
  }
}

struct ConvertTable {
  ConvertRow row[dtype_count][dtype_count];
};
template <size_t... i> constexpr ConvertTable convert_table(std::index_sequence<i...>) {
  ConvertTable t{};
  ((t.row[i / dtype_count][i % dtype_count] =
        convert_row<static_cast<DType>(i / dtype_count), static_cast<DType>(i % dtype_count)>),
   ...);
  return t;
}
constexpr ConvertTable conversions = convert_table(std::make_index_sequence<dtype_count * dtype_count>{});

// ------------------------------------------------------------------ transpose

typedef uint32_t u32x4 __attribute__((vector_size(16), aligned(4), may_alias));

// y[r * stride_y + c] = x[c * stride_x + r] for 4 x 4 numbers of 32 bits: rows of pairs, then pairs of pairs
inline void transpose_4x4(const uint32_t* x, int64_t stride_x, uint32_t* y, int64_t stride_y) {
  auto row = [=](int64_t c) { return *reinterpret_cast<const u32x4*>(x + c * stride_x); };
  u32x4 x0 = row(0), x1 = row(1), x2 = row(2), x3 = row(3);
  u32x4 low01 = __builtin_shufflevector(x0, x1, 0, 4, 1, 5), high01 = __builtin_shufflevector(x0, x1, 2, 6, 3, 7);
  u32x4 low23 = __builtin_shufflevector(x2, x3, 0, 4, 1, 5), high23 = __builtin_shufflevector(x2, x3, 2, 6, 3, 7);
  auto put = [=](int64_t r, u32x4 v) { *reinterpret_cast<u32x4*>(y + r * stride_y) = v; };
  put(0, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
  put(1, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
  put(2, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
  put(3, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
}

// The same for any number of rows and columns. A tile of 16 x 16 touches whole cache lines on both sides.
template <class T> void transpose(const T* x, int64_t stride_x, T* y, int64_t stride_y, int64_t rows, int64_t cols) {
  constexpr int64_t tile = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += tile) {
    int64_t r1 = smaller(r0 + tile, rows);
    for (int64_t c0 = 0; c0 < cols; c0 += tile) {
      int64_t c1 = smaller(c0 + tile, cols);
      bool full = r1 - r0 == tile && c1 - c0 == tile;
      if constexpr (sizeof(T) == 4) {
        if (full) {
          for (int64_t r = r0; r < r1; r += 4) {
            for (int64_t c = c0; c < c1; c += 4) transpose_4x4(x + c * stride_x + r, stride_x, y + r * stride_y + c, stride_y);
          }
          continue;
        }
      }
      for (int64_t r = r0; r < r1; r++) {
        for (int64_t c = c0; c < c1; c++) y[r * stride_y + c] = x[c * stride_x + r];
      }
    }
  }
}

// The dimension along which the source of a copy is contiguous, if that makes the copy a transpose; else -1.
int transposed_dim(const Space& s) {
  int last = s.rank - 1;
  if (s.stride[1][last] != 1 || s.stride[0][last] == 0 || s.stride[0][last] == 1 || s.shape[last] < 4) return -1;
  for (int d = 0; d < last; d++) {
    if (s.stride[0][d] == 1 && s.shape[d] >= 4) return d;
  }
  return -1;
}

template <class T> void copy_transposed(const Space& s, int dim, const void* x, void* y) {
  int last = s.rank - 1;
  int64_t rows = s.shape[dim], cols = s.shape[last];
  Space outer = s;  // the other dimensions, one matrix for each of their positions
  outer.rank = 0;
  for (int d = 0; d < last; d++) {
    if (d == dim) continue;
    outer.shape[outer.rank] = s.shape[d];
    for (int k = 0; k < 2; k++) outer.stride[k][outer.rank] = s.stride[k][d];
    outer.rank++;
  }
  outer = collapse<2>(outer);
  constexpr int64_t block = 64;  // rows of one task
  int64_t blocks = ceil_div(rows, block);
  int64_t tasks = count(outer) * blocks, few = grain / (block * cols) + 1;
  parallel_ranges(tasks, few, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      int64_t matrix = task / blocks, r = task % blocks * block;
      for_each_row<2>(outer, matrix, matrix + 1, [&](const int64_t* offset, int64_t) {
        transpose(static_cast<const T*>(x) + offset[0] + r, s.stride[0][last],
                  static_cast<T*>(y) + offset[1] + r * s.stride[1][dim], s.stride[1][dim], smaller(rows - r, block), cols);
      });
    }
  });
}

// ------------------------------------------------------------------ the kernel

// The space with its dimensions in the order of the destination's memory (greatest stride first), merged.
Space in_order_of_destination(const Space& given) {
  Space s = given;
  auto distance = [&](int d) { return s.stride[1][d] < 0 ? -s.stride[1][d] : s.stride[1][d]; };
  for (int d = 1; d < s.rank; d++) {
    for (int e = d; e > 0 && distance(e - 1) < distance(e); e--) {
      std::swap(s.shape[e - 1], s.shape[e]);
      for (int k = 0; k < 2; k++) std::swap(s.stride[k][e - 1], s.stride[k][e]);
    }
  }
  return collapse<2>(s);
}

void copy_rows(const Space& s, CopyRow row, int64_t size, const void* x, void* y) {
  int64_t step_x = s.stride[0][s.rank - 1], step_y = s.stride[1][s.rank - 1];
  parallel_ranges(count(s), grain, [&](int64_t begin, int64_t end) {
    for_each_row<2>(s, begin, end, [&](const int64_t* offset, int64_t n) {
      row(at(x, offset[0] * size), step_x, at(y, offset[1] * size), step_y, n);
    });
  });
}

void convert_rows(const Space& s, DType from, DType to, const void* x, void* y) {
  ConvertRow convert = conversions.row[static_cast<int>(from)][static_cast<int>(to)];
  int64_t size_x = size_of(from), size_y = size_of(to);
  CopyRow gather = copy_row_of(size_x), scatter = copy_row_of(size_y);
  int64_t step_x = s.stride[0][s.rank - 1], step_y = s.stride[1][s.rank - 1];
  parallel_ranges(count(s), grain, [&](int64_t begin, int64_t end) {
    uint64_t buffer_x[buffer_items], buffer_y[buffer_items];
    for_each_row<2>(s, begin, end, [&](const int64_t* offset, int64_t n) {
      for (int64_t i = 0; i < n; i += buffer_items) {
        int64_t part = smaller(n - i, buffer_items);
        const void* px = at(x, (offset[0] + i * step_x) * size_x);
        void* py = at(y, (offset[1] + i * step_y) * size_y);
        if (step_x != 1) gather(px, step_x, buffer_x, 1, part);
        convert(step_x == 1 ? px : buffer_x, step_y == 1 ? py : buffer_y, part);
        if (step_y != 1) scatter(buffer_y, 1, py, step_y, part);
      }
    });
  });
}

bool copy(DType from, DType to, const Space& given, const void* source, void* destination, bool accumulate) {
  const Space s = in_order_of_destination(given);
  if (accumulate) {
    bool served = from == to && (to == DType::float32 || to == DType::float64);
    for (int d = 0; d < s.rank; d++) served = served && s.stride[1][d] != 0;
    if (served) copy_rows(s, to == DType::float32 ? add_row<float> : add_row<double>, size_of(to), source, destination);
    return served;
  }
  bool same = from == to || (from == DType::boolean && to == DType::uint8);
  if (!same) {
    convert_rows(s, from, to, source, destination);
    return true;
  }
  int64_t size = size_of(to);
  int dim = transposed_dim(s);
  if (dim < 0) {
    copy_rows(s, copy_row_of(size), size, source, destination);
    return true;
  }
  switch (size) {
    case 1: copy_transposed<uint8_t>(s, dim, source, destination); break;
    case 2: copy_transposed<uint16_t>(s, dim, source, destination); break;
    case 4: copy_transposed<uint32_t>(s, dim, source, destination); break;
    default: copy_transposed<uint64_t>(s, dim, source, destination);
  }
  return true;
}

}  // namespace

void register_copy(KernelTable& table) { table.copy = copy; }

}  // namespace tsgpt::TSGPT_NS
