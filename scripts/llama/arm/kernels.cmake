edgeinfer_cpu_targets(targets)
edgeinfer_add_kernel(mul_mat.cpp ggml_cpu_extra_compute_forward)
foreach(format q4_0 q4_k q6_k q8_0)
  edgeinfer_add_kernel(${format}.cpp)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU") # it would need more registers than there are
    foreach(target IN LISTS targets)
      set_property(
        SOURCE ${CMAKE_CURRENT_LIST_DIR}/${format}.cpp TARGET_DIRECTORY ${target} APPEND PROPERTY COMPILE_OPTIONS "-fno-schedule-insns")
    endforeach()
  endif()
endforeach()
