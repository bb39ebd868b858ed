// Open MPI: see mpi.h. Nothing is linked and no header of the system is used: what is called is declared here, as Open
// MPI's binary interface has it (libmpi.so.40, its versions 3 to 5). Handles are pointers to objects of the library.
#include "mpi.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <dlfcn.h>

namespace tsgpt {
namespace {

enum { thread_serialized = 2 };
void* const in_place = reinterpret_cast<void*>(1);

struct Library {
  int (*init_thread)(int*, char***, int, int*);
  int (*initialized)(int*);
  int (*finalize)();
  int (*comm_rank)(void*, int*);
  int (*comm_size)(void*, int*);
  int (*allreduce)(const void*, void*, int, void*, void*, void*);
  int (*bcast)(void*, int, void*, int, void*);
  int (*get_library_version)(char*, int*);
  void *world, *float_type, *double_type, *sum;
};

// One message at most: 16 MB pieces run at twice the rate of one of 500 MB, as they stay in the caches.
constexpr int64_t piece = 4 << 20;

template <class T> void find(void* handle, const char* name, T& symbol) {
  void* address = dlsym(handle, name);
  if (!address) {
    throw std::runtime_error(std::string("MPI: the library that was found lacks ") + name +
                             "; tsgpt needs Open MPI 4 (Debian: apt-get install openmpi-bin)");
  }
  std::memcpy(&symbol, &address, sizeof address);
}

// Its plug-ins look for the library's symbols among the global ones. It is never closed.
Library open_library() {
  void* handle = nullptr;
  for (const char* name : {"libmpi.so.40", "libmpi.so"}) {
    if ((handle = dlopen(name, RTLD_NOW | RTLD_GLOBAL))) break;
  }
  if (!handle) {
    const char* reason = dlerror();
    throw std::runtime_error(
        std::string("MPI: Open MPI's library (libmpi.so.40) cannot be opened: ") + (reason ? reason : "no reason given") +
        "; install Open MPI 4 (Debian: apt-get install openmpi-bin), or put its folder into LD_LIBRARY_PATH");
  }
  Library mpi{};
  find(handle, "ompi_mpi_comm_world", mpi.world);  // another MPI does not have these
  find(handle, "ompi_mpi_float", mpi.float_type);
  find(handle, "ompi_mpi_double", mpi.double_type);
  find(handle, "ompi_mpi_op_sum", mpi.sum);
  find(handle, "MPI_Init_thread", mpi.init_thread);
  find(handle, "MPI_Initialized", mpi.initialized);
  find(handle, "MPI_Finalize", mpi.finalize);
  find(handle, "MPI_Comm_rank", mpi.comm_rank);
  find(handle, "MPI_Comm_size", mpi.comm_size);
  find(handle, "MPI_Allreduce", mpi.allreduce);
  find(handle, "MPI_Bcast", mpi.bcast);
  find(handle, "MPI_Get_library_version", mpi.get_library_version);
  return mpi;
}

// The thread that calls MPI, and what it has to do.
class Worker {
 public:
  // MPI is told that one thread at a time calls it; it is this one, which joins the processes too.
  MpiWorld join() {
    MpiWorld world{};
    std::string error;
    bool joined = false;
    std::thread([this] { run(); }).detach();  // it must not keep a process from ending that has lost the others
    post([&] {
      try {
        mpi_ = open_library();
        int already = 0, provided = 0, length = 0;
        mpi_.initialized(&already);
        if (already || mpi_.init_thread(nullptr, nullptr, thread_serialized, &provided) != 0) {
          throw std::runtime_error("MPI: cannot join the processes of mpirun");
        }
        if (provided < thread_serialized) {
          throw std::runtime_error("MPI: this build of Open MPI has no support for threads; install one that has");
        }
        mpi_.comm_rank(mpi_.world, &world.rank);
        mpi_.comm_size(mpi_.world, &world.size);
        char text[8192] = {};  // MPI_MAX_LIBRARY_VERSION_STRING is 256; other versions may have more
        mpi_.get_library_version(text, &length);
        world.library = std::string(text, std::find(text, text + sizeof text, ','));
      } catch (const std::runtime_error& caught) {
        error = caught.what();
      }
      std::lock_guard lock(mutex_);
      joined = true;
      answered_.notify_one();
    });
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [&] { return joined; });
    if (!error.empty()) throw std::runtime_error(error);
    return world;
  }

  void post(std::function<void()> job) {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    posted_.notify_one();
  }

  const Library& mpi() const { return mpi_; }

  // Calls `each` with pieces of the spans: parts of long ones in place, short ones gathered and put back.
  template <class Each> void in_pieces(const std::vector<FloatSpan>& spans, Each each) {
    for (size_t i = 0; i < spans.size();) {
      if (spans[i].count >= piece / 4) {
        for (int64_t at = 0; at < spans[i].count; at += piece) {
          each(spans[i].data + at, static_cast<int>(std::min(piece, spans[i].count - at)));
        }
        i++;
        continue;
      }
      size_t end = i;
      int64_t count = 0;
      while (end < spans.size() && spans[end].count < piece / 4 && count + spans[end].count <= piece) {
        count += spans[end++].count;
      }
      gathered_.resize(count);
      float* at = gathered_.data();
      for (size_t j = i; j < end; at += spans[j++].count) std::copy_n(spans[j].data, spans[j].count, at);
      each(gathered_.data(), static_cast<int>(count));
      at = gathered_.data();
      for (; i < end; at += spans[i++].count) std::copy_n(at, spans[i].count, spans[i].data);
    }
  }

 private:
  [[noreturn]] void run() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex_);
        posted_.wait(lock, [&] { return !jobs_.empty(); });
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  std::mutex mutex_;
  std::condition_variable posted_, answered_;
  std::deque<std::function<void()>> jobs_;
  std::vector<float> gathered_;
  Library mpi_{};
};

// Never freed: its thread may wait for other processes while this one ends.
Worker& worker() {
  static Worker& instance = *new Worker;
  return instance;
}

}  // namespace

MpiWorld mpi_open() {
  static MpiWorld world = worker().join();
  return world;
}

// An error inside MPI ends all processes with its own message: that is the world's error handler.
void mpi_sum(std::vector<FloatSpan> spans, MpiDone done) {
  worker().post([spans = std::move(spans), done = std::move(done)] {
    const Library& mpi = worker().mpi();
    worker().in_pieces(
        spans, [&](float* data, int count) { mpi.allreduce(in_place, data, count, mpi.float_type, mpi.sum, mpi.world); });
    done();
  });
}

void mpi_sum(double* data, int64_t count, MpiDone done) {
  worker().post([=, done = std::move(done)] {
    const Library& mpi = worker().mpi();
    mpi.allreduce(in_place, data, static_cast<int>(count), mpi.double_type, mpi.sum, mpi.world);
    done();
  });
}

void mpi_broadcast(std::vector<FloatSpan> spans, MpiDone done) {
  worker().post([spans = std::move(spans), done = std::move(done)] {
    const Library& mpi = worker().mpi();
    worker().in_pieces(spans, [&](float* data, int count) { mpi.bcast(data, count, mpi.float_type, 0, mpi.world); });
    done();
  });
}

void mpi_close(MpiDone done) {
  worker().post([done = std::move(done)] {
    worker().mpi().finalize();
    done();
  });
}

}  // namespace tsgpt
