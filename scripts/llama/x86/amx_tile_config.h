// Compiled into every C++ file of llama.cpp (-include) by scripts/setup on x86-64 with GCC 12 or older.
//
// The _tile_loadconfig of these compilers declares that it reads 8 of the 64 bytes of its operand, so
// the stores to the other 56 are optimised away, and the first tile instruction on a machine with AMX
// dies with SIGILL. This one reads all 64.
#if defined(__AMX_TILE__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(p) __asm__ volatile("ldtilecfg %0" ::"m"(*(const char (*)[64])(p)))
#endif
