// One entry per kernel: unpack the arguments in the order in which lib/kernels.ts writes them, call the table, answer
// whether it was served.
#include "kernels.h"

#include <vector>

#include "args.h"

namespace tsgpt {
namespace {

napi_value unary(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto op = args.as<UnaryOp>();
  auto type = args.as<DType>();
  auto out_type = args.as<DType>();
  int64_t n = args.integer();
  double a = args.number(), b = args.number();
  const void* x = args.array(type, n);
  void* y = args.array(out_type, n);
  return args.result(args.ok() && kernels.unary(op, type, x, y, n, a, b));
}

napi_value binary(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto op = args.as<BinaryOp>();
  auto type = args.as<DType>();
  auto out_type = args.as<DType>();
  Space space = args.space(2);
  const void* a = args.array(type, Args::extent(space, 0));
  const void* b = args.array(type, Args::extent(space, 1));
  void* out = args.array(out_type, Args::elements(space));
  return args.result(args.ok() && kernels.binary(op, type, space, a, b, out));
}

napi_value where(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto type = args.as<DType>();
  Space space = args.space(3);
  auto* condition = static_cast<const uint8_t*>(args.array(DType::boolean, Args::extent(space, 0)));
  const void* a = args.array(type, Args::extent(space, 1));
  const void* b = args.array(type, Args::extent(space, 2));
  void* out = args.array(type, Args::elements(space));
  return args.result(args.ok() && kernels.where(type, space, condition, a, b, out));
}

napi_value copy(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto from = args.as<DType>();
  auto to = args.as<DType>();
  bool accumulate = args.flag();
  Space space = args.space(2);
  const void* source = args.array(from, Args::extent(space, 0));
  void* destination = args.array(to, Args::extent(space, 1));
  return args.result(args.ok() && kernels.copy(from, to, space, source, destination, accumulate));
}

napi_value fill(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto type = args.as<DType>();
  int64_t n = args.integer();
  double value = args.number();
  void* y = args.array(type, n);
  return args.result(args.ok() && kernels.fill(type, y, n, value));
}

napi_value dequantize(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto type = args.as<Quantization>();
  auto to = args.as<DType>();
  int64_t blocks = args.integer();
  const BlockLayout layout = block_layout(type);
  auto* x = static_cast<const uint8_t*>(args.array(DType::uint8, blocks * layout.bytes));
  void* y = args.array(to, blocks * layout.numbers);
  return args.result(args.ok() && kernels.dequantize(type, to, x, y, blocks));
}

napi_value reduce(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto op = args.as<ReduceOp>();
  auto type = args.as<DType>();
  auto out_type = args.as<DType>();
  int64_t outer = args.integer(), n = args.integer(), inner = args.integer();
  const void* x = args.array(type, outer * n * inner);
  void* out = args.array(out_type, outer * inner);
  return args.result(args.ok() && kernels.reduce(op, type, x, out, outer, n, inner));
}

napi_value cumsum(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto type = args.as<DType>();
  int64_t outer = args.integer(), n = args.integer(), inner = args.integer();
  bool reverse = args.flag();
  const void* x = args.array(type, outer * n * inner);
  void* out = args.array(type, outer * n * inner);
  return args.result(args.ok() && kernels.cumsum(type, x, out, outer, n, inner, reverse));
}

// Answers the sum, or -1, which no sum of squares is, when a type is not served.
napi_value sum_squares(napi_env env, napi_callback_info info) {
  Args args(env, info, Args::List{});
  std::vector<Numbers> arrays;
  for (int64_t i = 0, count = args.integer(); i < count && args.ok(); i++) {
    Numbers a{};
    a.type = args.as<DType>();
    a.n = args.integer();
    a.x = args.array(a.type, a.n);
    arrays.push_back(a);
  }
  double sum = 0;
  if (args.ok() && !kernels.sum_squares(arrays.data(), static_cast<int64_t>(arrays.size()), &sum)) sum = -1;
  return args.result(sum);
}

napi_value index_select(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto type = args.as<DType>();
  int64_t outer = args.integer(), size = args.integer(), inner = args.integer(), n = args.integer();
  const void* x = args.array(type, outer * size * inner);
  const int32_t* ids = args.ints(n);
  void* out = args.array(type, outer * n * inner);
  return args.result(args.ok() && kernels.index_select(type, x, ids, out, outer, size, inner, n));
}

napi_value index_add(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto type = args.as<DType>();
  int64_t outer = args.integer(), size = args.integer(), inner = args.integer(), n = args.integer();
  void* x = args.array(type, outer * size * inner);
  const int32_t* ids = args.ints(n);
  const void* source = args.array(type, outer * n * inner);
  return args.result(args.ok() && kernels.index_add(type, x, ids, source, outer, size, inner, n));
}

napi_value gather(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto type = args.as<DType>();
  int64_t outer = args.integer(), size = args.integer(), inner = args.integer(), n = args.integer();
  const void* x = args.array(type, outer * size * inner);
  const int32_t* ids = args.ints(outer * n * inner);
  void* out = args.array(type, outer * n * inner);
  return args.result(args.ok() && kernels.gather(type, x, ids, out, outer, size, inner, n));
}

napi_value scatter_add(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto type = args.as<DType>();
  int64_t outer = args.integer(), size = args.integer(), inner = args.integer(), n = args.integer();
  void* x = args.array(type, outer * size * inner);
  const int32_t* ids = args.ints(outer * n * inner);
  const void* source = args.array(type, outer * n * inner);
  return args.result(args.ok() && kernels.scatter_add(type, x, ids, source, outer, size, inner, n));
}

// Answers the position of the first bad id, or -1.
napi_value find_bad_id(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t n = args.integer(), size = args.integer();
  const int32_t* ids = args.ints(n);
  return args.result(args.ok() ? static_cast<double>(kernels.find_bad_id(ids, n, size)) : -1.0);
}

napi_value softmax(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t rows = args.integer(), cols = args.integer();
  bool log = args.flag();
  const float* x = args.floats(rows * cols);
  float* y = args.floats(rows * cols);
  return args.result(args.ok() && kernels.softmax(x, y, rows, cols, log));
}

napi_value softmax_grad(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t rows = args.integer(), cols = args.integer();
  bool log = args.flag();
  const float* y = args.floats(rows * cols);
  const float* dy = args.floats(rows * cols);
  float* dx = args.floats(rows * cols);
  return args.result(args.ok() && kernels.softmax_grad(y, dy, dx, rows, cols, log));
}

napi_value cross_entropy(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t rows = args.integer(), cols = args.integer();
  auto ignore = static_cast<int32_t>(args.integer());
  float smoothing = args.real();
  const float* logits = args.floats(rows * cols);
  const int32_t* targets = args.ints(rows);
  float* loss = args.floats(rows);
  float* lse = args.floats(2 * rows);
  return args.result(args.ok() && kernels.cross_entropy(logits, targets, loss, lse, rows, cols, ignore, smoothing));
}

napi_value cross_entropy_grad(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t rows = args.integer(), cols = args.integer();
  auto ignore = static_cast<int32_t>(args.integer());
  float smoothing = args.real();
  const float* logits = args.floats(rows * cols);
  const int32_t* targets = args.ints(rows);
  const float* lse = args.floats(2 * rows);
  const float* dloss = args.floats(rows);
  float* dlogits = args.floats(rows * cols);
  return args.result(args.ok() &&
                     kernels.cross_entropy_grad(logits, targets, lse, dloss, dlogits, rows, cols, ignore, smoothing));
}

napi_value layer_norm(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t rows = args.integer(), cols = args.integer();
  float eps = args.real();
  const float* x = args.floats(rows * cols);
  const float* weight = args.floats_or_null(cols);
  const float* bias = args.floats_or_null(cols);
  float* y = args.floats(rows * cols);
  float* mean = args.floats(rows);
  float* rstd = args.floats(rows);
  return args.result(args.ok() && kernels.layer_norm(x, weight, bias, y, mean, rstd, rows, cols, eps));
}

napi_value layer_norm_grad(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t rows = args.integer(), cols = args.integer();
  bool accumulate = args.flag();
  const float* x = args.floats(rows * cols);
  const float* weight = args.floats_or_null(cols);
  const float* mean = args.floats(rows);
  const float* rstd = args.floats(rows);
  const float* dy = args.floats(rows * cols);
  float* dx = args.floats(rows * cols);
  float* dweight = args.floats_or_null(cols);
  float* dbias = args.floats_or_null(cols);
  return args.result(args.ok() &&
                     kernels.layer_norm_grad(x, weight, mean, rstd, dy, dx, dweight, dbias, rows, cols, accumulate));
}

napi_value rms_norm(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t rows = args.integer(), cols = args.integer();
  float eps = args.real();
  const float* x = args.floats(rows * cols);
  const float* weight = args.floats_or_null(cols);
  float* y = args.floats(rows * cols);
  float* rstd = args.floats(rows);
  return args.result(args.ok() && kernels.rms_norm(x, weight, y, rstd, rows, cols, eps));
}

napi_value rms_norm_grad(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t rows = args.integer(), cols = args.integer();
  bool accumulate = args.flag();
  const float* x = args.floats(rows * cols);
  const float* weight = args.floats_or_null(cols);
  const float* rstd = args.floats(rows);
  const float* dy = args.floats(rows * cols);
  float* dx = args.floats(rows * cols);
  float* dweight = args.floats_or_null(cols);
  return args.result(args.ok() && kernels.rms_norm_grad(x, weight, rstd, dy, dx, dweight, rows, cols, accumulate));
}

napi_value swiglu(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t n = args.integer();
  const float* gate = args.floats(n);
  const float* up = args.floats(n);
  float* y = args.floats(n);
  return args.result(args.ok() && kernels.swiglu(gate, up, y, n));
}

napi_value swiglu_grad(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t n = args.integer();
  const float* gate = args.floats(n);
  const float* up = args.floats(n);
  const float* dy = args.floats(n);
  float* dgate = args.floats(n);
  float* dup = args.floats(n);
  return args.result(args.ok() && kernels.swiglu_grad(gate, up, dy, dgate, dup, n));
}

// As Args::extent.
int64_t matrix_extent(int64_t batch, int64_t batch_stride, int64_t rows, int64_t row, int64_t cols, int64_t col) {
  if (batch == 0 || rows == 0 || cols == 0) return 0;
  if (batch_stride < 0 || row < 0 || col < 0) return -1;
  return (batch - 1) * batch_stride + (rows - 1) * row + (cols - 1) * col + 1;
}

Gemm read_gemm(Args& args) {
  Gemm g{};
  g.batch = args.integer(), g.m = args.integer(), g.n = args.integer(), g.k = args.integer();
  g.type_a = args.as<DType>();
  g.type_b = args.as<DType>();
  g.type_c = args.as<DType>();
  g.a_row = args.integer(), g.a_col = args.integer(), g.a_batch = args.integer();
  g.b_row = args.integer(), g.b_col = args.integer(), g.b_batch = args.integer();
  g.c_row = args.integer(), g.c_batch = args.integer();
  g.alpha = args.real(), g.beta = args.real();
  g.bf16 = args.flag();
  int64_t activation = args.integer();
  g.activation = activation < 0 ? UnaryOp::count_ : static_cast<UnaryOp>(activation);
  g.a = args.array(g.type_a, matrix_extent(g.batch, g.a_batch, g.m, g.a_row, g.k, g.a_col));
  g.b = args.array(g.type_b, matrix_extent(g.batch, g.b_batch, g.k, g.b_row, g.n, g.b_col));
  g.c = args.array(g.type_c, matrix_extent(g.batch, g.c_batch, g.m, g.c_row, g.n, 1));
  g.bias = args.floats_or_null(g.n);
  g.residual = args.array(g.type_c, matrix_extent(g.batch, g.c_batch, g.m, g.c_row, g.n, 1), true);
  return g;
}

// The last array is packed B, or null.
napi_value gemm(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Gemm g = read_gemm(args);
  int64_t size = args.ok() ? kernels.pack(g, nullptr) : 0;
  const float* packed = args.floats_or_null(size);
  if (size > 0) g.packed_b = packed;
  return args.result(args.ok() && kernels.gemm(g));
}

// Answers how the product packs B; 0 where packed B cannot be given.
napi_value gemm_packing(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Gemm g = read_gemm(args);
  return args.result(args.ok() ? static_cast<double>(kernels.packing(g)) : 0);
}

// Packs B into the last array, or answers how many floats that takes where it is null.
napi_value gemm_pack(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Gemm g = read_gemm(args);
  int64_t size = args.ok() ? kernels.pack(g, nullptr) : 0;
  float* out = args.floats_or_null(size);
  if (args.ok() && out) kernels.pack(g, out);
  return args.result(static_cast<double>(size));
}

HeadStrides head_strides(Args& args) {
  HeadStrides s;
  s.batch = args.integer(), s.head = args.integer(), s.row = args.integer();
  return s;
}

int64_t head_extent(const HeadStrides& s, int64_t batch, int64_t heads, int64_t rows, int64_t size) {
  if (batch == 0 || heads == 0 || rows == 0 || size == 0) return 0;
  if (s.batch < 0 || s.head < 0 || s.row < 0) return -1;
  return (batch - 1) * s.batch + (heads - 1) * s.head + (rows - 1) * s.row + size;
}

// An attention call, with the rows of the queries and of the keys and values in a batch: those of all its sequences
// where they are packed.
struct AttentionCall : Attention {
  int64_t q_rows, kv_rows;
  int64_t q_extent(const HeadStrides& s) const { return head_extent(s, batch, heads, q_rows, head_dim); }
  int64_t kv_extent(const HeadStrides& s) const { return head_extent(s, batch, kv_heads, kv_rows, head_dim); }
};

// The scalars of an attention call, then (in attention_arrays) its arrays q, k, v, bias, out, lse and the starts of
// packed sequences.
AttentionCall attention_scalars(Args& args) {
  AttentionCall a{};
  a.batch = args.integer(), a.heads = args.integer(), a.kv_heads = args.integer();
  a.q_len = args.integer(), a.kv_len = args.integer(), a.head_dim = args.integer();
  a.q_rows = args.integer(), a.kv_rows = args.integer();
  a.q_stride = head_strides(args), a.k_stride = head_strides(args), a.v_stride = head_strides(args);
  a.out_stride = head_strides(args);
  a.scale = args.real();
  a.causal = args.flag();
  a.window = args.integer();
  a.bias_batch = args.integer(), a.bias_head = args.integer(), a.bias_row = args.integer(), a.bias_col = args.integer();
  a.relative = args.flag();
  a.dropout = args.real();
  a.seed = args.counter(), a.offset = args.counter();
  a.bf16 = args.flag();
  return a;
}

void attention_arrays(Args& args, AttentionCall& a) {
  a.q = args.floats(a.q_extent(a.q_stride));
  a.k = args.floats(a.kv_extent(a.k_stride));
  a.v = args.floats(a.kv_extent(a.v_stride));
  Space scores{4, {a.batch, a.heads, a.q_len, a.kv_len}, {{a.bias_batch, a.bias_head, a.bias_row, a.bias_col}}};
  int64_t distances = (a.heads - 1) * a.bias_head + a.q_len + a.kv_len - 1;
  a.bias = args.floats_or_null(a.relative ? distances : Args::extent(scores, 0));
  a.out = args.floats(a.q_extent(a.out_stride));
  a.lse = args.floats_or_null(2 * a.batch * a.heads * a.q_len);
  a.q_starts = args.ints_or_null(a.batch + 1);
  a.kv_starts = args.ints_or_null(a.batch + 1);
  if (a.relative && a.bias) a.bias += a.kv_len - 1, a.bias_batch = 0, a.bias_row = 1, a.bias_col = -1;
}

napi_value attention(napi_env env, napi_callback_info info) {
  Args args(env, info);
  AttentionCall a = attention_scalars(args);
  attention_arrays(args, a);
  return args.result(args.ok() && kernels.attention(a));
}

napi_value attention_grad(napi_env env, napi_callback_info info) {
  Args args(env, info);
  AttentionGrad g{};
  AttentionCall a = attention_scalars(args);
  g.dout_stride = head_strides(args);
  g.dq_stride = head_strides(args), g.dk_stride = head_strides(args), g.dv_stride = head_strides(args);
  attention_arrays(args, a);
  g.forward = a;
  g.dout = args.floats(a.q_extent(g.dout_stride));
  g.dq = args.floats(a.q_extent(g.dq_stride));
  g.dk = args.floats(a.kv_extent(g.dk_stride));
  g.dv = args.floats(a.kv_extent(g.dv_stride));
  int64_t tiles = (a.q_len + 63) / 64, distances = tiles * (a.q_len + a.kv_len - 1);
  g.dbias = args.floats_or_null(a.batch * a.heads * (a.relative ? distances : a.q_len * a.kv_len));
  return args.result(args.ok() && kernels.attention_grad(g));
}

napi_value rotary(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Rotary r{};
  r.batch = args.integer(), r.heads = args.integer(), r.len = args.integer(), r.head_dim = args.integer();
  r.x_stride = head_strides(args), r.y_stride = head_strides(args);
  r.shared_tables = args.flag();
  r.inverse = args.flag();
  int64_t table = (r.shared_tables ? 1 : r.batch) * r.len * (r.head_dim / 2);
  r.x = args.floats(head_extent(r.x_stride, r.batch, r.heads, r.len, r.head_dim));
  r.cosine = args.floats(table);
  r.sine = args.floats(table);
  r.y = args.floats(head_extent(r.y_stride, r.batch, r.heads, r.len, r.head_dim));
  return args.result(args.ok() && kernels.rotary(r));
}

napi_value random_uniform(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t n = args.integer();
  uint64_t seed = args.counter(), offset = args.counter();
  float low = args.real(), high = args.real();
  float* y = args.floats(n);
  return args.result(args.ok() && kernels.random_uniform(y, n, seed, offset, low, high));
}

napi_value random_normal(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t n = args.integer();
  uint64_t seed = args.counter(), offset = args.counter();
  float mean = args.real(), std = args.real();
  float* y = args.floats(n);
  return args.result(args.ok() && kernels.random_normal(y, n, seed, offset, mean, std));
}

napi_value dropout(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int64_t n = args.integer();
  float p = args.real();
  uint64_t seed = args.counter(), offset = args.counter();
  const float* x = args.floats(n);
  float* y = args.floats(n);
  return args.result(args.ok() && kernels.dropout(x, y, n, p, seed, offset));
}

napi_value optimizer_step(napi_env env, napi_callback_info info) {
  Args args(env, info, Args::List{});
  OptimizerStep h{};
  int64_t rule = args.integer();
  h.rule = static_cast<OptimizerRule>(rule);
  h.beta1 = args.number(), h.beta2 = args.number(), h.eps = args.number(), h.grad_scale = args.number();
  h.decoupled = args.flag(), h.nesterov = args.flag();
  std::vector<OptimizerTensor> tensors;
  for (int64_t i = 0, count = args.integer(); i < count && args.ok(); i++) {
    OptimizerTensor t{};
    t.n = args.integer();
    t.lr = args.number(), t.weight_decay = args.number();
    t.correction1 = args.number(), t.correction2 = args.number();
    t.parameter = args.floats(t.n), t.grad = args.floats(t.n);
    for (float*& state : t.state) state = args.floats_or_null(t.n);
    tensors.push_back(t);
  }
  bool known = rule >= 0 && rule < static_cast<int64_t>(OptimizerRule::count_);
  return args.result(args.ok() && known && kernels.optimizer_step(tensors.data(), static_cast<int64_t>(tensors.size()), h));
}

}  // namespace

void define_kernels(napi_env env, napi_value exports, double* params) {
  const struct {
    const char* name;
    napi_callback call;
  } entries[] = {
      {"unary", unary},
      {"binary", binary},
      {"where", where},
      {"copy", copy},
      {"fill", fill},
      {"dequantize", dequantize},
      {"reduce", reduce},
      {"cumsum", cumsum},
      {"sumSquares", sum_squares},
      {"indexSelect", index_select},
      {"indexAdd", index_add},
      {"gather", gather},
      {"scatterAdd", scatter_add},
      {"findBadId", find_bad_id},
      {"softmax", softmax},
      {"softmaxGrad", softmax_grad},
      {"crossEntropy", cross_entropy},
      {"crossEntropyGrad", cross_entropy_grad},
      {"layerNorm", layer_norm},
      {"layerNormGrad", layer_norm_grad},
      {"rmsNorm", rms_norm},
      {"rmsNormGrad", rms_norm_grad},
      {"swiglu", swiglu},
      {"swigluGrad", swiglu_grad},
      {"gemm", gemm},
      {"gemmPacking", gemm_packing},
      {"gemmPack", gemm_pack},
      {"attention", attention},
      {"attentionGrad", attention_grad},
      {"rotary", rotary},
      {"randomUniform", random_uniform},
      {"randomNormal", random_normal},
      {"dropout", dropout},
      {"optimizerStep", optimizer_step},
  };
  for (const auto& entry : entries) {
    napi_value function;
    napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.call, params, &function);
    napi_set_named_property(env, exports, entry.name, function);
  }
}

}  // namespace tsgpt
