// Sums over the processes of an mpirun (native/runtime/mpi.h) as promises: the arrays of a job are held until it is done,
// and the event loop goes on meanwhile, so that a process that has lost the others still hears signals.
#include "mpi.h"

#include <memory>
#include <stdexcept>
#include <vector>

#include "../runtime/mpi.h"

namespace tsgpt {
namespace {

// A job under way: its promise and what keeps its arrays alive.
struct Job {
  napi_env env;
  napi_deferred deferred;
  std::vector<napi_ref> arrays;
  napi_threadsafe_function finished;
};

// On the thread of JavaScript, after a job.
void settle(napi_env env, napi_value, void*, void* data) {
  std::unique_ptr<Job> job(static_cast<Job*>(data));
  if (!env) return;  // the environment is going
  for (napi_ref array : job->arrays) napi_delete_reference(env, array);
  napi_value undefined;
  napi_get_undefined(env, &undefined);
  napi_resolve_deferred(env, job->deferred, undefined);
}

napi_value throw_error(napi_env env, const char* text) {
  napi_throw_error(env, "ERR_MPI", text);
  return nullptr;
}

// Arguments of a call: any number of typed arrays of one kind.
struct Arrays {
  std::vector<napi_value> values;
  std::vector<FloatSpan> floats;
  double* doubles = nullptr;
  int64_t count = 0;
};

bool read(napi_env env, napi_callback_info info, napi_typedarray_type wanted, Arrays& out) {
  size_t count = 0;
  napi_get_cb_info(env, info, &count, nullptr, nullptr, nullptr);
  out.values.resize(count);
  napi_get_cb_info(env, info, &count, out.values.data(), nullptr, nullptr);
  for (napi_value value : out.values) {
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != wanted) {
      return false;
    }
    if (type == napi_float32_array) out.floats.push_back({static_cast<float*>(data), static_cast<int64_t>(length)});
    else out.doubles = static_cast<double*>(data);
    out.count = static_cast<int64_t>(length);
  }
  return true;
}

// Starts a job by `post`, which is given what to call at its end; answers its promise.
template <class Post> napi_value start(napi_env env, const std::vector<napi_value>& arrays, Post post) {
  auto job = std::make_unique<Job>();
  napi_value promise, name;
  job->env = env;
  napi_create_promise(env, &job->deferred, &promise);
  for (napi_value array : arrays) {
    napi_ref held;
    napi_create_reference(env, array, 1, &held);
    job->arrays.push_back(held);
  }
  napi_create_string_utf8(env, "tsgpt MPI", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, settle, &job->finished) !=
      napi_ok) {
    return throw_error(env, "MPI: no memory for a call");
  }
  post([job = job.release()] {
    napi_threadsafe_function finished = job->finished;
    napi_call_threadsafe_function(finished, job, napi_tsfn_nonblocking);
    napi_release_threadsafe_function(finished, napi_tsfn_release);
  });
  return promise;
}

napi_value open(napi_env env, napi_callback_info) {
  try {
    MpiWorld world = mpi_open();
    napi_value result, rank, size, library;
    napi_create_object(env, &result);
    napi_create_int32(env, world.rank, &rank);
    napi_create_int32(env, world.size, &size);
    napi_create_string_utf8(env, world.library.data(), world.library.size(), &library);
    napi_set_named_property(env, result, "rank", rank);
    napi_set_named_property(env, result, "size", size);
    napi_set_named_property(env, result, "library", library);
    return result;
  } catch (const std::exception& error) {
    return throw_error(env, error.what());
  }
}

napi_value sum(napi_env env, napi_callback_info info) {
  Arrays arrays;
  if (!read(env, info, napi_float32_array, arrays)) return throw_error(env, "MPI: arguments must be Float32Arrays");
  return start(env, arrays.values, [&](MpiDone done) { mpi_sum(std::move(arrays.floats), std::move(done)); });
}

napi_value broadcast(napi_env env, napi_callback_info info) {
  Arrays arrays;
  if (!read(env, info, napi_float32_array, arrays)) return throw_error(env, "MPI: arguments must be Float32Arrays");
  return start(env, arrays.values, [&](MpiDone done) { mpi_broadcast(std::move(arrays.floats), std::move(done)); });
}

napi_value sum_numbers(napi_env env, napi_callback_info info) {
  Arrays arrays;
  if (!read(env, info, napi_float64_array, arrays) || arrays.values.size() != 1) {
    return throw_error(env, "MPI: the argument must be a Float64Array");
  }
  return start(env, arrays.values, [&](MpiDone done) { mpi_sum(arrays.doubles, arrays.count, std::move(done)); });
}

napi_value close(napi_env env, napi_callback_info) {
  return start(env, {}, [](MpiDone done) { mpi_close(std::move(done)); });
}

}  // namespace

void define_mpi(napi_env env, napi_value exports) {
  auto define = [&](const char* name, napi_callback call) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, call, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  };
  define("mpiOpen", open);
  define("mpiSum", sum);
  define("mpiSumNumbers", sum_numbers);
  define("mpiBroadcast", broadcast);
  define("mpiClose", close);
}

}  // namespace tsgpt
