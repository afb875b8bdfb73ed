// Puts large buffers into huge pages, and fills them with zeros without touching them.
//
// Weights are read from memory for each token. With pages of 4 KB, looking up where each page lies takes a processor up
// to a third of that time, above all in a virtual machine.
//
// A KV cache is filled with zeros by llama.cpp before it is used. The kernel gives a page of zeros to whoever first
// touches it; filling it makes all of its pages real: seconds of a start, and the memory of a context that nobody may
// use. Its pages stay small, so that it takes memory as it is used, and so do those of the buffer for computing, which
// is made for more rows than most steps have.
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ggml-backend.h"

#define LARGE ((size_t)32 << 20)  // from here on, malloc maps each by itself
#define MAX_BUFFERS 256

void *__real_memset(void *start, int value, size_t size);
void *__real_ggml_aligned_malloc(size_t size);
void __real_ggml_aligned_free(void *start, size_t size);
void __real_ggml_backend_buffer_set_usage(ggml_backend_buffer_t buffer, enum ggml_backend_buffer_usage usage);

// Buffers that malloc has given out: private and anonymous memory, of which we know what madvise does.
static _Atomic(void *) buffers[MAX_BUFFERS];

static int replace(void *old, void *new) {
    for (int i = 0; i < MAX_BUFFERS; i++) {
        void *expected = old;
        if (atomic_compare_exchange_strong(&buffers[i], &expected, new)) return 1;
    }
    return 0;
}

// The whole pages of a buffer.
static uintptr_t first_page(void *start) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    return ((uintptr_t)start + page - 1) / page * page;
}
static uintptr_t end_page(void *start, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    return ((uintptr_t)start + size) / page * page;
}
static int advise(void *start, size_t size, int advice) {
    return madvise((void *)first_page(start), end_page(start, size) - first_page(start), advice);
}

void *__wrap_ggml_aligned_malloc(size_t size) {
    void *start = __real_ggml_aligned_malloc(size);
    if (start != NULL && size >= LARGE && replace(NULL, start)) {  // where there is no place, it stays as it is
        advise(start, size, MADV_HUGEPAGE);                        // some kernels have none
    }
    return start;
}

void __wrap_ggml_aligned_free(void *start, size_t size) {
    if (start != NULL && size >= LARGE) replace(start, NULL);
    __real_ggml_aligned_free(start, size);
}

void __wrap_ggml_backend_buffer_set_usage(ggml_backend_buffer_t buffer, enum ggml_backend_buffer_usage usage) {
    __real_ggml_backend_buffer_set_usage(buffer, usage);
    void *start = usage == GGML_BACKEND_BUFFER_USAGE_COMPUTE ? ggml_backend_buffer_get_base(buffer) : NULL;
    if (start != NULL && replace(start, start)) advise(start, ggml_backend_buffer_get_size(buffer), MADV_NOHUGEPAGE);
}

void *__wrap_memset(void *start, int value, size_t size) {
    if (value == 0 && size >= LARGE && replace(start, start)) {
        advise(start, size, MADV_NOHUGEPAGE);
        // Pages that are given back read as zeros again (madvise(2)). Locked ones cannot be.
        if (advise(start, size, MADV_DONTNEED) == 0) {
            uintptr_t first = (uintptr_t)start, end = first + size;
            __real_memset(start, 0, first_page(start) - first);
            __real_memset((void *)end_page(start, size), 0, end - end_page(start, size));
            return start;
        }
    }
    return __real_memset(start, value, size);
}
