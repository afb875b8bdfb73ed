# Adds edgeinfer's own products to llama.cpp's libraries for the CPU, and what it does to large buffers, without a change
# to its source.
#
# Given to CMake as -DCMAKE_PROJECT_ggml_INCLUDE=…, this is read where the project "ggml" begins, and waits until
# its targets are there: ggml-base, and ggml-cpu, or a ggml-cpu-… for each kind of CPU. The linker then sends calls of
# each function to our __wrap_…, which knows the original as __real_….

# Sets a variable to the targets that compute on a CPU, or to those whose compiler flags match a regular expression.
function(edgeinfer_cpu_targets variable)
  get_target_property(directory ggml SOURCE_DIR)
  get_property(all DIRECTORY ${directory} PROPERTY BUILDSYSTEM_TARGETS)
  set(found)
  foreach(target IN LISTS all)
    get_target_property(type ${target} TYPE)
    get_target_property(flags ${target} COMPILE_OPTIONS)
    if(target MATCHES "^ggml-cpu(-|$)" AND type MATCHES "(MODULE|SHARED)_LIBRARY" AND flags MATCHES "${ARGN}")
      list(APPEND found ${target})
    endif()
  endforeach()
  set(${variable} ${found} PARENT_SCOPE)
endfunction()

# Adds a source beside the calling file to all of `targets`, in place of the functions that are named.
function(edgeinfer_add_kernel source)
  set(source ${CMAKE_CURRENT_LIST_DIR}/${source})
  foreach(target IN LISTS targets)
    target_sources(${target} PRIVATE ${source})
    set_source_files_properties(
      ${source} TARGET_DIRECTORY ${target} PROPERTIES COMPILE_OPTIONS "-Wno-missing-declarations;-Wno-uninitialized;-Wno-maybe-uninitialized")
    foreach(name IN LISTS ARGN)
      target_link_options(${target} PRIVATE LINKER:--wrap=${name})
    endforeach()
  endforeach()
endfunction()

function(edgeinfer_add_kernels)
  if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
    return()
  endif()
  target_sources(ggml-base PRIVATE ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/large_buffers.c)
  foreach(name memset ggml_aligned_malloc ggml_aligned_free ggml_backend_buffer_set_usage)
    target_link_options(ggml-base PRIVATE LINKER:--wrap=${name})
  endforeach()
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    include(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/x86/kernels.cmake)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    include(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/arm/kernels.cmake)
  endif()
endfunction()

cmake_language(DEFER CALL edgeinfer_add_kernels)
