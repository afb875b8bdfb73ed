// Puts large buffers into huge pages that a second thread makes real, and fills buffers with zeros without touching
// them.
//
// Weights are read from memory for each token. With pages of 4 KB, looking up where each page lies takes a processor up
// to a third of that time, above all in a virtual machine.
//
// The kernel clears a page when it is first touched, and a virtual machine may have to get it from its host before
// that: 2 to 6 ms for 2 MB were measured, a second for a small model. So while llama.cpp fills a buffer from its start,
// a thread makes its pages real from its end.
//
// A KV cache is filled with zeros by llama.cpp before it is used. The kernel gives a page of zeros to whoever first
// touches it; filling it makes all of its pages real: seconds of a start, and the memory of a context that nobody may
// use. Its pages stay small, so that it takes memory as it is used, and so do those of the buffer for computing, which
// is made for more rows than most steps have.
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ggml-backend.h"

#define LARGE ((size_t)32 << 20)  // from here on, malloc maps each by itself
#define HUGE_PAGE ((size_t)2 << 20)
#define MAX_BUFFERS 256

#ifndef MADV_POPULATE_WRITE  // of Linux 5.14; kernels without it refuse it, and pages become real as they are touched
#define MADV_POPULATE_WRITE 23
#endif

void *__real_memset(void *start, int value, size_t size);
void *__real_ggml_aligned_malloc(size_t size);
void __real_ggml_aligned_free(void *start, size_t size);
void __real_ggml_backend_buffer_set_usage(ggml_backend_buffer_t buffer, enum ggml_backend_buffer_usage usage);

// Buffers that malloc has given out: private and anonymous memory, of which we know what madvise does.
static struct buffer {
    _Atomic(void *) start;  // NULL: there is place for another
    size_t size;
    atomic_bool huge;  // its pages, which shall all be real
} buffers[MAX_BUFFERS];

static struct buffer *replace(void *old, void *new) {
    for (int i = 0; i < MAX_BUFFERS; i++) {
        void *expected = old;
        if (atomic_compare_exchange_strong(&buffers[i].start, &expected, new)) return &buffers[i];
    }
    return NULL;
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

// Makes pages real, from the end. What they contain stays as it is, even if the buffer ends meanwhile and something
// else takes its place.
static void *make_real(void *argument) {
    struct buffer *buffer = argument;
    void *start = atomic_load(&buffer->start);
    if (start == NULL) return NULL;
    uintptr_t first = first_page(start), end = end_page(start, buffer->size);
    while (end > first && atomic_load(&buffer->start) == start && atomic_load(&buffer->huge)) {
        uintptr_t from = (end - 1) / HUGE_PAGE * HUGE_PAGE;
        if (from < first) from = first;
        if (madvise((void *)from, end - from, MADV_POPULATE_WRITE) != 0) break;
        end = from;
    }
    return NULL;
}

void *__wrap_ggml_aligned_malloc(size_t size) {
    void *start = __real_ggml_aligned_malloc(size);
    if (start == NULL || size < LARGE) return start;
    struct buffer *buffer = replace(NULL, start);
    if (buffer == NULL) return start;  // where there is no place, it stays as it is
    buffer->size = size;
    atomic_store(&buffer->huge, 1);
    advise(start, size, MADV_HUGEPAGE);  // some kernels have none
    pthread_t thread;
    if (pthread_create(&thread, NULL, make_real, buffer) == 0) pthread_detach(thread);
    return start;
}

void __wrap_ggml_aligned_free(void *start, size_t size) {
    if (start != NULL && size >= LARGE) replace(start, NULL);
    __real_ggml_aligned_free(start, size);
}

// Gives a buffer small pages; whether it is one of ours.
static int make_small(void *start, size_t size) {
    struct buffer *buffer = start == NULL ? NULL : replace(start, start);
    if (buffer == NULL) return 0;
    atomic_store(&buffer->huge, 0);
    advise(start, size, MADV_NOHUGEPAGE);
    return 1;
}

void __wrap_ggml_backend_buffer_set_usage(ggml_backend_buffer_t buffer, enum ggml_backend_buffer_usage usage) {
    __real_ggml_backend_buffer_set_usage(buffer, usage);
    if (usage == GGML_BACKEND_BUFFER_USAGE_COMPUTE)
        make_small(ggml_backend_buffer_get_base(buffer), ggml_backend_buffer_get_size(buffer));
}

void *__wrap_memset(void *start, int value, size_t size) {
    if (value == 0 && size >= LARGE && make_small(start, size)) {
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
