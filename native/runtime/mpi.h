// Sums over the processes of an `mpirun`, by the system's Open MPI, which is opened when it is asked for. All calls of MPI
// are made by one thread, in the order in which they are posted, so that communication goes on while the caller computes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tsgpt {

// A part of one array of floats.
struct FloatSpan {
  float* data;
  int64_t count;
};

// Opens the library and joins the processes; once in a process. Throws std::runtime_error with a text that says what is
// wrong and what to do.
struct MpiWorld {
  int rank;
  int size;
  std::string library;
};
MpiWorld mpi_open();

// What is done when a posted job has ended; called on the thread of MPI.
using MpiDone = std::function<void()>;

// Posts a job. The memory must stay where it is, and untouched, until the job is done. Sums are in place, and have the same
// bits in all processes.
void mpi_sum(std::vector<FloatSpan> spans, MpiDone done);
void mpi_sum(double* data, int64_t count, MpiDone done);
// Copies the first process's numbers to all.
void mpi_broadcast(std::vector<FloatSpan> spans, MpiDone done);
// Leaves the processes; nothing may be posted after it.
void mpi_close(MpiDone done);

}  // namespace tsgpt
