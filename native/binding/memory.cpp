// What JavaScript cannot do with memory by itself: align and advise a fresh ArrayBuffer, and give one back at once instead
// of at the next garbage collection.
#include "memory.h"

#include <cstdint>
#include <vector>

#include "../runtime/parallel.h"

#include <sys/mman.h>

namespace tsgpt {
namespace {

constexpr uintptr_t alignment = 64;        // a cache line, and the widest vector
constexpr uintptr_t huge_page = 2u << 20;  // Linux's transparent huge page

napi_value number(napi_env env, double x) {
  napi_value value;
  napi_create_double(env, x, &value);
  return value;
}

// prepare(buffer): the offset of the first aligned byte. Asks for huge pages where the buffer holds some: large
// activations then cost a page fault per 2 MB instead of per 4 KB, and the kernels miss the TLB less.
napi_value prepare(napi_env env, napi_callback_info info) {
  size_t count = 1, length = 0;
  napi_value buffer;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, &buffer, nullptr, nullptr);
  if (napi_get_arraybuffer_info(env, buffer, &data, &length) != napi_ok) return number(env, 0);
  auto address = reinterpret_cast<uintptr_t>(data);
#if defined(__linux__)
  uintptr_t first = (address + huge_page - 1) & ~(huge_page - 1), last = (address + length) & ~(huge_page - 1);
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
  return number(env, static_cast<double>((alignment - address % alignment) % alignment));
}

// release(buffer): detaches it, so that its memory goes back to the system now.
napi_value release(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value buffer;
  napi_get_cb_info(env, info, &count, &buffer, nullptr, nullptr);
  napi_detach_arraybuffer(env, buffer);
  return nullptr;
}

napi_value scratch(napi_env env, napi_callback_info) { return number(env, static_cast<double>(scratch_bytes())); }

// Objects watched without being kept alive. Node's own finalizers run only when the event loop turns, so a synchronous
// training loop would never see them; asking the references does not wait for anything. The engine is told how much
// memory hangs on each object, so that it collects garbage as often as that memory asks for.
struct Watch {
  std::vector<napi_ref> references;  // null: a free id
  std::vector<int64_t> bytes;
  std::vector<uint32_t> free_ids;
};

Watch* watch_of(napi_env env, napi_callback_info info, size_t count, napi_value* arguments) {
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, arguments, nullptr, &data);
  return static_cast<Watch*>(data);
}

// watch(object, bytes): an id for `unwatch` and `sweepWatched`.
napi_value watch(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Watch* w = watch_of(env, info, 2, arguments);
  napi_ref reference = nullptr;
  int64_t bytes = 0, total;
  if (napi_create_reference(env, arguments[0], 0, &reference) != napi_ok) {
    napi_throw_error(env, "ERR_NATIVE_ARGUMENT", "watch: not an object");
    return nullptr;
  }
  napi_get_value_int64(env, arguments[1], &bytes);
  napi_adjust_external_memory(env, bytes, &total);
  size_t id = w->references.size();
  if (w->free_ids.empty()) {
    w->references.push_back(reference);
    w->bytes.push_back(bytes);
  } else {
    id = w->free_ids.back();
    w->free_ids.pop_back();
    w->references[id] = reference;
    w->bytes[id] = bytes;
  }
  return number(env, static_cast<double>(id));
}

void forget(napi_env env, Watch* w, uint32_t id) {
  napi_delete_reference(env, w->references[id]);
  int64_t total;
  napi_adjust_external_memory(env, -w->bytes[id], &total);
  w->references[id] = nullptr;
  w->free_ids.push_back(id);
}

napi_value unwatch(napi_env env, napi_callback_info info) {
  napi_value value;
  Watch* w = watch_of(env, info, 1, &value);
  uint32_t id = 0;
  if (napi_get_value_uint32(env, value, &id) == napi_ok && id < w->references.size() && w->references[id]) forget(env, w, id);
  return nullptr;
}

// sweepWatched(): the ids whose objects are gone; they are free from now on.
napi_value sweep_watched(napi_env env, napi_callback_info info) {
  Watch* w = watch_of(env, info, 0, nullptr);
  napi_value dead;
  napi_create_array(env, &dead);
  uint32_t found = 0;
  for (uint32_t id = 0; id < w->references.size(); id++) {
    if (!w->references[id]) continue;
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    napi_value object = nullptr;
    napi_get_reference_value(env, w->references[id], &object);
    napi_close_handle_scope(env, scope);
    if (object) continue;
    forget(env, w, id);
    napi_set_element(env, dead, found++, number(env, id));
  }
  return dead;
}

}  // namespace

void define_memory(napi_env env, napi_value exports) {
  const struct {
    const char* name;
    napi_callback call;
  } entries[] = {
      {"prepare", prepare},      {"release", release}, {"watch", watch}, {"unwatch", unwatch}, {"sweepWatched", sweep_watched},
      {"scratchBytes", scratch},
  };
  auto* watched = new Watch;
  napi_add_env_cleanup_hook(
      env, [](void* data) { delete static_cast<Watch*>(data); }, watched);
  for (const auto& entry : entries) {
    napi_value function;
    napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.call, watched, &function);
    napi_set_named_property(env, exports, entry.name, function);
  }
}

}  // namespace tsgpt
