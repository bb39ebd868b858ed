// Arguments and results of the calls that are not kernels: strings, typed arrays, and objects that live longer than a
// call. Such an object hangs on a JavaScript object, which is tagged, so that a foreign one in its place is an error; the
// garbage collector frees it. What a call throws becomes a JavaScript error.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tsgpt {

// Text of a JavaScript string in UTF-8, with room to read behind its end; halves of surrogate pairs become U+FFFD.
struct Text {
  std::unique_ptr<char[]> data;
  size_t size = 0;
  static constexpr size_t padding = 16;
  std::string_view view() const { return {data.get(), size}; }
};

[[noreturn]] inline void wrong(const char* message) { throw std::invalid_argument(message); }

class Call {
 public:
  Call(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = most;
    napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
  }

  Text text(int i) const {
    Text text;
    if (napi_get_value_string_utf8(env_, values_[i], nullptr, 0, &text.size) != napi_ok) wrong("argument is not a string");
    text.data.reset(new char[text.size + 1 + Text::padding]);
    napi_get_value_string_utf8(env_, values_[i], text.data.get(), text.size + 1, &text.size);
    std::memset(text.data.get() + text.size, 0, 1 + Text::padding);
    return text;
  }

  const int32_t* ints(int i, size_t& count) const {
    return static_cast<const int32_t*>(array(i, napi_int32_array, count, "argument is not an Int32Array"));
  }
  // Exactly `count` numbers.
  const double* numbers(int i, size_t count) const {
    size_t length = 0;
    void* data = array(i, napi_float64_array, length, "argument is not a Float64Array");
    if (length != count) wrong("argument has another number of elements");
    return static_cast<const double*>(data);
  }

  std::string string(int i) const { return std::string(text(i).view()); }

  int32_t integer(int i) const {
    int32_t value = 0;
    if (napi_get_value_int32(env_, values_[i], &value) != napi_ok) wrong("argument is not a number");
    return value;
  }

  bool flag(int i) const {
    bool value = false;
    if (napi_get_value_bool(env_, values_[i], &value) != napi_ok) wrong("argument is not a boolean");
    return value;
  }

  template <class T> T& object(int i, const napi_type_tag& tag) const {
    bool matches = false;
    void* data = nullptr;
    if (napi_check_object_type_tag(env_, values_[i], &tag, &matches) != napi_ok || !matches ||
        napi_unwrap(env_, values_[i], &data) != napi_ok) {
      wrong("argument is not an object of this kind");
    }
    return *static_cast<T*>(data);
  }

 private:
  void* array(int i, napi_typedarray_type wanted, size_t& count, const char* complaint) const {
    napi_typedarray_type type;
    void* data = nullptr;
    if (napi_get_typedarray_info(env_, values_[i], &type, &count, &data, nullptr, nullptr) != napi_ok || type != wanted) {
      wrong(complaint);
    }
    return data;
  }

  static constexpr size_t most = 8;
  napi_env env_;
  napi_value values_[most];
};

template <class T> napi_value wrap(napi_env env, std::unique_ptr<T> owned, const napi_type_tag& tag) {
  napi_value object;
  napi_create_object(env, &object);
  auto free = [](napi_env, void* data, void*) { delete static_cast<T*>(data); };
  if (napi_type_tag_object(env, object, &tag) == napi_ok &&
      napi_wrap(env, object, owned.get(), free, nullptr, nullptr) == napi_ok) {
    owned.release();
  }
  return object;
}

// The entry of a function: what it throws becomes a JavaScript error.
template <napi_value (*body)(napi_env, const Call&)> napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return body(env, Call(env, info));
  } catch (const std::invalid_argument& error) {
    napi_throw_error(env, "ERR_NATIVE_ARGUMENT", error.what());
  } catch (const std::bad_alloc&) {
    napi_throw_error(env, "ERR_NATIVE_MEMORY", "out of memory");
  }
  return nullptr;
}

inline int32_t* new_ints(napi_env env, size_t count, napi_value* array) {
  napi_value buffer;
  void* data = nullptr;
  if (napi_create_arraybuffer(env, count * sizeof(int32_t), &data, &buffer) != napi_ok) throw std::bad_alloc();
  napi_create_typedarray(env, napi_int32_array, count, buffer, 0, array);
  return static_cast<int32_t*>(data);
}

// Exports a function.
inline void define(napi_env env, napi_value exports, const char* name, napi_callback call) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, call, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace tsgpt
