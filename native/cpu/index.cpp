// Rows and single numbers addressed by int32 ids: embedding and its gradient, gather and its transpose.
//
// Reading is cut by output. Adding must not meet another thread in the same row and must keep the order of the ids
// (repeated ids would else sum in a different order on every run), so it is cut by columns: each task walks all ids
// and owns its columns of every row.
#include <type_traits>

#include "../kernels.h"
#include "formats.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 32768;     // numbers in one task
constexpr int64_t block_cols = 256;  // columns that one task owns

// Calls kernel with a null pointer to an unsigned integer as wide as the dtype: moving does not look at values.
template <class Kernel> bool by_size(DType type, Kernel kernel) {
  switch (size_of(type)) {
    case 1: kernel(static_cast<uint8_t*>(nullptr)); break;
    case 2: kernel(static_cast<uint16_t*>(nullptr)); break;
    case 4: kernel(static_cast<uint32_t*>(nullptr)); break;
    default: kernel(static_cast<uint64_t*>(nullptr));
  }
  return true;
}

template <class Kernel> bool by_float(DType type, Kernel kernel) {
  if (type == DType::float32) kernel(static_cast<float*>(nullptr));
  else if (type == DType::float64) kernel(static_cast<double*>(nullptr));
  else return false;
  return true;
}

// Calls body(o, j, cols) for every o in [0, outer) and every block of columns of `inner`, on the threads.
template <class Body> void for_column_blocks(int64_t outer, int64_t inner, int64_t work_per_column, Body body) {
  int64_t blocks = ceil_div(inner, block_cols);
  int64_t few = greater(grain / greater(work_per_column * smaller(inner, block_cols), 1), 1);
  parallel_ranges(outer * blocks, few, [=](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; unit++) {
      int64_t j = unit % blocks * block_cols;
      body(unit / blocks, j, smaller(block_cols, inner - j));
    }
  });
}

bool index_select(DType type, const void* x, const int32_t* ids, void* out, int64_t outer, int64_t size, int64_t inner,
                  int64_t n) {
  if (inner == 1) {
    return by_size(type, [=](auto* t) {
      using T = std::remove_pointer_t<decltype(t)>;
      parallel_ranges(outer * n, grain, [=](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; k++) {
          static_cast<T*>(out)[k] = static_cast<const T*>(x)[k / n * size + ids[k % n]];
        }
      });
    });
  }
  int64_t bytes = inner * size_of(type);
  parallel_ranges(outer * n, greater(grain / greater(inner, 1), 1), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      std::memcpy(at(out, row * bytes), at(x, (row / n * size + ids[row % n]) * bytes), static_cast<size_t>(bytes));
    }
  });
  return true;
}

bool index_add(DType type, void* x, const int32_t* ids, const void* source, int64_t outer, int64_t size, int64_t inner,
               int64_t n) {
  return by_float(type, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    for_column_blocks(outer, inner, n, [=](int64_t o, int64_t j, int64_t cols) {
      for (int64_t i = 0; i < n; i++) {
        T* to = static_cast<T*>(x) + (o * size + ids[i]) * inner + j;
        const T* from = static_cast<const T*>(source) + (o * n + i) * inner + j;
        for (int64_t c = 0; c < cols; c++) to[c] += from[c];
      }
    });
  });
}

bool gather(DType type, const void* x, const int32_t* ids, void* out, int64_t outer, int64_t size, int64_t inner, int64_t n) {
  return by_size(type, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    parallel_ranges(outer * n, greater(grain / greater(inner, 1), 1), [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T* from = static_cast<const T*>(x) + row / n * size * inner;
        const int32_t* id = ids + row * inner;
        T* to = static_cast<T*>(out) + row * inner;
        for (int64_t j = 0; j < inner; j++) to[j] = from[id[j] * inner + j];
      }
    });
  });
}

bool scatter_add(DType type, void* x, const int32_t* ids, const void* source, int64_t outer, int64_t size, int64_t inner,
                 int64_t n) {
  return by_float(type, [=](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    for_column_blocks(outer, inner, n, [=](int64_t o, int64_t j, int64_t cols) {
      T* to = static_cast<T*>(x) + o * size * inner + j;
      for (int64_t i = 0; i < n; i++) {
        int64_t row = (o * n + i) * inner + j;
        const T* from = static_cast<const T*>(source) + row;
        for (int64_t c = 0; c < cols; c++) to[ids[row + c] * inner + c] += from[c];
      }
    });
  });
}

int64_t find_bad_id(const int32_t* ids, int64_t n, int64_t size) {
  auto bad = [size](int32_t id) { return id < 0 || id >= size; };
  constexpr int64_t block = 1024;
  for (int64_t begin = 0; begin < n; begin += block) {
    int64_t end = smaller(begin + block, n);
    bool any_bad = false;  // a whole block without a branch first
    for (int64_t i = begin; i < end; i++) any_bad |= bad(ids[i]);
    for (int64_t i = begin; any_bad && i < end; i++) {
      if (bad(ids[i])) return i;
    }
  }
  return -1;
}

}  // namespace

void register_index(KernelTable& table) {
  table.index_select = index_select;
  table.index_add = index_add;
  table.gather = gather;
  table.scatter_add = scatter_add;
  table.find_bad_id = find_bad_id;
}

}  // namespace tsgpt::TSGPT_NS
