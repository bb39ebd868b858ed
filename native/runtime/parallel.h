// One thread pool under every kernel. Work is a number of independent tasks; which thread runs a task is not
// determined, so a task's result may depend on its index only. That is what makes results independent of the
// number of threads: cut the output (or a sum) into tasks by size, never by the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tsgpt {

// Runs fn(context, task) for every task in [0, tasks), on the calling thread and the pool's. Returns when all are done.
// Nested calls run on the calling thread alone.
void parallel_run(int64_t tasks, void (*fn)(void* context, int64_t task), void* context);

int thread_count();
void set_thread_count(int n);

// Memory of the calling thread, 64-byte aligned, kept between calls and grown when needed; contents are not kept.
// `slot` (0 to 3) lets nested users hold several at once.
void* thread_scratch(int slot, size_t bytes);

// Bytes held by all threads' scratch memory.
size_t scratch_bytes();

}  // namespace tsgpt
