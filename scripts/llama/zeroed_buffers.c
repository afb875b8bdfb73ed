// Fills large buffers with zeros without touching them, so that a KV cache costs time and memory as it is used.
//
// The kernel gives a page of zeros to whoever first touches it. llama.cpp fills a new KV cache with zeros by
// itself, which makes all of its pages real: seconds of a start, and the memory of a context that nobody may use.
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE ((size_t)32 << 20)  // from here on, malloc maps each by itself
#define MAX_BUFFERS 256

void *__real_memset(void *start, int value, size_t size);
void *__real_ggml_aligned_malloc(size_t size);
void __real_ggml_aligned_free(void *start, size_t size);

// Large buffers that malloc has given out: private and anonymous memory, of which we know what madvise does.
static _Atomic(void *) buffers[MAX_BUFFERS];

static int replace(void *old, void *new) {
    for (int i = 0; i < MAX_BUFFERS; i++) {
        void *expected = old;
        if (atomic_compare_exchange_strong(&buffers[i], &expected, new)) return 1;
    }
    return 0;
}

void *__wrap_ggml_aligned_malloc(size_t size) {
    void *start = __real_ggml_aligned_malloc(size);
    if (start != NULL && size >= LARGE) replace(NULL, start);  // where there is no place, it is cleared as ever
    return start;
}

void __wrap_ggml_aligned_free(void *start, size_t size) {
    if (start != NULL && size >= LARGE) replace(start, NULL);
    __real_ggml_aligned_free(start, size);
}

void *__wrap_memset(void *start, int value, size_t size) {
    if (value == 0 && size >= LARGE && replace(start, start)) {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)start, end = first + size;
        uintptr_t first_page = (first + page - 1) / page * page, end_page = end / page * page;
        // Pages that are given back read as zeros again (madvise(2)). Locked ones cannot be.
        if (madvise((void *)first_page, end_page - first_page, MADV_DONTNEED) == 0) {
            __real_memset(start, 0, first_page - first);
            __real_memset((void *)end_page, 0, end - end_page);
            return start;
        }
    }
    return __real_memset(start, value, size);
}
