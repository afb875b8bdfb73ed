# Changes llama.cpp's list of the kinds of CPUs for which a portable build has a library.
# Without SME: GCC knows it from version 14 on, no board has it, and llama.cpp has no products of its own for it.
/ggml_add_cpu_backend_variant(armv9\.2_/d
# With matrix products of bytes for CPUs without SVE, as in a Linux on an Apple M2 or a Snapdragon X.
s/^\( *ggml_add_cpu_backend_variant(\)armv8\.6_1 .*/&\n\1armv8.6_0    DOTPROD FP16_VECTOR_ARITHMETIC MATMUL_INT8)/
