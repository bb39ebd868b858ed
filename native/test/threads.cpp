// The thread pool and the kernels that use it under load, for ThreadSanitizer, which says where two threads use the same
// memory with nothing between them that orders it. (Under Node it cannot be used: Node is built without it, so what V8
// orders looks unordered.) `npm run test:sanitize` builds and runs this:
//
//   g++ -O1 -g -std=c++20 -ffp-contract=off -pthread -fsanitize=thread -DTSGPT_NS=base native/test/threads.cpp
//       native/runtime/parallel.cpp native/cpu/*.cpp -o /tmp/threads && setarch -R /tmp/threads
//
// The base set, because it is plain C++: the sanitizer does not see what the other sets' intrinsics read and write.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include "../kernels.h"
#include "../runtime/parallel.h"

namespace tsgpt::TSGPT_NS {
void register_elementwise(KernelTable&);
void register_copy(KernelTable&);
void register_reduce(KernelTable&);
void register_index(KernelTable&);
void register_softmax(KernelTable&);
void register_norm(KernelTable&);
void register_swiglu(KernelTable&);
void register_rotary(KernelTable&);
void register_gemm(KernelTable&);
void register_attention(KernelTable&);
void register_random(KernelTable&);
void register_optimizer(KernelTable&);
}  // namespace tsgpt::TSGPT_NS

namespace tsgpt {
int64_t level_1_ways() { return 8; }  // runtime/dispatch.cpp would bring all instruction sets
}  // namespace tsgpt

// Called by the sanitizer for every report.
static std::atomic<int> reports{0};
extern "C" void __tsan_on_report(void*) { reports++; }
// A forked child starts threads of its own (`forks` below); by default the sanitizer would end it there.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

using namespace tsgpt;

namespace {

std::atomic<int> wrong{0};

void check(bool right, const char* what) {
  if (!right && wrong.fetch_add(1) < 10) std::printf("  wrong: %s\n", what);
}

struct Random {
  uint64_t state;
  uint64_t next() { return state = state * 6364136223846793005u + 1442695040888963407u, state >> 33; }
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
};

template <class Body> void run(int64_t tasks, Body body) {
  parallel_run(
      tasks, [](void* context, int64_t task) { (*static_cast<Body*>(context))(task); }, &body);
}

// One call, whose tasks read what the caller wrote just before and write what it reads just after, with plain loads and
// stores: each must have run once and be done when the call returns. Some tasks take longer than others.
void one_call(Random& random, bool nested) {
  int64_t tasks = random.below(4) ? random.below(40) : random.below(600), uneven = 1 + random.below(300);
  std::vector<int64_t> given(static_cast<size_t>(tasks)), result(given.size());
  for (int64_t& x : given) x = random.below(1000);
  run(tasks, [&](int64_t task) {
    auto at = static_cast<size_t>(task);
    int64_t sum = 0;
    for (int64_t i = 0; i < (task % 7 ? 1 : uneven); i++) sum += given[at] + i;
    if (nested) {  // runs on this thread alone
      int64_t inner[5] = {};
      run(5, [&](int64_t k) { inner[k] = sum + k; });
      for (int64_t k = 0; k < 5; k++) check(inner[k] == sum + k, "a nested call");
    }
    result[at] += sum + 1;
  });
  for (size_t i = 0; i < given.size(); i++) {
    int64_t n = i % 7 ? 1 : uneven;
    if (result[i] == n * given[i] + n * (n - 1) / 2 + 1) continue;
    check(false, "every task runs once and is done when the call returns");
    return;
  }
}

// Longer than workers spin for the next call: they are asleep after it.
void rest() { std::this_thread::sleep_for(std::chrono::microseconds(600)); }

void calls() {
  Random random{1};
  set_thread_count(4);
  for (int i = 0; i < 20000; i++) {
    if (random.below(100) == 0) rest();
    one_call(random, random.below(8) == 0);
  }
}

void changing_thread_counts() {
  Random random{2};
  for (int i = 0; i < 4000; i++) {
    if (random.below(4) == 0) set_thread_count(static_cast<int>(1 + random.below(6)));
    if (random.below(50) == 0) rest();
    one_call(random, false);
  }
}

void scratch_memory() {
  set_thread_count(4);
  Random random{3};
  for (int i = 0; i < 1000; i++) {
    size_t bytes = static_cast<size_t>(1 + random.below(20000));
    if (i % 50 == 49) set_thread_count(2 + i / 50 % 3);  // ending workers give theirs back
    run(16, [&](int64_t task) {
      int slot = static_cast<int>(task % 4);
      auto* mine = static_cast<unsigned char*>(thread_scratch(slot, bytes));
      std::memset(mine, static_cast<int>(task), bytes);
      for (size_t k = 0; k < bytes; k += 97)
        check(mine[k] == static_cast<unsigned char>(task), "scratch of a thread is its own");
    });
    check(scratch_bytes() > 0, "scratch is counted");
  }
}

void callers_at_once() {
  set_thread_count(3);
  auto caller = [](uint64_t seed) {
    Random random{seed};
    for (int i = 0; i < 6000; i++) {
      if (random.below(60) == 0) rest();
      if (random.below(20) == 0) set_thread_count(static_cast<int>(2 + random.below(3)));
      one_call(random, random.below(8) == 0);
    }
  };
  std::thread a(caller, 4), b(caller, 5);
  a.join();
  b.join();
}

// A child has none of its parent's workers and starts its own.
void forks() {
  set_thread_count(3);
  for (int i = 0; i < 20; i++) {
    Random random{static_cast<uint64_t>(100 + i)};
    one_call(random, false);
    if (i % 2) rest();  // forks while workers sleep, and while they spin
    pid_t child = fork();
    if (child == 0) {
      alarm(20);
      for (int k = 0; k < 20; k++) one_call(random, false);
      _exit(wrong > 0 ? 1 : 0);
    }
    int status = 0;
    check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "calls in a forked child");
    if (wrong > 0) return;
    one_call(random, false);
  }
}

// ------------------------------------------------------------------ kernels

KernelTable table{};

std::vector<float> uniform(int64_t n, uint64_t seed, float low = -1, float high = 1) {
  std::vector<float> x(static_cast<size_t>(n));
  table.random_uniform(x.data(), n, seed, 0, low, high);
  return x;
}
std::vector<int32_t> ids(int64_t n, int64_t size) {
  Random random{static_cast<uint64_t>(n)};
  std::vector<int32_t> x(static_cast<size_t>(n));
  for (int32_t& id : x) id = static_cast<int32_t>(random.below(size));
  return x;
}
std::vector<float> zeros(int64_t n) { return std::vector<float>(static_cast<size_t>(n)); }

// Everything that a kernel wrote.
using Results = std::deque<std::vector<float>>;  // which leaves its elements where they are when it grows

struct Case {
  const char* name;
  std::function<bool(Results&)> run;  // false: not served
};

constexpr auto f32 = DType::float32;
constexpr int64_t many = 50021, rows = 301, cols = 131;  // odd, and worth several tasks

std::vector<float>& output(Results& r, int64_t n) { return r.emplace_back(zeros(n)); }

bool gemm(Results& r, int64_t batch, int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, bool finished = false,
          bool kept = false) {
  auto a = uniform(batch * m * k, 1), b = uniform(batch * k * n, 2), bias = uniform(n, 3);
  Gemm g{};
  g.batch = batch, g.m = m, g.n = n, g.k = k, g.type_a = g.type_b = g.type_c = f32, g.alpha = 1;
  g.a = a.data(), g.a_row = transpose_a ? 1 : k, g.a_col = transpose_a ? m : 1, g.a_batch = m * k;
  g.b = b.data(), g.b_row = transpose_b ? 1 : n, g.b_col = transpose_b ? k : 1, g.b_batch = k * n;
  g.c = output(r, batch * m * n).data(), g.c_row = n, g.c_batch = m * n, g.bias = bias.data();
  auto residual = uniform(batch * m * n, 4);
  if (finished) g.activation = UnaryOp::gelu, g.residual = residual.data();
  std::vector<float> packed;
  if (kept) {
    if (table.packing(g) == Packing::none) return false;
    packed = zeros(table.pack(g, nullptr));
    table.pack(g, packed.data());
    g.packed_b = packed.data();
  }
  return table.gemm(g) && r.back().front() != 0;
}

bool attention(Results& r, int64_t q_len, int64_t kv_len, int64_t heads, int64_t kv_heads, float dropout) {
  constexpr int64_t batch = 2, d = 32;
  auto q = uniform(batch * heads * q_len * d, 1), k = uniform(batch * kv_heads * kv_len * d, 2);
  auto v = uniform(batch * kv_heads * kv_len * d, 3), dout = uniform(batch * heads * q_len * d, 4);
  r.assign({zeros(static_cast<int64_t>(q.size())), zeros(batch * heads * q_len * 2), zeros(static_cast<int64_t>(q.size())),
            zeros(static_cast<int64_t>(k.size())), zeros(static_cast<int64_t>(v.size()))});
  HeadStrides of_q{heads * q_len * d, q_len * d, d}, of_kv{kv_heads * kv_len * d, kv_len * d, d};
  AttentionGrad grad{};
  Attention& o = grad.forward;
  o.batch = batch, o.heads = heads, o.kv_heads = kv_heads, o.q_len = q_len, o.kv_len = kv_len, o.head_dim = d;
  o.q = q.data(), o.k = k.data(), o.v = v.data(), o.out = r[0].data(), o.lse = r[1].data();
  o.q_stride = o.out_stride = grad.dout_stride = grad.dq_stride = of_q;
  o.k_stride = o.v_stride = grad.dk_stride = grad.dv_stride = of_kv;
  o.scale = 0.2f, o.causal = true, o.dropout = dropout, o.seed = 5;
  grad.dout = dout.data(), grad.dq = r[2].data(), grad.dk = r[3].data(), grad.dv = r[4].data();
  return table.attention(o) && table.attention_grad(grad);
}

Space space(int64_t n0, int64_t n1, std::initializer_list<std::pair<int64_t, int64_t>> strides) {
  Space s{};
  s.rank = 2, s.shape[0] = n0, s.shape[1] = n1;
  int operand = 0;
  for (auto [first, second] : strides) s.stride[operand][0] = first, s.stride[operand][1] = second, operand++;
  return s;
}

const Case cases[] = {
    {"unary",
     [](Results& r) { return table.unary(UnaryOp::gelu, f32, uniform(many, 1).data(), output(r, many).data(), many, 0, 0); }},
    {"binary, broadcast",
     [](Results& r) {
       auto a = uniform(rows * cols, 1), b = uniform(cols, 2);
       Space s = space(rows, cols, {{cols, 1}, {0, 1}});
       return table.binary(BinaryOp::mul, f32, s, a.data(), b.data(), output(r, rows * cols).data());
     }},
    {"copy, transposed",
     [](Results& r) {
       auto x = uniform(rows * cols, 1);
       return table.copy(f32, f32, space(rows, cols, {{1, rows}, {cols, 1}}), x.data(), output(r, rows * cols).data(), false);
     }},
    {"reductions",
     [](Results& r) {
       auto x = uniform(rows * cols * 3, 1);
       const float* p = x.data();
       std::vector<float>&all = output(r, 1), &first = output(r, cols * 3), &middle = output(r, rows * 3),
       &last = output(r, rows);
       Numbers arrays[] = {{f32, p, rows * cols}, {f32, p + rows * cols, rows * cols * 2}};
       double squares = 0;
       bool served = table.reduce(ReduceOp::sum, f32, p, all.data(), 1, rows * cols * 3, 1) &&
                     table.reduce(ReduceOp::mean, f32, p, first.data(), 1, rows, cols * 3) &&
                     table.reduce(ReduceOp::max, f32, p, middle.data(), rows, cols, 3) &&
                     table.reduce(ReduceOp::sum, f32, p, last.data(), rows, cols * 3, 1) &&
                     table.sum_squares(arrays, 2, &squares);
       output(r, 1)[0] = static_cast<float>(squares);
       return served;
     }},
    {"cumsum",
     [](Results& r) {
       auto x = uniform(rows * cols, 1);
       return table.cumsum(f32, x.data(), output(r, rows * cols).data(), 1, rows, cols, false);
     }},
    {"rows by ids",
     [](Results& r) {
       auto x = uniform(rows * cols, 1), source = uniform(many / cols * cols, 2);
       auto at = ids(many / cols, rows);
       auto n = static_cast<int64_t>(at.size());
       bool served = table.index_select(f32, x.data(), at.data(), output(r, n * cols).data(), 1, rows, cols, n);
       return served && table.index_add(f32, output(r, rows * cols).data(), at.data(), source.data(), 1, rows, cols, n);
     }},
    {"gather and scatter",
     [](Results& r) {
       auto x = uniform(rows * cols, 1);
       auto at = ids(rows * cols, cols);
       bool served = table.gather(f32, x.data(), at.data(), output(r, rows * cols).data(), rows, cols, 1, cols);
       return served && table.scatter_add(f32, output(r, rows * cols).data(), at.data(), x.data(), rows, cols, 1, cols);
     }},
    {"softmax",
     [](Results& r) {
       auto x = uniform(rows * cols, 1, -4, 4), dy = uniform(rows * cols, 2);
       r.assign({zeros(rows * cols), zeros(rows * cols)});
       return table.softmax(x.data(), r[0].data(), rows, cols, false) &&
              table.softmax_grad(r[0].data(), dy.data(), r[1].data(), rows, cols, false);
     }},
    {"cross-entropy",
     [](Results& r) {
       auto x = uniform(rows * cols, 1, -4, 4), dloss = uniform(rows, 2);
       auto targets = ids(rows, cols);
       r.assign({zeros(rows), zeros(rows * 2), zeros(rows * cols)});
       return table.cross_entropy(x.data(), targets.data(), r[0].data(), r[1].data(), rows, cols, -100, 0.1f) &&
              table.cross_entropy_grad(x.data(), targets.data(), r[1].data(), dloss.data(), r[2].data(), rows, cols, -100,
                                       0.1f);
     }},
    {"LayerNorm",
     [](Results& r) {
       auto x = uniform(rows * cols, 1), w = uniform(cols, 2), b = uniform(cols, 3), dy = uniform(rows * cols, 4);
       r.assign({zeros(rows * cols), zeros(rows), zeros(rows), zeros(rows * cols), zeros(cols), zeros(cols)});
       return table.layer_norm(x.data(), w.data(), b.data(), r[0].data(), r[1].data(), r[2].data(), rows, cols, 1e-5f) &&
              table.layer_norm_grad(x.data(), w.data(), r[1].data(), r[2].data(), dy.data(), r[3].data(), r[4].data(),
                                    r[5].data(), rows, cols, false);
     }},
    {"RMSNorm",
     [](Results& r) {
       auto x = uniform(rows * cols, 1), w = uniform(cols, 2), dy = uniform(rows * cols, 4);
       r.assign({zeros(rows * cols), zeros(rows), zeros(rows * cols), zeros(cols)});
       return table.rms_norm(x.data(), w.data(), r[0].data(), r[1].data(), rows, cols, 1e-5f) &&
              table.rms_norm_grad(x.data(), w.data(), r[1].data(), dy.data(), r[2].data(), r[3].data(), rows, cols, false);
     }},
    {"SwiGLU",
     [](Results& r) {
       auto gate = uniform(many, 1), up = uniform(many, 2), dy = uniform(many, 3);
       r.assign({zeros(many), zeros(many), zeros(many)});
       return table.swiglu(gate.data(), up.data(), r[0].data(), many) &&
              table.swiglu_grad(gate.data(), up.data(), dy.data(), r[1].data(), r[2].data(), many);
     }},
    {"rotary positions",
     [](Results& r) {
       constexpr int64_t batch = 3, heads = 4, len = 131, size = 38;
       auto x = uniform(batch * heads * len * size, 1), c = uniform(len * size / 2, 2), s = uniform(len * size / 2, 3);
       HeadStrides strides{len * heads * size, size, heads * size};
       Rotary p{batch, heads, len, size, x.data(), strides, nullptr, strides, c.data(), s.data(), true, false};
       p.y = output(r, batch * heads * len * size).data();
       return table.rotary(p);
     }},
    {"matrix product", [](Results& r) { return gemm(r, 1, 131, 259, 67, false, false); }},
    {"matrix product, long k", [](Results& r) { return gemm(r, 1, 67, 65, 1031, true, false); }},
    {"matrix product, tall", [](Results& r) { return gemm(r, 1, 331, 65, 601, true, false); }},
    {"matrix product, rows pages apart", [](Results& r) { return gemm(r, 1, 67, 65, 1024, false, true); }},
    {"matrix product, B transposed", [](Results& r) { return gemm(r, 3, 65, 131, 67, false, true); }},
    {"matrix product, B packed", [](Results& r) { return gemm(r, 1, 67, 259, 131, false, true, false, true); }},
    {"matrix product, finished", [](Results& r) { return gemm(r, 2, 131, 259, 67, false, true, true); }},
    {"vector and matrix, finished", [](Results& r) { return gemm(r, 1, 1, 1031, 257, false, false, true); }},
    {"vector and matrix", [](Results& r) { return gemm(r, 1, 1, 1031, 257, false, false); }},
    {"vector and matrix, transposed", [](Results& r) { return gemm(r, 1, 1, 1031, 257, false, true); }},
    {"attention", [](Results& r) { return attention(r, 97, 97, 4, 4, 0); }},
    {"attention, grouped, dropout", [](Results& r) { return attention(r, 67, 131, 4, 2, 0.1f); }},
    {"attention, one query", [](Results& r) { return attention(r, 1, 515, 4, 2, 0); }},
    {"random numbers",
     [](Results& r) {
       auto x = uniform(many, 1);
       return table.random_normal(output(r, many).data(), many, 7, 3, 0, 1) &&
              table.dropout(x.data(), output(r, many).data(), many, 0.3f, 7, 5);
     }},
    {"AdamW",
     [](Results& r) {
       auto grad = uniform(many, 4);
       r.assign({uniform(many, 1), uniform(many, 2), uniform(many, 3, 0, 1)});
       OptimizerTensor tensor{r[0].data(), grad.data(), {r[1].data(), r[2].data(), nullptr}, many, 1e-3, 0.01, 0.1, 0.01};
       return table.optimizer_step(&tensor, 1, OptimizerStep{OptimizerRule::adam, 0.9, 0.99, 1e-8, 1, true, false});
     }},
};

void register_kernels() {
  using namespace TSGPT_NS;
  for (auto fill : {register_elementwise, register_copy, register_reduce, register_index, register_softmax, register_norm,
                    register_swiglu, register_rotary, register_gemm, register_attention, register_random, register_optimizer}) {
    fill(table);
  }
}

// The bits of a case's results; none when it does not run.
Results results_of(const Case& c) {
  Results r;
  if (!c.run(r)) {
    check(false, c.name);
    r.clear();
  }
  return r;
}

bool same_bits(const Results& a, const Results& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
         });
}

void kernels_on_many_threads() {
  for (const Case& c : cases) {
    set_thread_count(1);
    Results alone = results_of(c);
    for (int threads : {2, 3, 5}) {
      set_thread_count(threads);
      check(same_bits(results_of(c), alone), c.name);
    }
  }
}

void kernels_of_callers_at_once() {
  set_thread_count(1);
  std::vector<Results> alone;
  for (const Case& c : cases) alone.push_back(results_of(c));
  set_thread_count(3);
  auto caller = [&](uint64_t seed) {
    Random random{seed};
    for (int i = 0; i < 120; i++) {
      auto at = static_cast<size_t>(random.below(static_cast<int64_t>(std::size(cases))));
      check(same_bits(results_of(cases[at]), alone[at]), cases[at].name);
    }
  };
  std::thread a(caller, 6), b(caller, 7);
  a.join();
  b.join();
}

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  register_kernels();
  const struct {
    const char* name;
    void (*run)();
  } tests[] = {
      {"calls of all sizes, nested ones among them", calls},
      {"changing numbers of threads", changing_thread_counts},
      {"scratch memory", scratch_memory},
      {"two callers at once", callers_at_once},
      {"forked processes", forks},
      {"kernels give the same bits on one thread and on many", kernels_on_many_threads},
      {"kernels of two callers at once", kernels_of_callers_at_once},
  };
  int failed = 0;
  for (const auto& test : tests) {
    wrong = reports = 0;
    auto start = std::chrono::steady_clock::now();
    test.run();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    bool good = wrong == 0 && reports == 0;
    std::printf("%s: %s (%d wrong, %d reports of the sanitizer, %.1f s)\n", test.name, good ? "passed" : "FAILED", wrong.load(),
                reports.load(), seconds);
    failed += !good;
  }
  std::printf("%d passed, %d failed\n", static_cast<int>(std::size(tests)) - failed, failed);
  return failed > 0;
}
