#!/usr/bin/env bash
# Which llama.cpp scripts/build-wheel builds: compiler, options for CMake, and a name that says all of that.
# shellcheck disable=SC2034,SC2154 # it reads and sets variables of scripts/build-wheel

# The C++ library in each of ours, so that an older system will do; its symbols are not for others.
portable_ldflags='-static-libstdc++ -Wl,--exclude-libs,ALL'

# The compiler's own view of this CPU: exactly what decides the code it makes.
native_macros() {
  local flag
  for flag in -march=native -mcpu=native ''; do
    # shellcheck disable=SC2086 # the empty flag must vanish
    "$cxx" $flag -dM -E -x c++ /dev/null 2>/dev/null && return
  done
}

needs_amx_fix() { # macros: GCC 12 and older compile AMX wrongly
  grep -q '^#define __x86_64__ ' <<<"$1" && ! grep -q '^#define __clang__ ' <<<"$1" &&
    [ "$(awk '$2 == "__GNUC__" { print $3 }' <<<"$1")" -le 12 ]
}

kernels_for() { # architecture: the directory of its kernels
  case $1 in
  aarch64 | arm64) echo arm ;;
  *) echo x86 ;;
  esac
}

check_compiler() {
  compiler_works "$cc" "$cxx" && return
  say "error: no working C and C++ compiler ($cc, $cxx)"
  if [ "$cross" = yes ]; then install_hint "g++-${target//_/-}-linux-gnu"; else install_hint build-essential; fi
  exit 1
}

choose_native_build() { # sets cmake_args, amx_fix, CUDACXX, key
  local macros nvcc gpu='' hash made
  macros=$(native_macros)
  cmake_args="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF"

  amx_fix=no
  if needs_amx_fix "$macros"; then amx_fix=yes; fi

  nvcc=$(cuda_compiler)
  if [ -n "$nvcc" ] && gpu=$(nvidia_gpu); then
    cmake_args+=" -DGGML_CUDA=ON"
    export CUDACXX=$nvcc
    gpu+=$("$nvcc" --version)
  elif have glslc && [ -e /usr/include/vulkan/vulkan.h ] && vulkan_gpu; then
    cmake_args+=" -DGGML_VULKAN=ON"
  fi
  cmake_args+="${CMAKE_ARGS:+ $CMAKE_ARGS}"

  hash=$(
    {
      printf '%s\n' "$cmake_args" "${CFLAGS:-}" "${CXXFLAGS:-}" "$amx_fix" "$gpu" "$macros"
      "$cxx" --version
      "$cc" --version
      cat "$ours/kernels.cmake" "$ours/large_buffers.c" "$ours/$(kernels_for "$(uname -m)")"/*
      cpu_model
    } | sha
  )
  key=$version-$hash # the wheel is for every Python 3
  for made in "$cache/wheels/$version"-cp*-"$hash"; do # as it was called before, by the Python that built it
    if [ -d "$made" ] && [ ! -d "$cache/wheels/$key" ]; then key=${made##*/}; fi
  done
}

choose_portable_build() { # sets cmake_args, amx_fix, key
  local macros flag newest='-mavxvnni -mamx-int8 -mavx512bf16'
  if [ "$target" = aarch64 ]; then newest=-march=armv8.6-a+sve2+i8mm+dotprod; fi
  macros=$("$cxx" -dM -E -x c++ /dev/null)
  for flag in $newest; do
    if ! "$cxx" "$flag" -fsyntax-only -x c++ /dev/null 2>/dev/null; then
      die "$cxx does not know $flag, which the newest CPUs need" "use GCC 11 or newer: CC=gcc-12 CXX=g++-12"
    fi
  done
  cmake_args="-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DLLAVA_BUILD=OFF"
  cmake_args+=" -DCMAKE_INSTALL_BINDIR=llama_cpp/lib -DCMAKE_INSTALL_RPATH=\$ORIGIN"
  if [ "$cross" = yes ]; then
    cmake_args+=" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$target"
  fi
  cmake_args+="${CMAKE_ARGS:+ $CMAKE_ARGS}"
  amx_fix=no
  if needs_amx_fix "$macros"; then amx_fix=yes; fi
  key=$version-$target-$(
    {
      printf '%s\n' "$cmake_args" "${CFLAGS:-}" "${CXXFLAGS:-}" "$portable_ldflags" "$amx_fix" ${kinds:+"$kinds"}
      "$cxx" --version
      "$cc" --version
      cat "$ours/kernels.cmake" "$ours/large_buffers.c" "$ours/$(kernels_for "$target")"/* "$ours/variants.sed" "$ours/random.c" "$ours/portable_wheel.py"
    } | sha
  )
}

choose_build() { # sets cc, cxx, cross, version, cmake_args, amx_fix, key, wheel_dir
  local machine=''
  version=$(sed -nE 's/.*"llama-cpp-python>=([0-9.]+)".*/\1/p' "$root/pyproject.toml")
  cross=no
  if [ "$target" != native ]; then
    [ "$(uname)" = Linux ] || die "wheels for other machines are built on Linux" "scripts/build-wheel --target native"
    if [ "$(uname -m)" != "$target" ]; then cross=yes; fi
  fi
  if [ "$cross" = yes ]; then
    cc=${CC:-$target-linux-gnu-gcc} cxx=${CXX:-$target-linux-gnu-g++}
  else
    cc=${CC:-cc} cxx=${CXX:-c++}
  fi
  check_compiler
  if [ "$target" = native ]; then
    choose_native_build
  else
    machine=$("$cxx" -dumpmachine)
    [ "${machine%%-*}" = "$target" ] || die "$cxx compiles for $machine, not for $target" "unset CC and CXX, or change them"
    choose_portable_build
  fi
  wheel_dir=$cache/wheels/$key
}

cpu_model() {
  if [ -r /proc/cpuinfo ]; then
    grep -E '^(model name|flags|Features|CPU (implementer|variant|part)|isa)[[:space:]]*:' /proc/cpuinfo | sort -u
  else
    sysctl -n machdep.cpu.brand_string
  fi
}

cuda_compiler() {
  local nvcc
  for nvcc in "${CUDACXX:-}" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
    if [ -n "$nvcc" ] && "$nvcc" --version >/dev/null 2>&1; then
      echo "$nvcc"
      return
    fi
  done
}

vulkan_gpu() { # AMD's GPUs and Intel's cards; with other drivers llama.cpp is slower than on the CPU
  local device
  for device in /sys/class/drm/renderD*/device; do
    case $(cat "$device/vendor" "$device/device" 2>/dev/null | tr '\n' ' ') in
    0x1002* | "0x8086 0x56"* | "0x8086 0xe2"*) return ;;
    esac
  done
  return 1
}
