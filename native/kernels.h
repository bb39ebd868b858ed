// The kernel table: every function that a backend can fill.
//
// Kernels know pointers, sizes and strides; they know no tensor, no graph and no JavaScript. All checking is done
// before a kernel is called (lib/ops), so a kernel never validates. A kernel that does not serve a case returns false
// ("not served"); the op then runs its definition in simpler ops. Only a lack of scratch memory ends the process.
//
// Conventions: sizes and strides are int64_t in elements, never bytes. `rows, cols` means a contiguous row-major matrix.
// `outer, n, inner` means a contiguous (outer, n, inner) array worked on along its middle dimension.
// Results never depend on the number of threads: work is split by output, sums run in blocks of fixed size.
#pragma once

#include <cstdint>

namespace tsgpt {

enum class DType : int32_t { float32, float64, float16, bfloat16, int32, uint8, boolean };

constexpr int max_rank = 8;

// y = f(x). `a` and `b` are the op's constants where its line names them.
enum class UnaryOp : int32_t {
  affine,  // a * x + b
  abs,
  square,
  sqrt,
  rsqrt,
  reciprocal,
  exp,
  expm1,
  log,
  log1p,
  sin,
  cos,
  tanh,
  sigmoid,
  relu,
  leaky_relu,  // a: the negative slope
  erf,
  gelu,       // 0.5 x (1 + erf(x / sqrt 2))
  gelu_tanh,  // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  silu,       // x * sigmoid(x)
  softplus,
  clamp,  // a: least, b: greatest; NaN in any of the three gives NaN
  pow,    // x ^ a
  floor,
  ceil,
  round,  // half to even
  sign,
  logical_not,  // writes boolean
  isnan,        // writes boolean
  count_
};

// out = f(a, b), both broadcast to the shape of out. The comparisons write boolean.
// The *_grad ops are the derivative rules of the unary ops: f(x, dy), or f(y, dy) where the rule is shorter in the output.
enum class BinaryOp : int32_t {
  add,
  sub,
  mul,
  div,
  maximum,  // NaN wins, as in PyTorch
  minimum,
  pow,
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  logical_and,  // boolean in, boolean out
  logical_or,
  tanh_grad,     // (1 - y^2) dy
  sigmoid_grad,  // y (1 - y) dy
  relu_grad,     // y <= 0 ? 0 : dy
  gelu_grad,     // f'(x) dy
  gelu_tanh_grad,
  silu_grad,
  count_
};

enum class ReduceOp : int32_t { sum, mean, max, min, prod, argmax, argmin, count_ };  // arg* write int32, first of ties

// Quantized weights in blocks, by ggml's names (cpu/dequantize.cpp has the layouts).
enum class Quantization : int32_t { q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, count_ };

struct BlockLayout {
  int64_t numbers, bytes;
};
constexpr BlockLayout block_layout(Quantization type) {
  constexpr BlockLayout layouts[] = {{32, 18},   {32, 20},   {32, 22},   {32, 24},   {32, 34}, {256, 84},
                                     {256, 110}, {256, 144}, {256, 176}, {256, 210}, {32, 18}, {256, 136}};
  return layouts[static_cast<int>(type)];
}

// Iteration space of an elementwise kernel. A stride of 0 broadcasts. The output is contiguous unless said otherwise.
struct Space {
  int32_t rank;
  int64_t shape[max_rank];
  int64_t stride[3][max_rank];  // one row for each operand, in the order of the arguments
};

// C = activation(alpha * A B + beta * C + bias) + residual, for `batch` independent products; the bias is added to each row.
// A is (m, k), B is (k, n); either may be transposed: its strides say so (one of row/col stride is 1 in the fast path).
// C has unit column stride. Half inputs are accumulated in float32. beta 0 never reads C.
// A and B are of one type, or A is float32 and B of a half type: weights kept in half their size.
struct Gemm {
  int64_t batch, m, n, k;
  DType type_a, type_b, type_c;
  const void* a;
  int64_t a_row, a_col, a_batch;
  const void* b;
  int64_t b_row, b_col, b_batch;
  void* c;
  int64_t c_row, c_batch;
  float alpha, beta;
  const float* bias;                     // (n) or null
  UnaryOp activation = UnaryOp::count_;  // one without constants that gives C's type; count_: none
  const void* residual;                  // where and of the type that C is, or null
  bool bf16;                        // float32 operands may be rounded to bfloat16 before they are multiplied; sums stay float32
  const float* packed_b = nullptr;  // B as pack() made it for a product with this one's packing() and B, or null
};

// How B is read in a product: as it is, or packed; packed B serves all products of the same B and packing.
enum class Packing : int32_t {
  none,
  numbers,         // in float32
  pairs,           // rounded to bfloat16, two neighbours along k together
  pieces,          // cut into bfloat16 tiles (cpu/amx.h)
  rounded_pieces,  // rounded to bfloat16 tiles
};

struct HeadStrides {
  int64_t batch, head, row;  // the last dimension (head size) has stride 1
};

// Scaled dot-product attention, softmax(scale * Q K^T + bias) V, for every batch and head.
// Query head h reads key/value head h / (heads / kv_heads). Causal: query i sees keys j <= i + (kv_len - q_len).
// window > 0 (sliding window) also hides keys j <= i + (kv_len - q_len) - window. A row that sees no key gives zeros.
struct Attention {
  int64_t batch, heads, kv_heads, q_len, kv_len, head_dim;
  // Packed sequences, of unequal length, one after the other: the rows (batch + 1) where the queries of each begin, and
  // the keys and values; the strides of the batch are then 0, q_len and kv_len the greatest lengths. Null: all alike.
  const int32_t *q_starts, *kv_starts;
  const float *q, *k, *v;
  HeadStrides q_stride, k_stride, v_stride;
  float* out;
  HeadStrides out_stride;
  // (batch, heads, q_len, 2): the log-sum-exp of each score row, in units of log 2, as its maximum and the logarithm of
  // the sum relative to it; null when no backward follows
  float* lse;
  float scale;
  bool causal;
  int64_t window;
  const float* bias;  // added to the scores, or null; strides of 0 broadcast, -inf masks
  int64_t bias_batch, bias_head, bias_row, bias_col;
  // The bias is one of distances, (heads, q_len + kv_len - 1): `bias` points to entry kv_len - 1 of a head, and query i and
  // key j have that at i - j, by strides of 1 and -1.
  bool relative;
  float dropout;          // probability of dropping a weight
  uint64_t seed, offset;  // the weight at flat index i of (batch, heads, q_len, kv_len) uses random number offset + i
  bool bf16;              // q, k, v, dout and the weights may be rounded to bfloat16 before they are multiplied
};

struct AttentionGrad {
  Attention forward;  // with out and lse filled by the forward pass
  const float* dout;
  HeadStrides dout_stride;
  float *dq, *dk, *dv;  // overwritten
  HeadStrides dq_stride, dk_stride, dv_stride;
  // (batch, heads, q_len, kv_len) contiguous, overwritten, or null. Relative: (batch, heads, ceil(q_len / 64), q_len +
  // kv_len - 1), whose sum over batch and tiles of queries is the gradient.
  float* dbias;
};

// Rotary position embedding of (batch, heads, len, head_dim), head_dim even, in half rotation: with c and s the rows of the
// tables at a position, y[i] = x[i] c[i] - x[i + half] s[i] and y[i + half] = x[i + half] c[i] + x[i] s[i].
struct Rotary {
  int64_t batch, heads, len, head_dim;
  const float* x;
  HeadStrides x_stride;
  float* y;
  HeadStrides y_stride;
  const float *cosine, *sine;  // (batch, len, head_dim / 2), or (len, head_dim / 2) when shared by all batches; contiguous
  bool shared_tables;
  bool inverse;  // rotate back: the gradient
};

// One of several arrays that a kernel works on at once.
struct Numbers {
  DType type;
  const void* x;
  int64_t n;
};

// Optimizers that update each number by itself: what a rule reads of OptimizerStep, and the states that it keeps.
enum class OptimizerRule : int32_t {
  adam,     // beta1, beta2, eps; means of the gradient and of its square, and the greatest of these (AMSGrad) or null
  sgd,      // beta1: momentum, nesterov; the momentum, or null without one
  adagrad,  // eps; the sum of squares
  rmsprop,  // beta1: momentum, beta2: decay, eps; the mean square, the momentum or null, the mean (centered) or null
  lion,     // beta1, beta2; the mean of the gradient
  count_
};

struct OptimizerStep {
  OptimizerRule rule;
  double beta1, beta2, eps;  // double, because 1 - beta2 loses five digits in float32
  double grad_scale;         // every gradient is multiplied by it first (clipping)
  bool decoupled;            // weight decay shrinks the parameter; else it is added to the gradient (L2)
  bool nesterov;
};

// A parameter with its gradient, states and own settings.
struct OptimizerTensor {
  float* parameter;
  const float* grad;
  float* state[3];
  int64_t n;
  double lr, weight_decay;
  double correction1, correction2;  // adam: 1 - beta^step; sgd: correction1 is the gradient's share in the momentum
};

struct KernelTable {
  // ---- elementwise (cpu/elementwise.cpp)
  bool (*unary)(UnaryOp, DType, const void* x, void* y, int64_t n, double a, double b);
  bool (*binary)(BinaryOp, DType, const Space&, const void* a, const void* b, void* out);
  bool (*where)(DType, const Space&, const uint8_t* condition, const void* a, const void* b, void* out);
  // Copies between any two layouts and dtypes (round to nearest even; float to integer truncates). Operand 0 is the
  // source, operand 1 the destination. accumulate: destination += source (float32, float64).
  bool (*copy)(DType from, DType to, const Space&, const void* source, void* destination, bool accumulate);
  bool (*fill)(DType, void* y, int64_t n, double value);

  // ---- quantized blocks to float32, float16 or bfloat16 (cpu/dequantize.cpp)
  bool (*dequantize)(Quantization, DType to, const uint8_t* x, void* y, int64_t blocks);

  // ---- reductions and scans along the middle dimension (cpu/reduce.cpp)
  bool (*reduce)(ReduceOp, DType, const void* x, void* out, int64_t outer, int64_t n, int64_t inner);
  bool (*cumsum)(DType, const void* x, void* out, int64_t outer, int64_t n, int64_t inner, bool reverse);
  // Over all arrays in one parallel region: each is summed by itself, the sums are added in the order of the arrays.
  bool (*sum_squares)(const Numbers* arrays, int64_t count, double* out);

  // ---- rows by ids (cpu/index.cpp). Ids are int32 and already checked. x: (outer, size, inner)
  bool (*index_select)(DType, const void* x, const int32_t* ids, void* out, int64_t outer, int64_t size, int64_t inner,
                       int64_t n);
  // x[o, ids[i], :] += source[o, i, :], in the order of i for each row (float32, float64)
  bool (*index_add)(DType, void* x, const int32_t* ids, const void* source, int64_t outer, int64_t size, int64_t inner,
                    int64_t n);
  // out[o, i, j] = x[o, ids[o, i, j], j] and its transpose, for ids of shape (outer, n, inner)
  bool (*gather)(DType, const void* x, const int32_t* ids, void* out, int64_t outer, int64_t size, int64_t inner, int64_t n);
  bool (*scatter_add)(DType, void* x, const int32_t* ids, const void* source, int64_t outer, int64_t size, int64_t inner,
                      int64_t n);
  // The first position whose id is outside [0, size), or -1.
  int64_t (*find_bad_id)(const int32_t* ids, int64_t n, int64_t size);

  // ---- softmax family over the last dimension (cpu/softmax.cpp), float32
  bool (*softmax)(const float* x, float* y, int64_t rows, int64_t cols, bool log);
  bool (*softmax_grad)(const float* y, const float* dy, float* dx, int64_t rows, int64_t cols, bool log);
  // Per-row loss of softmax cross-entropy with class ids; a row whose target is ignore_index has loss 0.
  // lse (rows, 2) receives the log-sum-exp of each row in two parts, whose sum would lose the digits of the second: the
  // maximum, and the logarithm of the sum relative to it. smoothing: the label smoothing of PyTorch.
  bool (*cross_entropy)(const float* logits, const int32_t* targets, float* loss, float* lse, int64_t rows, int64_t cols,
                        int32_t ignore_index, float smoothing);
  // dlogits = (softmax - target distribution) * dloss[row]; dlogits may be the logits' own memory.
  bool (*cross_entropy_grad)(const float* logits, const int32_t* targets, const float* lse, const float* dloss, float* dlogits,
                             int64_t rows, int64_t cols, int32_t ignore_index, float smoothing);

  // ---- norms over the last dimension (cpu/norm.cpp), float32. weight and bias may be null.
  bool (*layer_norm)(const float* x, const float* weight, const float* bias, float* y, float* mean, float* rstd, int64_t rows,
                     int64_t cols, float eps);
  // dx is overwritten; dweight and dbias (null when not wanted) are overwritten, or added to when accumulate.
  bool (*layer_norm_grad)(const float* x, const float* weight, const float* mean, const float* rstd, const float* dy, float* dx,
                          float* dweight, float* dbias, int64_t rows, int64_t cols, bool accumulate);
  bool (*rms_norm)(const float* x, const float* weight, float* y, float* rstd, int64_t rows, int64_t cols, float eps);
  bool (*rms_norm_grad)(const float* x, const float* weight, const float* rstd, const float* dy, float* dx, float* dweight,
                        int64_t rows, int64_t cols, bool accumulate);

  // ---- gated feed-forward (cpu/swiglu.cpp), float32: y = silu(gate) * up, and its gradients
  bool (*swiglu)(const float* gate, const float* up, float* y, int64_t n);
  bool (*swiglu_grad)(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n);

  // ---- rotary positions (cpu/rotary.cpp), float32
  bool (*rotary)(const Rotary&);

  // ---- matrix products (cpu/gemm.cpp, openblas.cpp)
  bool (*gemm)(const Gemm&);
  Packing (*packing)(const Gemm&);           // none as well where packed B cannot be given
  int64_t (*pack)(const Gemm&, float* out);  // answers its size in floats; out may be null

  // ---- attention (cpu/attention.cpp), float32
  bool (*attention)(const Attention&);
  bool (*attention_grad)(const AttentionGrad&);

  // ---- random numbers (cpu/random.cpp): Philox 4x32-10; element i takes 32-bit word (offset + i) % 4 of block
  // (offset + i) / 4, so a stream can be cut and continued anywhere without changing its values.
  bool (*random_uniform)(float* y, int64_t n, uint64_t seed, uint64_t offset, float low, float high);
  bool (*random_normal)(float* y, int64_t n, uint64_t seed, uint64_t offset, float mean, float std);
  // y = x / (1 - p) where the random number is >= p, else 0. Its own gradient, with dy for x.
  bool (*dropout)(const float* x, float* y, int64_t n, float p, uint64_t seed, uint64_t offset);

  // ---- optimizers (cpu/optimizer.cpp): the whole update of all parameters, in one parallel region and one pass over
  // each parameter, its gradient and states
  bool (*optimizer_step)(const OptimizerTensor* tensors, int64_t count, const OptimizerStep&);
};

// The table in use. Filled once at load by the best instruction set (runtime/dispatch.cpp), then by optional backends.
extern KernelTable kernels;

}  // namespace tsgpt
