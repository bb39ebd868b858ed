// Sums over processes for JavaScript; see mpi.cpp.
#pragma once

#include <node_api.h>

namespace tsgpt {

void define_mpi(napi_env env, napi_value exports);

}  // namespace tsgpt
