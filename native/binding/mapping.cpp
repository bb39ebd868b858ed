// Files as memory. A file is mapped privately: reading a page brings it in, writing to one changes the copy in memory,
// never the file.
//
// The danger of it: when somebody shortens the file (or its disk fails), touching what is gone is no error that a read
// would return but SIGBUS, the end of the process. So the signal is caught: if the address lies in a mapped file, zeros
// are put in the place of what is gone and the file is marked as lost; the kernel goes on, and every kernel call on the
// memory of a lost file throws a JavaScript error when it ends (Args::result). Other SIGBUS go where they went before.
#include "mapping.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tsgpt {

std::atomic<bool> any_file_lost{false};

namespace {

// A mapped file. Fixed places, because a signal handler may not wait for a lock or for memory.
struct Mapping {
  std::atomic<uintptr_t> begin{0}, end{0};  // empty: a free place
  std::atomic<bool> lost{false};
  std::string path;
};
constexpr int most_mappings = 4096;
Mapping mappings[most_mappings];
std::mutex places;

Mapping* mapping_at(uintptr_t address) {
  for (Mapping& m : mappings) {
    if (address >= m.begin.load() && address < m.end.load()) return &m;
  }
  return nullptr;
}

struct sigaction earlier_action;

void on_bus_error(int signal, siginfo_t* info, void* context) {
  auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  Mapping* m = info->si_code > 0 ? mapping_at(address) : nullptr;  // one that a process sends has no address
  if (m) {
    uintptr_t page = address & ~static_cast<uintptr_t>(sysconf(_SC_PAGESIZE) - 1);
    // To the end, not one page: each would be a mapping of its own, and the system allows only so many.
    void* zeros = mmap(reinterpret_cast<void*>(page), m->end.load() - page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (zeros != MAP_FAILED) {
      m->lost = true;
      any_file_lost = true;
      return;
    }
  }
  if (earlier_action.sa_flags & SA_SIGINFO) {
    earlier_action.sa_sigaction(signal, info, context);
  } else if (earlier_action.sa_handler != SIG_DFL && earlier_action.sa_handler != SIG_IGN) {
    earlier_action.sa_handler(signal);
  } else {
    std::signal(signal, SIG_DFL);
    std::raise(signal);  // ends the process when this handler returns
  }
}

void catch_bus_errors() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &earlier_action);
  });
}

Mapping* take_place(void* data, size_t size, const std::string& path) {
  std::lock_guard<std::mutex> lock(places);
  for (Mapping& m : mappings) {
    if (m.end.load() != 0) continue;
    m.path = path;
    m.lost = false;
    m.begin = reinterpret_cast<uintptr_t>(data);
    m.end = m.begin + size;
    return &m;
  }
  return nullptr;
}

void unmap(napi_env, void* data, void* hint) {
  auto* m = static_cast<Mapping*>(hint);
  size_t size = m->end - m->begin;
  std::lock_guard<std::mutex> lock(places);
  m->end = 0;  // before the memory goes: from then on its addresses may be somebody else's
  m->begin = 0;
  munmap(data, size);
}

napi_value throw_system_error(napi_env env, int code) {
  napi_throw_error(env, "ERR_SYSTEM", std::strerror(code));
  return nullptr;
}

// mapFile(path, offset, bytes): that part of a file (all of it, without the two) as an ArrayBuffer that the system fills as
// it is read. `offset` is a multiple of the page size; the part ends with the file. Throws the system's reason.
napi_value map_file(napi_env env, napi_callback_info info) {
  size_t count = 3, length = 0;
  napi_value args[3];
  napi_get_cb_info(env, info, &count, args, nullptr, nullptr);
  napi_get_value_string_utf8(env, args[0], nullptr, 0, &length);
  std::string path(length, '\0');
  napi_get_value_string_utf8(env, args[0], path.data(), length + 1, &length);
  double offset = 0, most = 0x1p62;
  napi_get_value_double(env, args[1], &offset);  // leaves the values where the arguments are missing
  napi_get_value_double(env, args[2], &most);
  napi_value buffer = nullptr;
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe would block until somebody writes to it
  if (file < 0) return throw_system_error(env, errno);
  struct stat status;
  if (fstat(file, &status) != 0) {
    int code = errno;
    close(file);
    return throw_system_error(env, code);
  }
  double left = static_cast<double>(status.st_size) - offset;
  auto size = static_cast<size_t>(left < 0 ? 0 : left < most ? left : most);
  if (!S_ISREG(status.st_mode) || size == 0) {
    close(file);
    if (!S_ISREG(status.st_mode)) return throw_system_error(env, S_ISDIR(status.st_mode) ? EISDIR : EINVAL);
    void* none;
    napi_create_arraybuffer(env, 0, &none, &buffer);
    return buffer;
  }
  catch_bus_errors();
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, static_cast<off_t>(offset));
  int code = errno;
  close(file);
  if (data == MAP_FAILED) return throw_system_error(env, code);
  Mapping* m = take_place(data, size, path);
  if (!m) {
    munmap(data, size);
    return throw_system_error(env, EMFILE);
  }
  if (napi_create_external_arraybuffer(env, data, size, unmap, m, &buffer) != napi_ok) {
    unmap(env, data, m);
    return throw_system_error(env, ENOMEM);
  }
  return buffer;
}

// adviseFile(buffer, advice): 0: it will be read here and there, so nothing is read ahead; 1: its pages are not needed for
// now. They leave this process's memory, with what was written to them, and are read again when they are touched.
napi_value advise_file(napi_env env, napi_callback_info info) {
  size_t count = 2, size = 0;
  napi_value args[2];
  void* data = nullptr;
  int32_t advice = 0;
  napi_get_cb_info(env, info, &count, args, nullptr, nullptr);
  napi_get_value_int32(env, args[1], &advice);
  if (napi_get_arraybuffer_info(env, args[0], &data, &size) != napi_ok || size == 0) return nullptr;
  Mapping* m = mapping_at(reinterpret_cast<uintptr_t>(data));
  // Nothing but a whole file that is still there: anonymous pages would come back as zeros.
  if (m && !m->lost && m->begin == reinterpret_cast<uintptr_t>(data))
    madvise(data, size, advice == 0 ? MADV_RANDOM : MADV_DONTNEED);
  return nullptr;
}

// Each JavaScript environment has a thread of its own.
thread_local napi_ref make_lost_error = nullptr;

// onLostFile(makeError): what to throw, a function of the file's path.
napi_value on_lost_file(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value function;
  napi_get_cb_info(env, info, &count, &function, nullptr, nullptr);
  napi_create_reference(env, function, 1, &make_lost_error);
  return nullptr;
}

// checkFile(array): throws when the array lies in the memory of a lost file.
napi_value check_file(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value array;
  napi_get_cb_info(env, info, &count, &array, nullptr, nullptr);
  throw_if_lost(env, &array, 1);
  return nullptr;
}

}  // namespace

bool throw_if_lost(napi_env env, const napi_value* arrays, int64_t count) {
  if (!any_file_lost.load(std::memory_order_relaxed)) return false;
  for (int64_t i = 0; i < count; i++) {
    void* data = nullptr;
    if (napi_get_typedarray_info(env, arrays[i], nullptr, nullptr, &data, nullptr, nullptr) != napi_ok) continue;
    Mapping* m = mapping_at(reinterpret_cast<uintptr_t>(data));
    if (!m || !m->lost) continue;
    napi_value function, undefined, path, error;
    napi_get_reference_value(env, make_lost_error, &function);
    napi_get_undefined(env, &undefined);
    napi_create_string_utf8(env, m->path.c_str(), m->path.size(), &path);
    if (napi_call_function(env, undefined, function, 1, &path, &error) == napi_ok) napi_throw(env, error);
    return true;
  }
  return false;
}

void define_mapping(napi_env env, napi_value exports) {
  const struct {
    const char* name;
    napi_callback call;
  } entries[] = {{"mapFile", map_file}, {"adviseFile", advise_file}, {"onLostFile", on_lost_file}, {"checkFile", check_file}};
  for (const auto& entry : entries) {
    napi_value function;
    napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.call, nullptr, &function);
    napi_set_named_property(env, exports, entry.name, function);
  }
}

}  // namespace tsgpt
