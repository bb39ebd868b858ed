// Files as memory; see mapping.cpp.
#pragma once

#include <node_api.h>

#include <atomic>
#include <cstdint>

namespace tsgpt {

void define_mapping(napi_env env, napi_value exports);

// Whether any mapped file has lost pages so far. Almost always false, and cheap to ask.
extern std::atomic<bool> any_file_lost;

// Throws the error of the first lost file in whose memory one of the typed arrays lies; answers whether it did.
bool throw_if_lost(napi_env env, const napi_value* arrays, int64_t count);

}  // namespace tsgpt
