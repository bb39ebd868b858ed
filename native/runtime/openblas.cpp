// The OpenBLAS backend: see openblas.h. Nothing is linked: the library is opened when it is asked for, and its C
// interface (cblas) is declared here as far as it is used.
#include "openblas.h"

#include <climits>
#include <cstdlib>
#include <cstring>
#include <string>

#include <dlfcn.h>

#include "parallel.h"

namespace tsgpt {
namespace {

enum { row_major = 101, no_transpose = 111, transpose = 112 };

template <class T>
using CblasGemm = void (*)(int order, int transpose_a, int transpose_b, int m, int n, int k, T alpha, const T* a, int lda,
                           const T* b, int ldb, T beta, T* c, int ldc);

CblasGemm<float> cblas_sgemm = nullptr;
CblasGemm<double> cblas_dgemm = nullptr;
void (*set_num_threads)(int) = nullptr;
char* (*get_corename)() = nullptr;
char* (*get_config)() = nullptr;

bool (*embedded_gemm)(const Gemm&) = nullptr;

// One operand as cblas wants it: one stride is 1, the other reaches over a whole row.
struct Operand {
  int transposed, stride;
  bool served;
};

bool fits(int64_t x) { return x >= 0 && x <= INT_MAX; }

Operand operand(int64_t rows, int64_t cols, int64_t row, int64_t col) {
  if (col == 1 && row >= cols && fits(row)) return {no_transpose, static_cast<int>(row), true};
  if (row == 1 && col >= rows && fits(col)) return {transpose, static_cast<int>(col), true};
  return {no_transpose, 0, false};
}

template <class T> bool run(const Gemm& g, CblasGemm<T> cblas_gemm) {
  Operand a = operand(g.m, g.k, g.a_row, g.a_col), b = operand(g.k, g.n, g.b_row, g.b_col);
  bool sizes = fits(g.m) && fits(g.n) && fits(g.k) && fits(g.c_row) && g.c_row >= g.n;
  if (!a.served || !b.served || !sizes || (g.bias && g.beta != 0)) return false;
  set_num_threads(thread_count());
  for (int64_t batch = 0; batch < g.batch; batch++) {
    T* c = static_cast<T*>(g.c) + batch * g.c_batch;
    for (int64_t i = 0; g.bias && i < g.m; i++) {  // C starts as the bias, and the product is added
      for (int64_t j = 0; j < g.n; j++) c[i * g.c_row + j] = g.bias[j];
    }
    cblas_gemm(row_major, a.transposed, b.transposed, static_cast<int>(g.m), static_cast<int>(g.n), static_cast<int>(g.k),
               g.alpha, static_cast<const T*>(g.a) + batch * g.a_batch, a.stride,
               static_cast<const T*>(g.b) + batch * g.b_batch, b.stride, g.bias ? 1 : g.beta, c, static_cast<int>(g.c_row));
  }
  return true;
}

// Few rows (decoding) stay with the embedded kernel: OpenBLAS packs the weights for every product, which is several
// times slower than reading them once.
constexpr int64_t fewest_rows = 5;

bool gemm(const Gemm& g) {
  bool served = false;
  bool fuses = g.activation != UnaryOp::count_ || g.residual;
  bool dense = g.c_row == g.n && (g.batch == 1 || g.c_batch == g.m * g.n);
  if ((dense || !fuses) && g.m >= fewest_rows && g.n > 0 && g.k > 0 && g.type_a == g.type_c && g.type_b == g.type_c) {
    if (g.type_c == DType::float32) served = run(g, cblas_sgemm);
    if (g.type_c == DType::float64) served = run(g, cblas_dgemm);
  }
  if (!served) return embedded_gemm(g);
  if (g.activation != UnaryOp::count_) kernels.unary(g.activation, g.type_c, g.c, g.c, g.batch * g.m * g.n, 0, 0);
  if (g.residual) {
    Space all{1, {g.batch * g.m * g.n}, {{1}, {1}}};
    kernels.binary(BinaryOp::add, g.type_c, all, g.c, g.residual, g.c);
  }
  return true;
}

// OpenBLAS chooses its kernels while it is loaded. Versions older than the processor take their oldest ones (Prescott,
// five times slower), so a machine with AVX-512 asks for the SkylakeX kernels, unless the user has asked already.
void* open_library(std::string& reason) {
  bool choose = false;
#if defined(__x86_64__)
  choose = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && !std::getenv("OPENBLAS_CORETYPE");
#endif
  if (choose) setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
  void* library = nullptr;
#if defined(__APPLE__)
  const char* names[] = {"libopenblas.0.dylib", "libopenblas.dylib", "/opt/homebrew/opt/openblas/lib/libopenblas.dylib"};
#else
  const char* names[] = {"libopenblas.so.0", "libopenblas.so"};
#endif
  for (const char* name : names) {
    if ((library = dlopen(name, RTLD_NOW | RTLD_LOCAL))) break;
    if (reason.empty()) {
      const char* text = dlerror();
      reason = text ? text : name;
    }
  }
  if (choose) unsetenv("OPENBLAS_CORETYPE");  // it is ours, not for child processes
  return library;
}

template <class F> bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

std::string core, config;

}  // namespace

const char* openblas_open(KernelTable& table) {
  if (embedded_gemm) return nullptr;
  static std::string error;
  std::string reason;
  void* library = open_library(reason);
  if (!library) {
    error = "TSGPT_GEMM=openblas: OpenBLAS cannot be opened (" + reason +
            "); install it (Debian, Ubuntu: apt install libopenblas0-pthread) or unset TSGPT_GEMM";
    return error.c_str();
  }
  if (!find(library, "cblas_sgemm", cblas_sgemm) || !find(library, "cblas_dgemm", cblas_dgemm) ||
      !find(library, "openblas_set_num_threads", set_num_threads) || !find(library, "openblas_get_corename", get_corename) ||
      !find(library, "openblas_get_config", get_config)) {
    error =
        "TSGPT_GEMM=openblas: the library that was found is not a complete OpenBLAS (cblas_sgemm, cblas_dgemm and "
        "openblas_* are needed); unset TSGPT_GEMM";
    dlclose(library);
    return error.c_str();
  }
  core = get_corename();
  config = get_config();
  if (config.find("USE64BITINT") != std::string::npos) {
    error = "TSGPT_GEMM=openblas: this OpenBLAS is built with 64-bit integers (" + config +
            "); install the usual build or unset TSGPT_GEMM";
    return error.c_str();
  }
  embedded_gemm = table.gemm;
  table.gemm = gemm;
  table.packing = [](const Gemm&) { return Packing::none; };  // OpenBLAS packs for itself, and takes nothing packed
  table.pack = [](const Gemm&, float*) { return int64_t{0}; };
  return nullptr;
}

const char* openblas_core() { return embedded_gemm ? core.c_str() : nullptr; }
const char* openblas_config() { return embedded_gemm ? config.c_str() : nullptr; }

}  // namespace tsgpt
