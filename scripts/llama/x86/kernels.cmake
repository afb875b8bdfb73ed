edgeinfer_cpu_targets(targets "-mavx2|-march=") # others lack the vectors that the kernels need
edgeinfer_add_kernel(kernels.cpp ggml_cpu_extra_compute_forward ggml_cpu_extra_work_size)
edgeinfer_add_kernel(q4_0.cpp ggml_gemv_q4_0_8x8_q8_0)
edgeinfer_add_kernel(q4_k.cpp ggml_gemv_q4_K_8x8_q8_K)
edgeinfer_add_kernel(q6_k.cpp)
edgeinfer_add_kernel(q8_0.cpp)
edgeinfer_add_kernel(floats.cpp)
edgeinfer_add_kernel(attention.cpp)
