// The addon's entry: chooses the instruction set, opens the backends that were asked for, and exports the kernels,
// memory services and settings. What belongs to one JavaScript environment (a worker has its own) is the parameter
// block and the list of watched objects (memory.cpp); the kernel table and the thread pool are the process's.
#include <napi.h>

#include <cstdlib>
#include <mutex>
#include <string>

#include "../kernels.h"
#include "../runtime/dispatch.h"
#include "../runtime/openblas.h"
#include "../runtime/parallel.h"
#include "args.h"
#include "kernels.h"
#include "mapping.h"
#include "memory.h"
#include "mpi.h"
#include "tokenizers.h"

namespace {

// Fills the kernel table once per process. Returns an error text, or null.
const char* start() {
  static std::once_flag once;
  static std::string error;
  std::call_once(once, [] {
    if (const char* way = std::getenv("TSGPT_BF16");
        way && *way && std::string(way) != "dot" && std::string(way) != "convert") {
      error = "TSGPT_BF16 is '" + std::string(way) + "'; use 'dot' or 'convert', or leave it to the processor's make";
      return;
    }
    if (const char* message = tsgpt::select_instruction_set()) {
      error = message;
      return;
    }
    if (const char* threads = std::getenv("TSGPT_THREADS"); threads && *threads) {
      char* end = nullptr;
      if (std::strtol(threads, &end, 10) < 1 || *end) {
        error = "TSGPT_THREADS is '" + std::string(threads) + "'; use a whole number from 1 on";
        return;
      }
    }
    const char* gemm = std::getenv("TSGPT_GEMM");
    if (!gemm || !*gemm || std::string(gemm) == "embedded") return;
    if (std::string(gemm) != "openblas") {
      error = "TSGPT_GEMM is '" + std::string(gemm) + "'; use 'embedded' (the default) or 'openblas'";
      return;
    }
    if (const char* message = tsgpt::openblas_open(tsgpt::kernels)) error = message;
  });
  return error.empty() ? nullptr : error.c_str();
}

Napi::Value info(const Napi::CallbackInfo& call) {
  auto result = Napi::Object::New(call.Env());
  result["isa"] = tsgpt::instruction_set();
  result["availableIsas"] = tsgpt::available_instruction_sets();
  result["cpu"] = tsgpt::cpu_name();
  result["threads"] = tsgpt::thread_count();
  result["bf16Dot"] = tsgpt::fast_bf16_dot();
  result["gemm"] = tsgpt::openblas_core() ? "openblas" : "embedded";
  result["openblasCore"] = tsgpt::openblas_core() ? tsgpt::openblas_core() : "";
  result["openblasConfig"] = tsgpt::openblas_config() ? tsgpt::openblas_config() : "";
  return result;
}

void set_threads(const Napi::CallbackInfo& call) { tsgpt::set_thread_count(call[0].As<Napi::Number>().Int32Value()); }

Napi::Object init(Napi::Env env, Napi::Object exports) {
  if (const char* message = start()) {
    Napi::Error::New(env, message).ThrowAsJavaScriptException();
    return exports;
  }
  auto params = Napi::Float64Array::New(env, tsgpt::max_params);
  exports["params"] = params;
  // Kernels read the block through this pointer, so it must live as long as the environment.
  env.SetInstanceData(new Napi::Reference<Napi::Float64Array>(Napi::Persistent(params)));
  tsgpt::define_kernels(env, exports, params.Data());
  tsgpt::define_memory(env, exports);
  tsgpt::define_mapping(env, exports);
  tsgpt::define_mpi(env, exports);
  tsgpt::define_tokenizers(env, exports);
  exports["info"] = Napi::Function::New(env, info, "info");
  exports["setThreads"] = Napi::Function::New(env, set_threads, "setThreads");
  return exports;
}

}  // namespace

NODE_API_MODULE(tsgpt, init)
