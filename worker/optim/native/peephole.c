/* The peephole LSTM layer compiled for float and double and for every instruction set that may be met; plain C99 with the
   vector types of GCC and Clang. Loaded by worker/optim/native/__init__.py, which calls <pass>_<type>_<set>. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define JOIN_(x, type, set) x##_##type##_##set
#define JOIN(x, type, set) JOIN_(x, type, set)

/* Memory aligned for the widest vector; null where there is none. */
static void *aligned_memory(size_t bytes) {
    void *found = NULL;
    return posix_memalign(&found, 64, bytes) ? NULL : found;
}

#define NAME(x) JOIN(x, TYPE, SET)

#define SET base
#define TARGET
#define BYTES 16
#define ROWS 4
#include "both.h"
#undef SET
#undef TARGET
#undef BYTES
#undef ROWS

#if defined(__x86_64__)
#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define BYTES 32
#define ROWS 5
#include "both.h"
#undef SET
#undef TARGET
#undef BYTES
#undef ROWS

#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#define BYTES 64
#define ROWS 10
#include "both.h"
#endif

/* The widest set that this processor has. */
const char *instruction_set(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "avx512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
    return "base";
}

/* What makes the library a Python extension to those who build it; it is loaded by ctypes and never imported. */
void *PyInit__peephole(void) { return NULL; }
