// Flash attention (Dao et al., FlashAttention, 2022; Dao, FlashAttention-2, 2023): softmax(scale Q K^T + bias) V in tiles of
// 64 queries by 64 keys with a running maximum and sum, so that no (T, S) matrix is ever stored; tiles (and, without AMX, parts
// of tiles) that a causal mask or window hides are not computed. The backward pass recomputes the weights from the
// maximum and sum of each row. Scores are kept in units of log 2, because 2^x is cheaper than e^x.
//
// Forward tasks are (batch, head, 64 queries); few queries against a long cache are cut along the keys instead, and the
// parts are merged. Backward tasks are (batch, kv head), cut along the queries where those are few. The cuts depend on
// the sizes alone, and every sum has a fixed order.

#include "attention_amx.h"
#include "attention_tile.h"
#include "formats.h"
#include "philox.h"

namespace tsgpt::TSGPT_NS {
namespace {

using namespace attention;

constexpr int64_t far = int64_t{1} << 40;  // a bound of a Band that hides nothing

const float lane_index[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// What a tile reads and writes on the way, in the thread's scratch memory.
struct Workspace {
  float *q_t, *dout_t;                 // (head_dim, 64) transposed queries, times scale / ln 2, and output gradients
  float *weights, *grads;              // (keys, queries) scores, then weights; their gradients
  float *extra, *by_query;             // bias or dropout factors by (key, query), and by (query, key)
  float *max, *sum, *delta, *rescale;  // one for each query; backward: of the forward pass, sum as its logarithm
  PackedTile packed;                   // if in_tiles()
};

Workspace workspace(const Attention& p, bool backward) {
  int64_t head_dim = p.head_dim;
  constexpr int64_t square = tile * tile;
  size_t size = static_cast<size_t>(2 * tile * head_dim + 4 * square + 4 * tile);
  float* at = static_cast<float*>(thread_scratch(0, size * sizeof(float)));
  Workspace w{};
  w.q_t = at, at += tile * head_dim;
  w.dout_t = at, at += tile * head_dim;
  w.weights = at, at += square;
  w.grads = at, at += square;
  w.extra = at, at += square;
  w.by_query = at, at += square;
  w.max = at, w.sum = at + tile, w.delta = at + 2 * tile, w.rescale = at + 3 * tile;
  if (in_tiles(p)) w.packed = packed_tile(head_dim, backward);
  return w;
}

void clear_rows(float* x, int64_t row, int64_t rows, int64_t head_dim) {
  for (int64_t i = 0; i < rows; i++) {
    for_vectors(head_dim, [&](int64_t d, auto part) { store(x + i * row + d, zero(), part); });
  }
}

// Where the rows of a sequence lie.
struct Rows {
  int64_t start, count;
};
Rows rows_of(const int32_t* starts, int64_t b, int64_t length) {
  return starts ? Rows{starts[b], starts[b + 1] - starts[b]} : Rows{0, length};
}

// 64 queries (or fewer; none where a packed sequence is shorter than the longest) of one head.
struct QueryTile {
  int64_t b, h, first, count;
  int64_t row, q_len, kv_len;                            // the row of the first query, the lengths of the sequence
  const float *q = nullptr, *k = nullptr, *v = nullptr;  // row `row` of Q; the sequence's row 0 of K and V
};

QueryTile query_tile(const Attention& p, int64_t b, int64_t h, int64_t first) {
  int64_t kv_head = h / (p.heads / p.kv_heads);
  Rows queries = rows_of(p.q_starts, b, p.q_len), keys = rows_of(p.kv_starts, b, p.kv_len);
  QueryTile t{.b = b,
              .h = h,
              .first = first,
              .count = smaller(tile, queries.count - first),
              .row = queries.start + first,
              .q_len = queries.count,
              .kv_len = keys.count};
  t.q = p.q + b * p.q_stride.batch + h * p.q_stride.head + t.row * p.q_stride.row;
  t.k = p.k + b * p.k_stride.batch + kv_head * p.k_stride.head + keys.start * p.k_stride.row;
  t.v = p.v + b * p.v_stride.batch + kv_head * p.v_stride.head + keys.start * p.v_stride.row;
  return t;
}

// The keys that any query of the tile sees.
Range visible_keys(const Attention& p, const QueryTile& t) {
  int64_t offset = t.kv_len - t.q_len;
  int64_t begin = p.window > 0 ? greater(0, t.first + offset - p.window + 1) : 0;
  int64_t end = p.causal ? smaller(t.kv_len, t.first + t.count + offset) : t.kv_len;
  return {begin, greater(begin, end)};
}

Band band_of(const Attention& p, const QueryTile& t, int64_t key, int64_t keys) {
  int64_t diagonal = t.first + t.kv_len - t.q_len - key;
  return {t.count, keys, p.window > 0 ? diagonal - p.window : -far, p.causal ? diagonal : far};
}

// The transposed queries times scale / ln 2, in the first `count` lanes of each row. For AMX they stay as they are.
void pack_queries(const Attention& p, const QueryTile& t, const Workspace& w) {
  if (in_tiles(p)) return pack_columns(t.q, p.q_stride.row, t.count, p.head_dim, w.packed.q_columns);
  gemm::pack_panel(t.q, p.q_stride.row, 1, t.count, p.head_dim, w.q_t, tile);
  vf scale = set(p.scale * log2_e);
  for (int64_t d = 0; d < p.head_dim; d++) {
    for (int64_t i = 0; i < t.count; i += width) store(w.q_t + d * tile + i, load(w.q_t + d * tile + i) * scale);
  }
}

// Calls body(lane, keys) for every vector of queries with the keys that any of its lanes sees.
template <class Body> void for_query_vectors(const Band& band, Body body) {
  for (int64_t i = 0; i < band.queries; i += width) body(i, band.keys_of(i, smaller(i + width, band.queries)));
}

// Times log2_e, a finite bias must stay finite: the least float32, a common padding mask, hides a key beside others that
// are seen, but is no -infinity. The bound's product is exact, so that such scores are equal.
constexpr float most_bias = 0x1p127f;
inline float bounded(float x) { return std::isfinite(x) && std::abs(x) > most_bias ? std::copysign(most_bias, x) : x; }
inline vf bounded(vf x) { return select(abs(x) == set(infinity), x, max(set(-most_bias), min(set(most_bias), x))); }

void add_bias(const Attention& p, const QueryTile& t, int64_t key, const Band& band, const Workspace& w) {
  const float* bias = p.bias + t.b * p.bias_batch + t.h * p.bias_head + t.first * p.bias_row + key * p.bias_col;
  bool shared = p.bias_row == 0, adjacent = p.bias_row == 1;  // by all queries; of neighbouring queries side by side
  if (!shared && !adjacent) gemm::pack_panel(bias, p.bias_row, p.bias_col, t.count, band.keys, w.extra, tile);
  for_query_vectors(band, [&](int64_t i, Range keys) {
    int64_t lanes = t.count - i;
    for (int64_t j = keys.begin; j < keys.end; j++) {
      const float* at = bias + j * p.bias_col + i;
      vf value = shared     ? set(bias[j * p.bias_col])
                 : adjacent ? (lanes >= width ? load(at) : load(at, lanes))
                            : load(w.extra + j * tile + i);
      store(w.weights + j * tile + i, fma(bounded(value), set(log2_e), load(w.weights + j * tile + i)));
    }
  });
}

// extra[key][query] = 1 / (1 - dropout) where the weight is kept, else 0.
void dropout_factors(const Attention& p, const QueryTile& t, int64_t key, const Band& band, const Workspace& w) {
  uint32_t words[tile] = {};
  vf keep = set(1 / (1 - p.dropout)), probability = set(p.dropout);
  for (int64_t i = 0; i < t.count; i++) {
    int64_t row = ((t.b * p.heads + t.h) * p.q_len + t.first + i) * p.kv_len;
    philox_words(p.seed, p.offset + static_cast<uint64_t>(row + key), words, band.keys);
    for (int64_t j = 0; j < band.keys; j += width) {
      vf uniform = philox_uniform(load_words(words + j));
      store(w.by_query + i * tile + j, select(probability <= uniform, keep, zero()));
    }
  }
  gemm::pack_panel(w.by_query, tile, 1, t.count, band.keys, w.extra, tile);
}

// weights[key][query] = scale / ln 2 times the product of key and query
void score_keys(const Attention& p, const QueryTile& t, int64_t key, const Band& band, const Workspace& w) {
  const float* k = t.k + key * p.k_stride.row;
  if (in_tiles(p)) {
    multiply_in_tiles(k, p.k_stride.row, 1, band.keys, p.head_dim, w.packed.q_columns, t.count, w.packed.left, w.weights, tile);
    vf scale = set(p.scale * log2_e);
    for_query_vectors(band, [&](int64_t i, Range keys) {
      float* s = w.weights + i;
      for (int64_t j = keys.begin; j < keys.end; j++) store(s + j * tile, load(s + j * tile) * scale);
    });
    return;
  }
  multiply_scores(band, k, p.k_stride.row, w.q_t, p.head_dim, w.weights);
}

// weights[key][query] = the scores of a tile, with bias, -infinity where a mask cuts through a vector. What lies outside
// keys_of a vector of queries is not determined.
void tile_scores(const Attention& p, const QueryTile& t, int64_t key, const Band& band, const Workspace& w) {
  score_keys(p, t, key, band, w);
  if (p.bias) add_bias(p, t, key, band, w);
  for_query_vectors(band, [&](int64_t i, Range keys) {
    float* s = w.weights + i;
    vf lane = load(lane_index), hidden = set(-infinity);
    for (int64_t j = greater(keys.begin, i + band.upper + 1); j < keys.end; j++) {  // lanes before the causal diagonal
      store(s + j * tile, select(lane < set(static_cast<float>(j - band.upper - i)), hidden, load(s + j * tile)));
    }
    for (int64_t j = keys.begin; j < smaller(keys.end, i + width + band.lower); j++) {  // lanes that the window has left
      store(s + j * tile, select(lane < set(static_cast<float>(j - band.lower - i)), load(s + j * tile), hidden));
    }
  });
}

// Products read whole panels of queries: what a vector of queries does not see must read as zero.
void clear_unseen(const Band& band, int64_t i, Range keys, float* weights) {
  for (int64_t j = 0; j < keys.begin; j++) store(weights + j * tile + i, zero());
  for (int64_t j = keys.end; j < band.keys; j++) store(weights + j * tile + i, zero());
}

// ------------------------------------------------------------------ forward

// Where a task leaves its result: rows of weighted sums, not yet divided by `sum`, relative to 2^max.
struct Partial {
  float* out;
  int64_t out_row;
  float *max, *sum;
};

// One step of online softmax: scores become weights, `rescale` is what the earlier sums are multiplied by.
void online_softmax(const Band& band, const Workspace& w) {
  for_query_vectors(band, [&](int64_t i, Range keys) {
    float* s = w.weights + i;
    vf before = load(w.max + i), m0 = before, m1 = before;
    int64_t j = keys.begin;
    for (; j + 2 <= keys.end; j += 2) {
      m0 = max(load(s + j * tile), m0);
      m1 = max(load(s + (j + 1) * tile), m1);
    }
    if (j < keys.end) m0 = max(load(s + j * tile), m0);
    vf now = max(m0, m1);
    vf m = select(now == set(-infinity), zero(), now);  // a row that has seen no key yet keeps weights of 0
    vf rescale = exp2_nonpositive(before - m);
    vf s0 = zero(), s1 = zero();
    for (j = keys.begin; j + 2 <= keys.end; j += 2) {
      vf e0 = exp2_nonpositive(load(s + j * tile) - m), e1 = exp2_nonpositive(load(s + (j + 1) * tile) - m);
      store(s + j * tile, e0);
      store(s + (j + 1) * tile, e1);
      s0 = s0 + e0;
      s1 = s1 + e1;
    }
    if (j < keys.end) {
      vf e = exp2_nonpositive(load(s + j * tile) - m);
      store(s + j * tile, e);
      s0 = s0 + e;
    }
    store(w.max + i, now);
    store(w.sum + i, fma(load(w.sum + i), rescale, s0 + s1));
    store(w.rescale + i, rescale);
    clear_unseen(band, i, keys, w.weights);
  });
}

void weighted_values(const Attention& p, const QueryTile& t, int64_t key, const Band& band, const Workspace& w,
                     const Partial& to, bool first) {
  if (p.dropout > 0) {
    dropout_factors(p, t, key, band, w);
    for_query_vectors(band, [&](int64_t i, Range keys) {
      for (int64_t j = keys.begin * tile + i; j < keys.end * tile; j += tile) {
        store(w.weights + j, load(w.weights + j) * load(w.extra + j));
      }
    });
  }
  const float* v = t.v + key * p.v_stride.row;
  Product product{.rows = t.count,
                  .cols = p.head_dim,
                  .a = w.weights,
                  .b = v,
                  .b_row = p.v_stride.row,
                  .c = to.out,
                  .c_row = to.out_row,
                  .accumulate = !first,
                  .row_scale = w.rescale};
  if (in_tiles(p)) {
    pack_rows(v, p.v_stride.row, band.keys, p.head_dim, w.packed.right);
    return multiply_in_tiles<TileColumns>(product, band.keys, w.packed.right, w.packed);
  }
  multiply<TileColumns>(product, [&](int64_t from, int64_t end) { return band.keys_of(from, end); });
}

void forward_tile(const Attention& p, const QueryTile& t, Range keys, const Partial& to) {
  Workspace w = workspace(p, false);
  Tiles registers(in_tiles(p));
  pack_queries(p, t, w);
  for (int64_t i = 0; i < tile; i++) w.max[i] = -infinity, w.sum[i] = 0;
  for (int64_t key = keys.begin; key < keys.end; key += tile) {
    Band band = band_of(p, t, key, smaller(tile, keys.end - key));
    tile_scores(p, t, key, band, w);
    online_softmax(band, w);
    weighted_values(p, t, key, band, w, to, key == keys.begin);
  }
  if (keys.begin == keys.end) clear_rows(to.out, to.out_row, t.count, p.head_dim);
  std::memcpy(to.max, w.max, static_cast<size_t>(t.count) * sizeof(float));
  std::memcpy(to.sum, w.sum, static_cast<size_t>(t.count) * sizeof(float));
}

// One query against a cache, which is read once at the speed of memory: scores are dot products along the rows of K.
void forward_single(const Attention& p, const QueryTile& t, Range keys, const Partial& to) {
  alignas(64) float weights[tile];
  float running_max = -infinity, running_sum = 0;
  const float* bias = p.bias ? p.bias + t.b * p.bias_batch + t.h * p.bias_head : nullptr;
  for (int64_t key = keys.begin; key < keys.end; key += tile) {
    int64_t n = smaller(tile, keys.end - key);
    for (int64_t j = 0; j < n; j++) {
      const float* k = t.k + (key + j) * p.k_stride.row;
      vf even = zero(), odd = zero();
      int64_t d = 0;
      for (; d + 2 * width <= p.head_dim; d += 2 * width) {
        even = fma(load(t.q + d), load(k + d), even);
        odd = fma(load(t.q + d + width), load(k + d + width), odd);
      }
      for (; d < p.head_dim; d += width) {
        int64_t lanes = smaller(width, p.head_dim - d);
        even = fma(load(t.q + d, lanes), load(k + d, lanes), even);
      }
      weights[j] = sum(even + odd) * (p.scale * log2_e);
      if (bias) weights[j] += bounded(bias[(key + j) * p.bias_col]) * log2_e;
    }
    vf m = set(running_max);
    for (int64_t j = 0; j < n; j += width) {
      m = max(select(first(n - j), load(weights + j), set(-infinity)), m);
    }
    float now = max_of(m), shift = now == -infinity ? 0 : now;
    float rescale = running_max == -infinity ? 0 : std::exp2(running_max - shift);
    vf total = zero();
    for (int64_t j = 0; j < n; j += width) {
      vf e = select(first(n - j), exp2_nonpositive(load(weights + j) - set(shift)), zero());
      store(weights + j, e);
      total = total + e;
    }
    running_max = now;
    running_sum = running_sum * rescale + sum(total);
    const float* v = t.v + key * p.v_stride.row;
    Product product{.rows = 1,
                    .cols = p.head_dim,
                    .a = weights,
                    .b = v,
                    .b_row = p.v_stride.row,
                    .c = to.out,
                    .c_row = to.out_row,
                    .accumulate = key != keys.begin,
                    .row_scale = &rescale};
    multiply<TileRows>(product, [&](int64_t, int64_t) { return Range{0, n}; });
  }
  if (keys.begin == keys.end) clear_rows(to.out, 0, 1, p.head_dim);
  to.max[0] = running_max;
  to.sum[0] = running_sum;
}

float* out_rows(const Attention& p, const QueryTile& t) {
  return p.out + t.b * p.out_stride.batch + t.h * p.out_stride.head + t.row * p.out_stride.row;
}

// out /= total weight; a row that saw no key is zero, with a log-sum-exp of -infinity.
void finish(const Attention& p, const QueryTile& t, const float* max, const float* sum) {
  float scale[tile];
  for_vectors(t.count, [&](int64_t i, auto part) { store(scale + i, set(1) / load(sum + i, part), part); });
  if (p.lse) {
    float* lse = p.lse + 2 * ((t.b * p.heads + t.h) * p.q_len + t.first);
    for (int64_t i = 0; i < t.count; i++) lse[2 * i] = max[i], lse[2 * i + 1] = std::log2(sum[i]);
  }
  float* out = out_rows(p, t);
  for (int64_t i = 0; i < t.count; i++, out += p.out_stride.row) {
    if (sum[i] == 0) clear_rows(out, 0, 1, p.head_dim);  // a panel's other queries may have left 0 * NaN here
    else for_vectors(p.head_dim, [&](int64_t d, auto part) { store(out + d, load(out + d, part) * set(scale[i]), part); });
  }
}

void forward_part(const Attention& p, const QueryTile& t, Range keys, const Partial& to) {
  (p.q_len == 1 && !(p.dropout > 0) ? forward_single : forward_tile)(p, t, keys, to);
}

// Few queries, many keys: `parts` ranges of keys for each head, then their merge in order.
void forward_split(const Attention& p, int64_t parts) {
  int64_t heads = p.batch * p.heads, size = p.q_len * (p.head_dim + 2);
  float* partials = static_cast<float*>(thread_scratch(1, static_cast<size_t>(heads * parts * size) * sizeof(float)));
  auto partial = [&](int64_t head, int64_t part) {
    float* base = partials + (head * parts + part) * size;
    return Partial{base, p.head_dim, base + p.q_len * p.head_dim, base + p.q_len * (p.head_dim + 1)};
  };
  parallel(heads * parts, [&](int64_t task) {
    int64_t head = task / parts, part = task % parts;
    QueryTile t = query_tile(p, head / p.heads, head % p.heads, 0);
    if (t.count <= 0) return;
    Range keys = visible_keys(p, t);
    int64_t length = ((keys.end - keys.begin + parts - 1) / parts + tile - 1) / tile * tile;
    int64_t begin = smaller(keys.begin + part * length, keys.end);
    forward_part(p, t, {begin, smaller(begin + length, keys.end)}, partial(head, part));
  });
  parallel(heads, [&](int64_t head) {
    QueryTile t = query_tile(p, head / p.heads, head % p.heads, 0);
    float max[tile], sum[tile];
    for (int64_t i = 0; i < t.count; i++) {
      max[i] = -infinity, sum[i] = 0;
      for (int64_t part = 0; part < parts; part++)
        max[i] = partial(head, part).max[i] > max[i] ? partial(head, part).max[i] : max[i];
      float* out = out_rows(p, t) + i * p.out_stride.row;
      clear_rows(out, 0, 1, p.head_dim);
      for (int64_t part = 0; part < parts; part++) {
        Partial from = partial(head, part);
        float factor = max[i] == -infinity ? 1 : std::exp2(from.max[i] - max[i]);
        sum[i] += factor * from.sum[i];
        for_vectors(p.head_dim, [&](int64_t d, auto part) {
          vf add = load(from.out + i * from.out_row + d, part);
          store(out + d, fma(set(factor), add, load(out + d, part)), part);
        });
      }
    }
    finish(p, t, max, sum);
  });
}

// A single query of each head in a group is as good as a group of queries of one head: they share every key they read.
Attention group_as_queries(Attention p) {
  int64_t group = p.heads / p.kv_heads;
  int64_t hidden = p.window > 0 ? greater(0, p.kv_len - p.window) : 0;
  p.k += hidden * p.k_stride.row;
  p.v += hidden * p.v_stride.row;
  if (p.bias) p.bias += hidden * p.bias_col;
  p.kv_len -= hidden;
  p.causal = false;
  p.window = 0;
  p.heads = p.kv_heads;
  p.q_len = group;
  p.q_stride.row = p.q_stride.head, p.q_stride.head *= group;
  p.out_stride.row = p.out_stride.head, p.out_stride.head *= group;
  p.bias_row = p.bias_head, p.bias_head *= group;
  return p;
}

bool attention_forward(const Attention& given) {
  bool regroup =
      given.q_len == 1 && given.heads > given.kv_heads && !(given.dropout > 0) && !given.q_starts && !given.kv_starts;
  const Attention p = regroup ? group_as_queries(given) : given;
  int64_t query_tiles = (p.q_len + tile - 1) / tile, heads = p.batch * p.heads;

  constexpr int64_t least_tasks = 16, least_keys = 512;
  int64_t parts = query_tiles == 1 ? smaller((least_tasks + heads - 1) / greater(heads, 1), p.kv_len / least_keys) : 1;
  if (parts > 1) {
    forward_split(p, parts);
    return true;
  }
  parallel(heads * query_tiles, [&](int64_t task) {
    // Head by head, whose keys then stay in the cache; the last queries, with most to see under a causal mask, first.
    int64_t head = task / query_tiles, first = (query_tiles - 1 - task % query_tiles) * tile;
    QueryTile t = query_tile(p, head / p.heads, head % p.heads, first);
    if (t.count <= 0) return;
    float max[tile], sum[tile];
    forward_part(p, t, visible_keys(p, t), {out_rows(p, t), p.out_stride.row, max, sum});
    finish(p, t, max, sum);
  });
  return true;
}

// ------------------------------------------------------------------ backward

// With P the weights and dP = dO V^T: delta = rowsum(dO O), dS = P (dP - delta), dQ = scale dS K, dK = scale dS^T Q,
// dV = P^T dO. With dropout, P in dV and dP carry the factor that the forward pass multiplied the weights by.

// Where the gradients of one kv head's keys and values are summed.
struct KeyGrads {
  float *dk, *dv;
  int64_t dk_row, dv_row;
};

// weights: scores -> P; grads: dP -> dS
void tile_gradients(const Band& band, bool dropout, const Workspace& w) {
  for_query_vectors(band, [&](int64_t i, Range keys) {
    vf top = load(w.max + i), log_sum = load(w.sum + i), delta = load(w.delta + i);
    for (int64_t j = keys.begin * tile + i; j < keys.end * tile; j += tile) {
      vf weight = exp2_nonpositive(load(w.weights + j) - top - log_sum), grad = load(w.grads + j);
      if (dropout) {
        vf factor = load(w.extra + j);
        grad = grad * factor;
        store(w.weights + j, weight * factor);
      } else {
        store(w.weights + j, weight);
      }
      store(w.grads + j, weight * (grad - delta));
    }
    clear_unseen(band, i, keys, w.weights);
    clear_unseen(band, i, keys, w.grads);
  });
}

// Where the bias of a tile's queries has its gradient, of zeros, or null.
float* bias_gradient(const AttentionGrad& g, const QueryTile& t) {
  const Attention& p = g.forward;
  if (!g.dbias) return nullptr;
  int64_t head = t.b * p.heads + t.h, tiles = (p.q_len + tile - 1) / tile, distances = p.q_len + p.kv_len - 1;
  int64_t rows = smaller(tile, p.q_len - t.first);  // also those that a packed sequence does not have
  int64_t size = p.relative ? distances : rows * p.kv_len;
  float* x = g.dbias + (p.relative ? (head * tiles + t.first / tile) * distances : (head * p.q_len + t.first) * p.kv_len);
  std::memset(x, 0, static_cast<size_t>(size) * sizeof(float));
  return x;
}

// sums[i - j] += grads[j][i]
void add_distances(const Band& band, const float* grads, float* sums) {
  for (int64_t j = 0; j < band.keys; j++) {
    for_vectors(band.queries, [&](int64_t i, auto part) {
      store(sums + i - j, load(sums + i - j, part) + load(grads + j * tile + i, part), part);
    });
  }
}

void backward_queries(const AttentionGrad& g, const QueryTile& t, const KeyGrads& to) {
  const Attention& p = g.forward;
  Workspace w = workspace(p, true);
  bool packed = in_tiles(p);
  Tiles registers(packed);
  const float* dout = g.dout + t.b * g.dout_stride.batch + t.h * g.dout_stride.head + t.row * g.dout_stride.row;
  const float* out = out_rows(p, t);
  float* dq = g.dq + t.b * g.dq_stride.batch + t.h * g.dq_stride.head + t.row * g.dq_stride.row;
  int64_t first_row = (t.b * p.heads + t.h) * p.q_len + t.first;
  float* dbias = bias_gradient(g, t);

  pack_queries(p, t, w);
  if (packed) {
    pack_columns(dout, g.dout_stride.row, t.count, p.head_dim, w.packed.dout_columns);
    pack_rows(dout, g.dout_stride.row, t.count, p.head_dim, w.packed.dout_rows);
    pack_rows(t.q, p.q_stride.row, t.count, p.head_dim, w.packed.q_rows);
  } else {
    gemm::pack_panel(dout, g.dout_stride.row, 1, t.count, p.head_dim, w.dout_t, tile);
  }
  for (int64_t i = 0; i < tile; i++) {
    bool seen = i < t.count && p.lse[2 * (first_row + i)] != -infinity;
    w.max[i] = seen ? p.lse[2 * (first_row + i)] : 0;
    w.sum[i] = seen ? p.lse[2 * (first_row + i) + 1] : infinity;  // weights of 0 where nothing was seen
    w.delta[i] = 0;
    if (i >= t.count) continue;
    vf delta = zero();
    for_vectors(p.head_dim, [&](int64_t d, auto part) {
      delta = fma(load(dout + i * g.dout_stride.row + d, part), load(out + i * p.out_stride.row + d, part), delta);
    });
    w.delta[i] = sum(delta);
  }

  Range keys = visible_keys(p, t);
  if (keys.begin == keys.end) clear_rows(dq, g.dq_stride.row, t.count, p.head_dim);
  for (int64_t key = keys.begin; key < keys.end; key += tile) {
    Band band = band_of(p, t, key, smaller(tile, keys.end - key));
    tile_scores(p, t, key, band, w);
    const float *k = t.k + key * p.k_stride.row, *v = t.v + key * p.v_stride.row;
    if (packed) {
      multiply_in_tiles(v, p.v_stride.row, 1, band.keys, p.head_dim, w.packed.dout_columns, t.count, w.packed.left, w.grads,
                        tile);
    } else multiply_scores(band, v, p.v_stride.row, w.dout_t, p.head_dim, w.grads);
    if (p.dropout > 0) dropout_factors(p, t, key, band, w);
    tile_gradients(band, p.dropout > 0, w);

    auto queries_of = [&](int64_t from, int64_t end) { return band.queries_of(from, end); };
    auto keys_of = [&](int64_t from, int64_t end) { return band.keys_of(from, end); };
    Product dv{.rows = band.keys,
               .cols = p.head_dim,
               .a = w.weights,
               .b = dout,
               .b_row = g.dout_stride.row,
               .c = to.dv + key * to.dv_row,
               .c_row = to.dv_row,
               .accumulate = true};
    Product dk{.rows = band.keys,
               .cols = p.head_dim,
               .a = w.grads,
               .b = t.q,
               .b_row = p.q_stride.row,
               .c = to.dk + key * to.dk_row,
               .c_row = to.dk_row,
               .alpha = p.scale,
               .accumulate = true};
    Product dq_tile{.rows = t.count,
                    .cols = p.head_dim,
                    .a = w.grads,
                    .b = k,
                    .b_row = p.k_stride.row,
                    .c = dq,
                    .c_row = g.dq_stride.row,
                    .alpha = p.scale,
                    .accumulate = key != keys.begin};
    if (packed) {
      multiply_in_tiles<TileRows>(dv, t.count, w.packed.dout_rows, w.packed);
      multiply_in_tiles<TileRows>(dk, t.count, w.packed.q_rows, w.packed);
      pack_rows(k, p.k_stride.row, band.keys, p.head_dim, w.packed.right);
      multiply_in_tiles<TileColumns>(dq_tile, band.keys, w.packed.right, w.packed);
    } else {
      multiply<TileRows>(dv, queries_of);
      multiply<TileRows>(dk, queries_of);
      multiply<TileColumns>(dq_tile, keys_of);
    }
    if (dbias && p.relative) {
      add_distances(band, w.grads, dbias + p.kv_len - 1 + t.first - key);
    } else if (dbias) {
      gemm::pack_panel(w.grads, tile, 1, band.keys, t.count, w.by_query, tile);
      for (int64_t i = 0; i < t.count; i++) {
        std::memcpy(dbias + i * p.kv_len + key, w.by_query + i * tile, static_cast<size_t>(band.keys) * sizeof(float));
      }
    }
  }
}

void add_rows(float* x, int64_t row, const float* y, int64_t rows, int64_t cols) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t d = 0; d < cols; d++) x[i * row + d] += y[i * cols + d];
  }
}

bool attention_backward(const AttentionGrad& g) {
  const Attention& p = g.forward;
  int64_t kv_heads = p.batch * p.kv_heads, group = p.heads / p.kv_heads, query_tiles = (p.q_len + tile - 1) / tile;

  // Parts take every parts-th tile of queries, which spreads a causal mask's work evenly. The first sums into the
  // outputs, the others into memory of their own, added at the end in order.
  constexpr int64_t least_tasks = 16;
  int64_t parts = smaller((least_tasks + kv_heads - 1) / greater(kv_heads, 1), greater(group * query_tiles / 2, 1));
  int64_t size = p.kv_len * p.head_dim;
  float* partials = nullptr;
  if (parts > 1)
    partials = static_cast<float*>(thread_scratch(1, static_cast<size_t>((parts - 1) * kv_heads * 2 * size) * sizeof(float)));
  auto partial = [&](int64_t head, int64_t part) { return partials + ((part - 1) * kv_heads + head) * 2 * size; };
  auto outputs = [&](int64_t head) {
    int64_t b = head / p.kv_heads, h = head % p.kv_heads;
    int64_t row = rows_of(p.kv_starts, b, p.kv_len).start;
    return KeyGrads{g.dk + b * g.dk_stride.batch + h * g.dk_stride.head + row * g.dk_stride.row,
                    g.dv + b * g.dv_stride.batch + h * g.dv_stride.head + row * g.dv_stride.row, g.dk_stride.row,
                    g.dv_stride.row};
  };
  auto keys_of = [&](int64_t head) { return rows_of(p.kv_starts, head / p.kv_heads, p.kv_len).count; };

  parallel(kv_heads * parts, [&](int64_t task) {
    int64_t head = task / parts, part = task % parts;
    KeyGrads to = outputs(head);
    if (part > 0) to = {partial(head, part), partial(head, part) + size, p.head_dim, p.head_dim};
    clear_rows(to.dk, to.dk_row, keys_of(head), p.head_dim);
    clear_rows(to.dv, to.dv_row, keys_of(head), p.head_dim);
    for (int64_t unit = part; unit < group * query_tiles; unit += parts) {
      int64_t h = head % p.kv_heads * group + unit / query_tiles;
      QueryTile t = query_tile(p, head / p.kv_heads, h, unit % query_tiles * tile);
      if (t.count > 0) backward_queries(g, t, to);
      else bias_gradient(g, t);  // zeros
    }
  });
  if (parts > 1) {
    parallel(kv_heads, [&](int64_t head) {
      KeyGrads to = outputs(head);
      for (int64_t part = 1; part < parts; part++) {
        add_rows(to.dk, to.dk_row, partial(head, part), keys_of(head), p.head_dim);
        add_rows(to.dv, to.dv_row, partial(head, part) + size, keys_of(head), p.head_dim);
      }
    });
  }
  return true;
}

}  // namespace

void register_attention(KernelTable& table) {
  table.attention = attention_forward;
  table.attention_grad = attention_backward;
}

}  // namespace tsgpt::TSGPT_NS
