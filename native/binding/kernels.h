// The kernels as properties of the addon's exports; see kernels.cpp.
#pragma once

#include <node_api.h>

namespace tsgpt {

// `params` is the memory behind the Float64Array through which every call gets its numbers.
void define_kernels(napi_env env, napi_value exports, double* params);

}  // namespace tsgpt
