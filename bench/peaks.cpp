// What this machine can do at most: float32 multiply-adds, bfloat16 dot products by vectors and by AMX tiles (0 where the
// processor has no instruction for them) and memory traffic of the widest vectors, on N threads.
//
// Compiled and run by bench/run.ts before every round, so that each result can be given as a share of the ceiling that
// was there at the time: the clock of a shared machine moves by 10 % and more. Prints one JSON line.
//   c++ -O3 -march=native -std=c++20 -pthread bench/peaks.cpp -o peaks && ./peaks 2
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#if defined(__AVX512BF16__) || defined(__AMX_BF16__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, chains = 24;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, chains = 12;
#else
constexpr int vector_bytes = 16, chains = 24;
#endif
typedef float Vector __attribute__((vector_size(vector_bytes)));
constexpr int lanes = vector_bytes / sizeof(float);

// As many independent chains of multiply-adds as fit in the registers: enough to cover the latency of every unit.
void multiply_add(long steps) {
  Vector x[chains], a, b;
  for (int i = 0; i < lanes; i++) a[i] = 0.999f, b[i] = 0.001f;
  for (int i = 0; i < chains; i++) x[i] = b;
  for (long n = 0; n < steps; n++) {
#pragma GCC unroll 24
    for (int i = 0; i < chains; i++) x[i] = x[i] * a + b;
  }
  for (int i = 0; i < chains; i++) __asm__ volatile("" : : "m"(x[i]));  // the results count as used
}

// The same for pairs of bfloat16: each lane adds two products.
#if defined(__AVX512BF16__)
constexpr int pair_flops = 4;
void multiply_pairs(long steps) {
  __m512 x[chains];
  __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f7f3f7f), b = (__m512bh)_mm512_set1_epi32(0x3a803a80);
  for (int i = 0; i < chains; i++) x[i] = _mm512_setzero_ps();
  for (long n = 0; n < steps; n++) {
#pragma GCC unroll 24
    for (int i = 0; i < chains; i++) x[i] = _mm512_dpbf16_ps(x[i], a, b);
  }
  for (int i = 0; i < chains; i++) __asm__ volatile("" : : "m"(x[i]));
}
#else
constexpr int pair_flops = 0;
void multiply_pairs(long) {}
#endif

// AMX: 16 x 16 x 32 products a step and sum, four sums at a time, of numbers of all kinds: processors slow down for those.
#if defined(__AMX_BF16__)
constexpr int tile_flops = 4 * 2 * 16 * 16 * 32;
bool has_tiles() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
void multiply_tiles(long steps) {
  if (steps == 0) return;  // tiles may be forbidden
  struct alignas(64) {
    unsigned char palette = 1, start = 0, reserved[14] = {};
    unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  alignas(64) unsigned short numbers[4][512];
  unsigned state = 1;
  for (auto& tile : numbers) {
    for (unsigned short& x : tile)
      x = static_cast<unsigned short>(((state = state * 1664525 + 1013904223) >> 16 & 0x80ff) | 0x3f00);
  }
  // The compiler's tile functions do not say that they read memory: here everything has been written.
  __asm__ volatile("" : : "r"(&config), "r"(numbers) : "memory");
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, numbers[0], 64);
  _tile_loadd(5, numbers[1], 64);
  _tile_loadd(6, numbers[2], 64);
  _tile_loadd(7, numbers[3], 64);
  for (long n = 0; n < steps; n++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}
#else
constexpr int tile_flops = 0;
bool has_tiles() { return false; }
void multiply_tiles(long) {}
#endif

// As `streams` runs side by side: a processor that fetches ahead does so for several at once.
template <int streams> void read(const Vector* data, long count) {
  constexpr int width = 8 / streams;
  Vector sums[8] = {};
  const long run = count / streams;
  for (long i = 0; i + width <= run; i += width) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) sums[j] += data[j / width * run + i + j % width];
  }
  for (Vector& sum : sums) __asm__ volatile("" : : "m"(sum));
}

// Best of five: a ceiling is what was reached once. Every thread takes its own time, from the first that begins to the
// last that ends: the thread that waits for them may get a processor late.
double least_seconds(int threads, const std::function<void(int)>& work) {
  using clock = std::chrono::steady_clock;
  double least = 1e30;
  for (int run = 0; run < 5; run++) {
    std::barrier start(threads);
    std::vector<clock::time_point> begin(threads), end(threads);
    auto one = [&](int t) {
      start.arrive_and_wait();
      begin[t] = clock::now();
      work(t);
      end[t] = clock::now();
    };
    std::vector<std::thread> others;
    for (int t = 1; t < threads; t++) others.emplace_back(one, t);
    one(0);
    for (std::thread& thread : others) thread.join();
    auto first = *std::min_element(begin.begin(), begin.end()), last = *std::max_element(end.begin(), end.end());
    least = std::min(least, std::chrono::duration<double>(last - first).count());
  }
  return least;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  const long steps = 16'000'000;  // some 50 ms, longer than a processor takes to reach its clock
  double seconds = least_seconds(threads, [&](int) { multiply_add(steps); });
  const double gflops = 2.0 * steps * chains * lanes * threads / seconds / 1e9;

  seconds = least_seconds(threads, [&](int) { multiply_pairs(steps); });
  const double bf16_gflops = pair_flops == 0 ? 0 : 1.0 * pair_flops * steps * chains * lanes * threads / seconds / 1e9;

  const long tile_steps = has_tiles() ? 2'000'000 : 0;
  seconds = least_seconds(threads, [&](int) { multiply_tiles(tile_steps); });
  const double tile_gflops = tile_steps > 0 ? 1.0 * tile_flops * tile_steps * threads / seconds / 1e9 : 0;

  const long count = (256l << 20) / vector_bytes;  // of each thread; more than any cache
  std::vector<std::unique_ptr<Vector[]>> data;
  for (int t = 0; t < threads; t++) {
    data.emplace_back(new Vector[count]);
    std::fill_n(data[t].get(), count, Vector{});  // pages exist from here on
  }
  seconds = std::min(least_seconds(threads, [&](int t) { read<1>(data[t].get(), count); }),
                     least_seconds(threads, [&](int t) { read<4>(data[t].get(), count); }));
  const double read_gbs = 1.0 * count * vector_bytes * threads / seconds / 1e9;
  seconds = least_seconds(threads, [&](int t) { std::copy_n(data[t].get(), count / 2, data[t].get() + count / 2); });
  const double copy_gbs = 1.0 * count * vector_bytes * threads / seconds / 1e9;  // bytes read and bytes written

  std::printf("{\"threads\":%d,\"gflops\":%.1f,\"bf16Gflops\":%.1f,\"tileGflops\":%.1f,\"readGbs\":%.1f,\"copyGbs\":%.1f}\n",
              threads, gflops, bf16_gflops, tile_gflops, read_gbs, copy_gbs);
}
