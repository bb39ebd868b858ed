// Memory services for JavaScript; see memory.cpp.
#pragma once

#include <node_api.h>

namespace tsgpt {

void define_memory(napi_env env, napi_value exports);

}  // namespace tsgpt
