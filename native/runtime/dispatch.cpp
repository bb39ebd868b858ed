// Instruction set selection: see dispatch.h. Each set is a namespace that holds the same register_* functions,
// compiled from the same sources with the set's flags (CMakeLists.txt).
#include "dispatch.h"

#include <cstdlib>
#include <cstring>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#define TSGPT_DECLARE_SET(set)             \
  namespace tsgpt::set {                   \
  void register_elementwise(KernelTable&); \
  void register_copy(KernelTable&);        \
  void register_dequantize(KernelTable&);  \
  void register_reduce(KernelTable&);      \
  void register_index(KernelTable&);       \
  void register_softmax(KernelTable&);     \
  void register_norm(KernelTable&);        \
  void register_swiglu(KernelTable&);      \
  void register_rotary(KernelTable&);      \
  void register_gemm(KernelTable&);        \
  void register_attention(KernelTable&);   \
  void register_random(KernelTable&);      \
  void register_optimizer(KernelTable&);   \
  static void fill_table(KernelTable& t) { \
    register_elementwise(t);               \
    register_copy(t);                      \
    register_dequantize(t);                \
    register_reduce(t);                    \
    register_index(t);                     \
    register_softmax(t);                   \
    register_norm(t);                      \
    register_swiglu(t);                    \
    register_rotary(t);                    \
    register_gemm(t);                      \
    register_attention(t);                 \
    register_random(t);                    \
    register_optimizer(t);                 \
  }                                        \
  }

#if defined(__x86_64__)
TSGPT_DECLARE_SET(avx512)
TSGPT_DECLARE_SET(avx2)
#endif
TSGPT_DECLARE_SET(base)

namespace tsgpt {

KernelTable kernels{};

namespace {

struct InstructionSet {
  const char* name;
  bool (*supported)();
  void (*fill)(KernelTable&);
};

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

// Whether there is AMX with bfloat16. Asks Linux, which keeps its registers only for processes that do, for all threads.
bool enable_amx() {
#if defined(__linux__)
  static const bool granted = [] {
    constexpr unsigned tiles_and_bf16 = 1u << 24 | 1u << 22, dot_bf16 = 1u << 5;
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & tiles_and_bf16) != tiles_and_bf16) return false;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & dot_bf16)) return false;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  }();
  return granted;
#else
  return false;
#endif
}
#endif

// Best first.
const InstructionSet sets[] = {
#if defined(__x86_64__)
    {"amx", enable_amx, avx512::fill_table},  // AVX-512 with matrix products in tiles (cpu/gemm_amx.h)
    {"avx512", has_avx512, avx512::fill_table},
    {"avx2", has_avx2, avx2::fill_table},
#endif
    {"base", always, base::fill_table},
};

const char* chosen = "";

// The value of an environment variable, null where it is empty.
const char* setting(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

}  // namespace

const char* select_instruction_set() {
  const char* wanted = setting("TSGPT_ISA");
  bool wants_vectors = setting("TSGPT_BF16") != nullptr;  // it chooses between two ways of AVX-512
  for (const InstructionSet& set : sets) {
    if (wanted ? std::strcmp(wanted, set.name) != 0 : !set.supported()) continue;
    if (!set.supported()) break;
    if (wants_vectors && std::strcmp(set.name, "amx") == 0) {
      if (wanted) return "TSGPT_BF16 chooses between ways of avx512: leave it out, or set TSGPT_ISA to avx512";
      continue;
    }
    set.fill(kernels);
    chosen = set.name;
    return nullptr;
  }
  static std::string message;
  message = std::string("TSGPT_ISA is '") + wanted + "', but this machine and build have: " + available_instruction_sets();
  return message.c_str();
}

const char* instruction_set() { return chosen; }

const char* available_instruction_sets() {
  static const std::string names = [] {
    std::string all;
    for (const InstructionSet& set : sets) {
      if (!set.supported()) continue;
      if (!all.empty()) all += ',';
      all += set.name;
    }
    return all;
  }();
  return names.c_str();
}

bool has_amx() {
  static const bool in_use = std::strcmp(chosen, "amx") == 0;
  return in_use;
}

bool fast_bf16_dot() {
#if defined(__x86_64__)
  static const bool fast = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (std::strcmp(chosen, "avx512") != 0) return false;  // the kernels that have it
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & (1u << 5))) return false;
    if (const char* wanted = setting("TSGPT_BF16")) return std::strcmp(wanted, "dot") == 0;
    // AMD's run it at the rate of fma, on twice as many numbers (measured on a Zen 5: docs/benchmarking.md). Intel's processors
    // run it at a quarter of that: 85 against 172 GFLOP/s of float32 on one core of an Emerald Rapids.
    __get_cpuid(0, &a, &b, &c, &d);
    return b == signature_AMD_ebx;
  }();
  return fast;
#else
  return false;
#endif
}

int64_t level_1_ways() {
#if defined(__x86_64__)
  static const int64_t ways = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __get_cpuid(0, &a, &b, &c, &d);
    unsigned caches = b == signature_AMD_ebx ? 0x8000001d : 4;
    // The first that it lists is that of level 1 for data.
    if (!__get_cpuid_count(caches, 0, &a, &b, &c, &d) || (a & 31) != 1) return 8u;
    return (b >> 22) + 1;
  }();
  return ways;
#else
  return 8;
#endif
}

const char* cpu_name() {
#if defined(__x86_64__)
  static const std::string name = [] {
    unsigned words[12] = {};
    for (unsigned i = 0; i < 3; i++) {
      if (!__get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3])) break;
    }
    std::string text(reinterpret_cast<const char*>(words), sizeof words);
    text.resize(std::strlen(text.c_str()));
    return text;
  }();
  return name.c_str();
#else
  return "unknown";
#endif
}

}  // namespace tsgpt
