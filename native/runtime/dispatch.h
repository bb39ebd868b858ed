// Which instruction set serves this process. Chosen once, when the addon is loaded: the best set that this machine has
// and this build contains, or the one that TSGPT_ISA names.
#pragma once

#include "../kernels.h"

namespace tsgpt {

// Fills `kernels`. Returns null, or why it cannot be done: TSGPT_ISA names a set that is
// unknown or not there, or one that TSGPT_BF16 does not go with.
const char* select_instruction_set();

const char* instruction_set();             // the set in use: "amx", "avx512", "avx2" or "base"
const char* available_instruction_sets();  // all that this build has and this machine runs, best first, comma-separated
const char* cpu_name();

// Whether the set in use is "amx", whose matrix products are made of bfloat16 tiles (cpu/amx.h).
bool has_amx();

// Whether the set in use multiplies bfloat16 by the dot product instruction (vdpbf16ps): where that is faster than fma.
// TSGPT_BF16=dot or convert decides otherwise, for measuring and testing.
bool fast_bf16_dot();

// How many lines of the level-1 cache may lie a multiple of 4 KB apart; 8, which is usual, where the processor does not tell.
int64_t level_1_ways();

}  // namespace tsgpt
