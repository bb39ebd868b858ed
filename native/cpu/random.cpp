// Random numbers: uniform, normal (Box and Muller, 1958) and dropout, all from the Philox stream of philox.h.
//
// Element i belongs to position offset + i of the stream, whichever task makes it. A normal number needs two words:
// positions 2 k and 2 k + 1 share words 2 k and 2 k + 1, one takes the cosine and the other the sine.
#include "../kernels.h"
#include "formats.h"
#include "philox.h"
#include "simd.h"
#include "vec_math.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 8192;  // numbers in one task
constexpr int64_t batch = 4 * philox_batch;

// Calls body(i, part, u) for the vectors of [0, n) with u uniform in [0, 1).
template <class Body> void for_uniform(int64_t n, uint64_t seed, uint64_t offset, Body body) {
  parallel_ranges(n, grain, [=](int64_t begin, int64_t end) {
    uint32_t words[batch] = {};
    for (int64_t start = begin; start < end; start += batch) {
      int64_t count = smaller(end - start, batch);
      philox_words(seed, offset + static_cast<uint64_t>(start), words, count);
      for_vectors(count, [&](int64_t i, auto part) { body(start + i, part, philox_uniform(load_words(words + i))); });
    }
  });
}

bool random_uniform(float* y, int64_t n, uint64_t seed, uint64_t offset, float low, float high) {
  const vf scale = set(high - low), least = set(low), most = set(high > low ? std::nextafter(high, low) : low);
  for_uniform(n, seed, offset, [=](int64_t i, auto part, vf u) {
    store(y + i, min(u * scale + least, most), part);  // the sum may round up to `high`
  });
  return true;
}

bool dropout(const float* x, float* y, int64_t n, float p, uint64_t seed, uint64_t offset) {
  const vf scale = set(1 / (1 - p)), least = set(p);
  for_uniform(n, seed, offset,
              [=](int64_t i, auto part, vf u) { store(y + i, select(least <= u, load(x + i, part) * scale, zero()), part); });
  return true;
}

// The normal numbers of philox_batch words.
inline void box_muller(const uint32_t* words, vf mean, vf std, float* out) {
  constexpr int64_t pairs = philox_batch / 2;
  uint32_t radius_words[pairs], angle_words[pairs];
  for (int64_t k = 0; k < pairs; k++) radius_words[k] = words[2 * k], angle_words[k] = words[2 * k + 1];
  float cosines[pairs], sines[pairs];
  for (int64_t k = 0; k < pairs; k += width) {
    vf u = philox_uniform(load_words(radius_words + k)) + set(0x1p-24f);  // in (0, 1]
    vf radius = sqrt(set(-2) * log(u)) * std;
    vf angle = philox_uniform(load_words(angle_words + k)) * set(6.28318530717958648f);
    store(cosines + k, fma(radius, cos(angle), mean));
    store(sines + k, fma(radius, sin(angle), mean));
  }
  for (int64_t k = 0; k < pairs; k++) out[2 * k] = cosines[k], out[2 * k + 1] = sines[k];
}

bool random_normal(float* y, int64_t n, uint64_t seed, uint64_t offset, float mean, float std) {
  const vf center = set(mean), scale = set(std);
  parallel_ranges(n, grain, [=](int64_t begin, int64_t end) {
    uint32_t words[philox_batch];
    float numbers[philox_batch];
    uint64_t position = offset + static_cast<uint64_t>(begin);
    int64_t skip = static_cast<int64_t>(position % 4);  // batches begin at a whole block
    for (int64_t i = begin; i < end;) {
      philox_blocks(seed, (offset + static_cast<uint64_t>(i)) / 4, words);
      box_muller(words, center, scale, numbers);
      int64_t take = smaller(end - i, philox_batch - skip);
      std::memcpy(y + i, numbers + skip, static_cast<size_t>(take) * sizeof(float));
      i += take;
      skip = 0;
    }
  });
  return true;
}

}  // namespace

void register_random(KernelTable& table) {
  table.random_uniform = random_uniform;
  table.random_normal = random_normal;
  table.dropout = dropout;
}

}  // namespace tsgpt::TSGPT_NS
