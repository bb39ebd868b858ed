// The thread pool and the per-thread scratch memory.
//
// One call runs at a time. The caller publishes it behind a gate, takes part in it, closes the gate when no task is
// left and waits for the workers that came in. A worker that is late finds the gate closed, so nobody ever waits for
// a sleeping thread. Between calls a worker spins for a moment (the next kernel is usually microseconds away), then
// sleeps.
//
// Every thread has a run of neighbouring tasks of its own and helps the others once it is through: what one kernel left
// in a core's cache is where the next looks for it, and memory is read in long stretches (an add of 1024 x 768 numbers
// took 53 us with one counter for all, 40 us so).
//
// The pool is never destroyed: its threads sleep on it until the process ends, and a static destructor would pull it
// away under them.
#include "parallel.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <mutex>
#include <new>

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tsgpt {
namespace {

constexpr int max_threads = 256;

// Workers look for the next call this long before they sleep. Waking a sleeping thread costs 5 to 50 us, the
// JavaScript between two kernels usually takes less than this.
constexpr std::chrono::microseconds spin_time{200};

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// ------------------------------------------------------------------ how many threads by default

#if defined(__linux__)

// The first one or two numbers of a small file of the kernel; the number read.
int read_numbers(const char* path, long long* a, long long* b) {
  FILE* file = std::fopen(path, "r");
  if (!file) return 0;
  int got = std::fscanf(file, "%lld %lld", a, b);
  std::fclose(file);
  return got;
}

// Processors worth of time that one control group allows, rounded up; max_threads where it sets no limit.
int quota_of(const char* folder) {
  char path[4200];
  long long quota = 0, period = 0;
  std::snprintf(path, sizeof path, "%s/cpu.max", folder);  // version 2: "max 100000" or "150000 100000"
  if (read_numbers(path, &quota, &period) != 2) {
    std::snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);  // version 1: -1 is no limit
    if (read_numbers(path, &quota, &period) < 1 || quota <= 0) return max_threads;
    std::snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (read_numbers(path, &period, &period) < 1) return max_threads;
  }
  if (quota <= 0 || period <= 0) return max_threads;
  long long cpus = (quota + period - 1) / period;
  return cpus < max_threads ? static_cast<int>(cpus) : max_threads;
}

int cgroup_quota() {
  int least = quota_of("/sys/fs/cgroup");  // inside a container its own group is mounted here
  if (int q = quota_of("/sys/fs/cgroup/cpu"); q < least) least = q;
  FILE* file = std::fopen("/proc/self/cgroup", "r");
  if (!file) return least;
  char line[4000], folder[4100];
  while (std::fgets(line, sizeof line, file)) {  // "0::/path" (version 2) or "4:cpu,cpuacct:/path"
    line[std::strcspn(line, "\n")] = 0;
    char* controllers = std::strchr(line, ':');
    char* path = controllers ? std::strchr(controllers + 1, ':') : nullptr;
    if (!path) continue;
    bool unified = path == controllers + 1;
    if (!unified && !std::strstr(controllers, "cpu")) continue;
    for (char* end = path; end; end = std::strrchr(path + 1, '/')) {  // the group, then those above: each limits all below
      if (end > path) *end = 0;
      std::snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", unified ? "" : "/cpu", path + 1);
      if (int q = quota_of(folder); q < least) least = q;
    }
  }
  std::fclose(file);
  return least;
}

// Physical cores among the processors this process may use: a second hardware thread of a core adds nothing to
// kernels that keep the core's multipliers busy.
int available_cores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t counted;  // first siblings of the cores seen so far
  CPU_ZERO(&counted);
  int cores = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    char path[128];
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    long long first = cpu, rest = 0;
    if (read_numbers(path, &first, &rest) < 1 || first < 0 || first >= CPU_SETSIZE) first = cpu;
    if (CPU_ISSET(static_cast<int>(first), &counted)) continue;
    CPU_SET(static_cast<int>(first), &counted);
    cores++;
  }
  int quota = cgroup_quota();
  return cores < quota ? cores : quota;
}

#else

int available_cores() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)); }

#endif

int clamp_threads(long long n) { return n < 1 ? 1 : n > max_threads ? max_threads : static_cast<int>(n); }

int default_threads() {
  if (const char* text = std::getenv("TSGPT_THREADS"); text && *text) {
    char* end = nullptr;
    long long n = std::strtoll(text, &end, 10);
    if (*end == 0 && n >= 1) return clamp_threads(n);
  }
  return clamp_threads(available_cores());
}

std::atomic<int>& wanted_threads() {
  static std::atomic<int> wanted{default_threads()};
  return wanted;
}

// ------------------------------------------------------------------ the pool

// True on a worker, and on a caller while its call runs: nested calls then run serially.
thread_local bool inside_call = false;

struct Pool;

struct Worker {
  pthread_t thread;
  Pool* pool;
  int index;  // 1 for the first: 0 is the caller
  bool stop;  // under Pool::sleep
};

// How many tasks of one thread's run are taken, below the number of the call. Whoever takes the first task of a call
// writes the number, so that beginning a call touches nobody's counter.
struct alignas(64) Taken {
  std::atomic<uint64_t> count{0};  // only its atomicity matters: the gate orders the rest
};

struct Pool {
  std::mutex busy;  // held by the caller that uses the pool

  // The call. Written before the gate opens (release), read by those who came in through it (acquire).
  void (*fn)(void*, int64_t) = nullptr;
  void* context = nullptr;
  int64_t tasks = 0;
  int runs = 1;  // of tasks: one for each thread that may take part
  uint64_t call = 0;

  // Number of the call in the upper half, then one bit for "open", then the number of workers inside.
  static constexpr uint64_t open = uint64_t{1} << 31, one_call = uint64_t{1} << 32, inside = open - 1;
  alignas(64) std::atomic<uint64_t> gate{0};

  // Sleeping. `sleepers` and `gate` are written and read in sequentially consistent order: either the caller sees the
  // sleeper, or the sleeper sees the open gate.
  alignas(64) std::atomic<int> sleepers{0};
  std::mutex sleep;
  std::condition_variable wake;

  int workers = 0;  // under busy
  Worker worker[max_threads];
  Taken taken[max_threads];

  // The tasks of one run that nobody has taken yet.
  void work_on(int run) {
    int64_t begin = tasks * run / runs;
    auto length = static_cast<uint64_t>(tasks * (run + 1) / runs - begin);
    std::atomic<uint64_t>& count = taken[run].count;
    for (uint64_t now = count.load(std::memory_order_relaxed);;) {
      uint64_t first = call * one_call, done = now / one_call == call ? now - first : 0;
      if (done >= length) return;
      if (!count.compare_exchange_weak(now, first + done + 1, std::memory_order_relaxed)) continue;
      fn(context, begin + static_cast<int64_t>(done));
      now = first + done + 1;
    }
  }

  void work(int index) {
    for (int i = 0; i < runs; i++) work_on((index + i) % runs);
  }

  // Comes in when a call is open that this worker has not served. The acquire pairs with the caller's release.
  bool enter(uint64_t& served) {
    uint64_t now = gate.load(std::memory_order_relaxed);
    while ((now & open) && now / one_call != served) {
      if (gate.compare_exchange_weak(now, now + 1, std::memory_order_acquire, std::memory_order_relaxed)) {
        served = now / one_call;
        return true;
      }
    }
    return false;
  }

  bool spin(uint64_t& served) {
    auto end = std::chrono::steady_clock::now() + spin_time;
    do {
      for (int i = 0; i < 32; i++) {
        if (enter(served)) return true;
        pause();
      }
    } while (std::chrono::steady_clock::now() < end);
    return false;
  }

  void serve(Worker& self) {
    uint64_t served = 0;
    for (;;) {
      bool in = spin(served);
      if (!in) {
        std::unique_lock<std::mutex> lock(sleep);
        sleepers.fetch_add(1);
        wake.wait(lock, [&] {
          if (self.stop) return true;
          uint64_t now = gate.load();
          return (now & open) && now / one_call != served;
        });
        sleepers.fetch_sub(1);
        if (self.stop) return;
        continue;
      }
      work(self.index);
      gate.fetch_sub(1, std::memory_order_release);  // what the tasks wrote is visible to the caller
    }
  }

  static void* main_of_worker(void* argument) {
    Worker& self = *static_cast<Worker*>(argument);
    inside_call = true;
    self.pool->serve(self);
    return nullptr;
  }

  // Starts or ends workers until there are `count`, or as many as the system grants.
  void resize(int count) {
    if (count < workers) {
      {
        std::lock_guard<std::mutex> lock(sleep);
        for (int i = count; i < workers; i++) worker[i].stop = true;
      }
      wake.notify_all();
      for (int i = count; i < workers; i++) pthread_join(worker[i].thread, nullptr);
      workers = count;
    }
    if (count == workers) return;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 2 << 20);
    sigset_t sent, before;  // signals belong to the host's threads, but a fault to the thread that made it
    sigfillset(&sent);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigdelset(&sent, fault);
    pthread_sigmask(SIG_SETMASK, &sent, &before);
    while (workers < count) {
      Worker& w = worker[workers];
      w.pool = this;
      w.index = workers + 1;
      w.stop = false;
      if (pthread_create(&w.thread, &attributes, main_of_worker, &w) != 0) break;
#if defined(__linux__)
      pthread_setname_np(w.thread, "tsgpt");
#endif
      workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
  }

  void run(int64_t count, void (*function)(void*, int64_t), void* argument) {
    fn = function;
    context = argument;
    tasks = count;
    runs = count <= workers ? static_cast<int>(count) : workers + 1;
    // Nobody is inside and nobody can come in, so a plain store of the next number opens the gate.
    uint64_t number = gate.load(std::memory_order_relaxed) / one_call + 1;
    call = number % one_call;
    gate.store(number * one_call + open);
    if (int asleep = sleepers.load(); asleep > 0) {
      { std::lock_guard<std::mutex> lock(sleep); }  // a worker between its look at the gate and its sleep gets there first
      if (count - 1 >= asleep) {
        wake.notify_all();
      } else {
        for (int64_t i = 0; i < count - 1; i++) wake.notify_one();
      }
    }
    work(0);
    uint64_t now = gate.fetch_and(~open, std::memory_order_acquire) & ~open;
    for (int looks = 0; now & inside; looks++) {
      if (looks < 4000) {
        pause();
      } else {
        sched_yield();  // a worker is in a long task, or lost its processor: let it have this one
      }
      now = gate.load(std::memory_order_acquire);
    }
  }
};

std::atomic<Pool*> the_pool{nullptr};

// The addon's code must stay mapped while threads run it, also when the host unloads it (a Node worker that ends).
void pin_library() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&pin_library), &info) && info.dli_fname) {
    dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

Pool* get_pool() {
  if (Pool* pool = the_pool.load(std::memory_order_acquire)) return pool;
  Pool* fresh = new (std::nothrow) Pool;
  if (!fresh) return nullptr;
  Pool* expected = nullptr;
  if (!the_pool.compare_exchange_strong(expected, fresh, std::memory_order_acq_rel, std::memory_order_acquire)) {
    delete fresh;  // another thread was first; ours has no workers yet
    return expected;
  }
  pin_library();
  // A forked child has none of the workers, and locks in any state: it leaves this pool and starts its own.
  static const int once = pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr, std::memory_order_relaxed); });
  static_cast<void>(once);
  return fresh;
}

}  // namespace

void parallel_run(int64_t tasks, void (*fn)(void* context, int64_t task), void* context) {
  int threads = wanted_threads().load(std::memory_order_relaxed);
  if (tasks > 1 && threads > 1 && !inside_call) {
    Pool* pool = get_pool();
    // Busy: another host thread is computing, and the processors with it. This caller then works alone.
    if (std::unique_lock<std::mutex> lock; pool && (lock = std::unique_lock<std::mutex>(pool->busy, std::try_to_lock))) {
      inside_call = true;
      if (pool->workers != threads - 1) pool->resize(threads - 1);
      pool->run(tasks, fn, context);
      inside_call = false;
      return;
    }
  }
  for (int64_t task = 0; task < tasks; task++) fn(context, task);
}

int thread_count() { return wanted_threads().load(std::memory_order_relaxed); }

// Takes effect at the next parallel call, which starts or ends workers. For one thread it only leaves them asleep.
void set_thread_count(int n) { wanted_threads().store(clamp_threads(n), std::memory_order_relaxed); }

// ------------------------------------------------------------------ scratch memory

namespace {

constexpr int scratch_slots = 4;
constexpr size_t huge_page = 2 << 20;

std::atomic<size_t> scratch_total{0};

struct Scratch {
  void* data[scratch_slots] = {};
  size_t size[scratch_slots] = {};

  void release(int slot) {
    std::free(data[slot]);
    scratch_total.fetch_sub(size[slot], std::memory_order_relaxed);
    data[slot] = nullptr;
    size[slot] = 0;
  }
  ~Scratch() {
    for (int slot = 0; slot < scratch_slots; slot++) release(slot);
  }
};

thread_local Scratch scratch;

}  // namespace

void* thread_scratch(int slot, size_t bytes) {
  Scratch& mine = scratch;
  if (bytes <= mine.size[slot] && mine.data[slot]) return mine.data[slot];
  // Whole huge pages above 2 MB: packed panels are walked in long strides, and small pages would miss the TLB.
  size_t unit = bytes >= huge_page ? huge_page : 4096;
  size_t size = (bytes + unit - 1) / unit * unit;
  if (size == 0) size = unit;
  mine.release(slot);
  void* data = nullptr;
  if (posix_memalign(&data, unit, size) != 0) {
    std::fprintf(stderr, "tsgpt: out of memory: %zu bytes of kernel scratch\n", size);
    std::abort();
  }
#if defined(__linux__)
  if (unit == huge_page) madvise(data, size, MADV_HUGEPAGE);
#endif
  mine.data[slot] = data;
  mine.size[slot] = size;
  scratch_total.fetch_add(size, std::memory_order_relaxed);
  return data;
}

size_t scratch_bytes() { return scratch_total.load(std::memory_order_relaxed); }

}  // namespace tsgpt
