// OpenBLAS as an optional backend for float32 and float64 matrix products, opened at run time when TSGPT_GEMM=openblas
// asks for it. The embedded GEMM stays in place for everything that OpenBLAS does not serve. OpenBLAS promises no
// independence of the number of threads: with it, results are reproducible for one number of threads only.
#pragma once

#include "../kernels.h"

namespace tsgpt {

// Opens the system's OpenBLAS and puts it ahead of table.gemm. Returns null, or why it cannot be done.
const char* openblas_open(KernelTable& table);

const char* openblas_core();    // the core OpenBLAS picked its kernels for, or null when it is not in use
const char* openblas_config();  // its build configuration, or null

}  // namespace tsgpt
