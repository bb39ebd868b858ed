#pragma once

#include <node_api.h>

namespace tsgpt {

// Adds the functions on tokenizers to the module's exports.
void define_tokenizers(napi_env env, napi_value exports);

}  // namespace tsgpt
