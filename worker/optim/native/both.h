/* peephole.h for both types, for the instruction set that is defined. */
#define TYPE float
#define REAL float
#define INTEGER int32_t
#include "peephole.h"
#undef TYPE
#undef REAL
#undef INTEGER

#define TYPE double
#define REAL double
#define INTEGER int64_t
#include "peephole.h"
#undef TYPE
#undef REAL
#undef INTEGER
