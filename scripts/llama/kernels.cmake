# Adds edgeinfer's own products to llama.cpp's library for the CPU, without a change to its source.
#
# Given to CMake as -DCMAKE_PROJECT_ggml_INCLUDE=…, this is read where the project "ggml" begins, and waits until
# its targets are there. The linker then sends calls of each function to our __wrap_…, which knows the original
# as __real_….
function(edgeinfer_add_kernel source)
  set(source ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${source})
  target_sources(ggml-cpu PRIVATE ${source})
  set_source_files_properties(
    ${source} TARGET_DIRECTORY ggml-cpu PROPERTIES COMPILE_OPTIONS "-Wno-missing-declarations;-Wno-uninitialized;-Wno-maybe-uninitialized")
  foreach(name IN LISTS ARGN)
    target_link_options(ggml-cpu PRIVATE LINKER:--wrap=${name})
  endforeach()
endfunction()

function(edgeinfer_add_kernels)
  if(NOT TARGET ggml-cpu OR NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    return()
  endif()
  edgeinfer_add_kernel(q4_0.cpp ggml_gemm_q4_0_8x8_q8_0 ggml_gemv_q4_0_8x8_q8_0)
  edgeinfer_add_kernel(q4_k.cpp ggml_gemm_q4_K_8x8_q8_K ggml_gemv_q4_K_8x8_q8_K)
  edgeinfer_add_kernel(q6_k.cpp ggml_compute_forward_mul_mat_tiled)
  if(GGML_LLAMAFILE)
    edgeinfer_add_kernel(q8_0.cpp llamafile_sgemm)
  endif()
endfunction()

cmake_language(DEFER CALL edgeinfer_add_kernels)
