// How threads share the columns of a product.
#pragma once

#include "ggml-cpu-impl.h"
#include "vectors.h"

#if defined(EDGEINFER_VECTORS)

namespace {

// Calls job(0) to job(jobs - 1), each in the first thread that is free.
template <class Job>
void share_jobs(const ggml_compute_params *params, int64_t jobs, Job job) {
    if (params->ith == 0) ggml_threadpool_chunk_set(params->threadpool, params->nth);
    ggml_barrier(params->threadpool);
    for (int64_t i = params->ith; i < jobs; i = ggml_threadpool_chunk_add(params->threadpool, 1)) job(i);
}

// Calls job(first, count) in all threads until there are no more columns, a few strips at a time: a job is
// large enough to be worth its preparation, and small enough to share.
template <class Job>
void share_columns(const ggml_compute_params *params, int64_t columns, Job job) {
    const int64_t strips = columns / (8 * params->nth * LANES);
    const int64_t size = LANES * (strips < 1 ? 1 : strips > 32 ? 32 : strips);
    share_jobs(params, (columns + size - 1) / size, [=](int64_t i) {
        const int64_t first = i * size;
        job(first, columns - first < size ? columns - first : size);
    });
}

}  // namespace

#endif
