# Leaves out what nothing here uses, and what takes longer to compile than all the rest: llama.cpp's programs share it.
#
# Given to CMake as -DCMAKE_PROJECT_llama.cpp_INCLUDE=…, since llama-cpp-python sets it regardless of other options.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
