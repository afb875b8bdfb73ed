edgeinfer_cpu_targets(targets "-mavx2|-march=") # others lack the vectors that the kernels need
edgeinfer_add_kernel(q4_0.cpp ggml_gemm_q4_0_8x8_q8_0 ggml_gemv_q4_0_8x8_q8_0)
edgeinfer_add_kernel(q4_k.cpp ggml_gemm_q4_K_8x8_q8_K ggml_gemv_q4_K_8x8_q8_K)
edgeinfer_add_kernel(q6_k.cpp ggml_compute_forward_mul_mat_tiled)
if(GGML_LLAMAFILE)
  edgeinfer_add_kernel(q8_0.cpp llamafile_sgemm)
  edgeinfer_add_kernel(floats.cpp)
endif()
