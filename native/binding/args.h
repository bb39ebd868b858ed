// Arguments of a native call. Typed arrays come as JavaScript arguments; every number comes through one Float64Array
// that both sides share (`params`), because a number passed through Node-API costs more than a store. The order is:
// the call's scalars, then for each array the offset of its first element. `array` checks that all that sizes and strides
// let the kernel touch lies inside the array, so a wrong one of them can never reach foreign memory. The numbers inside
// the arrays (ids, class targets) are the ops' to check.
//
// A kernel that takes any number of tensors gets a Float64Array in place of `params` as its first argument.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <vector>

#include "../kernels.h"
#include "mapping.h"

namespace tsgpt {

constexpr int max_params = 192;
constexpr int max_arrays = 14;

inline int64_t dtype_bytes(DType type) {
  switch (type) {
    case DType::float64: return 8;
    case DType::float32:
    case DType::int32: return 4;
    case DType::float16:
    case DType::bfloat16: return 2;
    default: return 1;
  }
}

class Args {
 public:
  Args(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = max_arrays;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, few_, nullptr, &data);
    count_ = static_cast<int64_t>(count);
    params_ = static_cast<const double*>(data);
  }
  Args(const Args&) = delete;

  // Of a call on any number of tensors.
  struct List {};
  Args(napi_env env, napi_callback_info info, List) : env_(env) {
    size_t count = 0, params = 0;
    napi_get_cb_info(env, info, &count, nullptr, nullptr, nullptr);
    many_.resize(count);
    napi_get_cb_info(env, info, &count, many_.data(), nullptr, nullptr);
    values_ = many_.data();
    count_ = static_cast<int64_t>(count);
    napi_typedarray_type type;
    void* data = nullptr;
    if (count == 0 || napi_get_typedarray_info(env, many_[0], &type, &params, &data, nullptr, nullptr) != napi_ok ||
        type != napi_float64_array) {
      fail("the numbers must be a Float64Array");
    }
    next_array_ = 1;
    params_ = static_cast<const double*>(data);
    param_count_ = static_cast<int64_t>(params);
  }

  double number() {
    if (next_param_ >= param_count_) return fail("missing number"), 0;
    return params_[next_param_++];
  }
  float real() { return static_cast<float>(number()); }
  int64_t integer() { return static_cast<int64_t>(number()); }
  bool flag() { return number() != 0; }
  template <class E> E as() { return static_cast<E>(static_cast<int32_t>(number())); }
  // A 53-bit seed or counter.
  uint64_t counter() { return static_cast<uint64_t>(number()); }

  // The shape and the strides of `operands` operands.
  Space space(int operands) {
    Space s{};
    s.rank = static_cast<int32_t>(number());
    if (s.rank < 0 || s.rank > max_rank) {
      fail("number of dimensions out of range");
      s.rank = 0;
    }
    for (int d = 0; d < s.rank; d++) s.shape[d] = integer();
    for (int o = 0; o < operands; o++) {
      for (int d = 0; d < s.rank; d++) s.stride[o][d] = integer();
    }
    return s;
  }

  // Elements between the first and the last one touched, plus one. Strides that go backwards are refused: -1 fits nowhere.
  static int64_t extent(const Space& s, int operand) {
    int64_t last = 0;
    bool backwards = false;
    for (int d = 0; d < s.rank; d++) {
      if (s.shape[d] == 0) return 0;
      backwards |= s.stride[operand][d] < 0;
      last += (s.shape[d] - 1) * s.stride[operand][d];
    }
    return backwards ? -1 : last + 1;
  }
  static int64_t elements(const Space& s) {
    int64_t n = 1;
    for (int d = 0; d < s.rank; d++) n *= s.shape[d];
    return n;
  }

  // The next array: `extent` elements of `type` from its offset on. Null when JavaScript passed null, where it may.
  void* array(DType type, int64_t extent, bool optional = false) {
    int64_t offset = integer();
    if (next_array_ >= count_) return fail("missing array"), nullptr;
    napi_value value = values_[next_array_++];
    napi_typedarray_type array_type;
    size_t length = 0;
    void* data = nullptr;
    if (napi_get_typedarray_info(env_, value, &array_type, &length, &data, nullptr, nullptr) != napi_ok) {
      napi_valuetype kind;
      if (optional && napi_typeof(env_, value, &kind) == napi_ok && kind == napi_null) return nullptr;
      return fail("operand is not a typed array"), nullptr;
    }
    int64_t bytes = dtype_bytes(type);
    if (element_bytes(array_type) != bytes) return fail("operand has another element size"), nullptr;
    if (extent == 0) return data;  // an empty view may lie anywhere: nothing of it is touched
    if (offset < 0 || extent < 0 || offset + extent > static_cast<int64_t>(length)) {
      return fail("operand reaches past its memory"), nullptr;
    }
    return static_cast<char*>(data) + offset * bytes;
  }
  float* floats(int64_t extent) { return static_cast<float*>(array(DType::float32, extent)); }
  float* floats_or_null(int64_t extent) { return static_cast<float*>(array(DType::float32, extent, true)); }
  int32_t* ints(int64_t extent) { return static_cast<int32_t*>(array(DType::int32, extent)); }
  int32_t* ints_or_null(int64_t extent) { return static_cast<int32_t*>(array(DType::int32, extent, true)); }

  bool ok() const { return message_ == nullptr; }

  // The JavaScript value of a kernel's answer; throws when an argument was wrong, or lies in a file that lost pages.
  napi_value result(bool served) {
    napi_value value = nullptr;
    if (thrown()) return nullptr;
    napi_get_boolean(env_, served, &value);
    return value;
  }
  napi_value result(double number) {
    napi_value value = nullptr;
    if (thrown()) return nullptr;
    napi_create_double(env_, number, &value);
    return value;
  }

 private:
  bool thrown() {
    if (ok()) return throw_if_lost(env_, values_, next_array_);
    napi_throw_error(env_, "ERR_NATIVE_ARGUMENT", message_);
    return true;
  }
  void fail(const char* message) {
    if (!message_) message_ = message;
  }
  static int64_t element_bytes(napi_typedarray_type type) {
    switch (type) {
      case napi_float64_array: return 8;
      case napi_float32_array:
      case napi_int32_array: return 4;
      case napi_uint16_array: return 2;
      case napi_uint8_array: return 1;
      default: return 0;
    }
  }

  napi_env env_;
  napi_value few_[max_arrays];
  std::vector<napi_value> many_;
  const napi_value* values_ = few_;
  int64_t count_ = 0;
  int64_t next_array_ = 0;
  const double* params_ = nullptr;
  int64_t param_count_ = max_params;
  int64_t next_param_ = 0;
  const char* message_ = nullptr;
};

}  // namespace tsgpt
