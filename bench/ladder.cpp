// The rungs below tsgpt's own kernel in part `ladder`: float32 C = A B, 512 cubed, on one thread, each rung one idea
// better than the one before. docs/optimization.md explains them; native/cpu/gemm.cpp is the real thing.
//
// The compiler must not invent vectors, so that a rung shows its own idea only:
//   c++ -O3 -march=native -ffp-contract=fast -fno-tree-vectorize -fno-tree-slp-vectorize -std=c++20 bench/ladder.cpp
//   ./a.out 5
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

namespace {

constexpr int N = 512;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, tile_rows = 8;  // 16 of 32 registers hold sums
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, tile_rows = 4;  // 8 of 16
#else
constexpr int vector_bytes = 16, tile_rows = 8;
#endif
constexpr int lanes = vector_bytes / sizeof(float), tile_vectors = 2, tile_cols = tile_vectors * lanes;
typedef float Vector __attribute__((vector_size(vector_bytes)));
static_assert(N % tile_rows == 0 && N % tile_cols == 0);

// ------------------------------------------------------------------ scalar

// As one writes it down: every element of C is a dot product. B is read along its columns, a cache line for one number,
// and every addition waits for the one before.
void naive(const float* a, const float* b, float* c) {
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      float sum = 0;
      for (int k = 0; k < N; k++) sum += a[i * N + k] * b[k * N + j];
      c[i * N + j] = sum;
    }
  }
}

// The two inner loops exchanged: B and C are read along their rows, and no addition waits for another.
void reordered(const float* a, const float* b, float* c) {
  std::fill_n(c, N * N, 0.0f);
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < N; k++) {
      float x = a[i * N + k];
      for (int j = 0; j < N; j++) c[i * N + j] += x * b[k * N + j];
    }
  }
}

// Blocks of B that stay in a near cache, and 4 x 4 elements of C in registers: 16 multiply-adds for 8 loads.
void blocked(const float* a, const float* b, float* c) {
  constexpr int block_k = 128, block_j = 64, size = 4;  // 32 KB of B
  std::fill_n(c, N * N, 0.0f);
  for (int k0 = 0; k0 < N; k0 += block_k) {
    for (int j0 = 0; j0 < N; j0 += block_j) {
      for (int i = 0; i < N; i += size) {
        for (int j = j0; j < j0 + block_j; j += size) {
          float sum[size][size] = {};
          for (int k = k0; k < k0 + block_k; k++) {
#pragma GCC unroll 4
            for (int r = 0; r < size; r++) {
#pragma GCC unroll 4
              for (int s = 0; s < size; s++) sum[r][s] += a[(i + r) * N + k] * b[k * N + j + s];
            }
          }
#pragma GCC unroll 4
          for (int r = 0; r < size; r++) {
#pragma GCC unroll 4
            for (int s = 0; s < size; s++) c[(i + r) * N + j + s] += sum[r][s];
          }
        }
      }
    }
  }
}

// ------------------------------------------------------------------ vectors

Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
void store(float* p, Vector v) { std::memcpy(p, &v, sizeof v); }

// C[tile_rows, tile_vectors] += A B over `count` steps of k, in registers. Where A's and B's next numbers lie is all that
// the two rungs below differ in.
inline __attribute__((always_inline)) void tile(int count, const float* a, int a_row, int a_step, const float* b, int b_step,
                                                float* c) {
  Vector sum[tile_rows][tile_vectors] = {};
#pragma GCC unroll 1
  for (int k = 0; k < count; k++) {
    Vector x[tile_vectors];
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; v++) x[v] = load(b + v * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < tile_rows; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < tile_vectors; v++) sum[r][v] += a[r * a_row] * x[v];
    }
    a += a_step;
    b += b_step;
  }
#pragma GCC unroll 8
  for (int r = 0; r < tile_rows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; v++) store(c + r * N + v * lanes, load(c + r * N + v * lanes) + sum[r][v]);
  }
}

// Vectors of B times broadcast numbers of A. Both are read where they lie: each step of k is a row of B further, 2 KB.
void vectors(const float* a, const float* b, float* c) {
  std::fill_n(c, N * N, 0.0f);
  for (int i = 0; i < N; i += tile_rows) {
    for (int j = 0; j < N; j += tile_cols) tile(N, a + i * N, N, 1, b + j, N, c + i * N + j);
  }
}

// The same tile over copies in the order in which it reads: no number more than a step away from the last.
void packed(const float* a, const float* b, float* c) {
  constexpr int block = 256;
  static float packed_a[block * tile_rows];
  alignas(64) static float packed_b[block * N];
  std::fill_n(c, N * N, 0.0f);
  for (int k0 = 0; k0 < N; k0 += block) {
    for (int j = 0; j < N; j += tile_cols) {
      for (int k = 0; k < block; k++) std::copy_n(b + (k0 + k) * N + j, tile_cols, packed_b + j * block + k * tile_cols);
    }
    for (int i = 0; i < N; i += tile_rows) {
      for (int k = 0; k < block; k++) {
        for (int r = 0; r < tile_rows; r++) packed_a[k * tile_rows + r] = a[(i + r) * N + k0 + k];
      }
      for (int j = 0; j < N; j += tile_cols) {
        tile(block, packed_a, 1, tile_rows, packed_b + j * block, tile_cols, c + i * N + j);
      }
    }
  }
}

// ------------------------------------------------------------------ measuring

struct Rung {
  const char* name;
  void (*multiply)(const float* a, const float* b, float* c);
};
constexpr Rung rungs[] = {
    {"C++, triple loop", naive}, {"C++, inner loops exchanged", reordered},
    {"C++, blocked", blocked},   {"C++, vectors in registers", vectors},
    {"C++, packed", packed},
};

double seconds_of(const Rung& rung, const float* a, const float* b, float* c) {
  auto start = std::chrono::steady_clock::now();
  rung.multiply(a, b, c);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const int samples = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> a(N * N), b(N * N), c(N * N);
  for (float& x : a) x = normal(random);
  for (float& x : b) x = normal(random);
  std::vector<double> expected(N * N);
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < N; k++) {
      for (int j = 0; j < N; j++) expected[i * N + j] += static_cast<double>(a[i * N + k]) * b[k * N + j];
    }
  }

  std::printf("{");
  for (const Rung& rung : rungs) {
    double first = seconds_of(rung, a.data(), b.data(), c.data()), difference = 0, greatest = 0;
    for (int i = 0; i < N * N; i++) {
      difference = std::max(difference, std::isfinite(c[i]) ? std::abs(c[i] - expected[i]) : 1e30);
      greatest = std::max(greatest, std::abs(expected[i]));
    }
    const int repeats = std::max(1, static_cast<int>(0.02 / first));
    std::vector<double> times;
    for (int s = 0; s < samples; s++) {
      double total = 0;
      for (int r = 0; r < repeats; r++) total += seconds_of(rung, a.data(), b.data(), c.data());
      times.push_back(total / repeats);
    }
    std::nth_element(times.begin(), times.begin() + samples / 2, times.end());
    std::printf("%s\"%s\":{\"seconds\":%.9g,\"error\":%.9g}", &rung == rungs ? "" : ",", rung.name, times[samples / 2],
                difference / greatest);
  }
  std::printf("}\n");
}
