// Rows of elementwise.cpp, for kernels that finish their results with them.
#pragma once

#include "../kernels.h"

namespace tsgpt::TSGPT_NS {

// y[i] = op(x[i]), with the op's two constants; x and y may be the same. far: the numbers, and those behind them, are in no
// near cache. Null where the type is not served.
using UnaryRow = void (*)(const void* x, void* y, int64_t n, double a, double b, bool far);
UnaryRow unary_row_of(UnaryOp op, DType type);

// out[i] = op(a[i], b[i]), each in its place or one repeated number. Null where the type is not served.
using BinaryRow = void (*)(const void* a, bool repeat_a, const void* b, bool repeat_b, void* out, int64_t n, bool far);
BinaryRow binary_row_of(BinaryOp op, DType type);

}  // namespace tsgpt::TSGPT_NS
