#!/usr/bin/env bash
# What scripts/setup and scripts/build-wheel need to know of this machine.

sha() { if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -c 1-16; }

python_works() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
    if python_works "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
}

compiler_works() { # CC, CXX: a trial, because a compiler without the C++ library is a common half-installed state
  have "$1" && echo '#include <vector>' | "$2" -x c++ -fsyntax-only - >/dev/null 2>&1
}

install_hint() { # the Debian package names
  if have apt-get; then
    say "hint: sudo apt install $*"
  elif [ "$(uname)" = Darwin ]; then
    say "hint: xcode-select --install; brew install python"
  elif have dnf; then
    say "hint: sudo dnf install python3 gcc-c++ make"
  else
    say "hint: install Python 3.10 or newer with venv, and a C and C++ compiler"
  fi
}

job_kb=$((700 * 1024)) # what one compiler may need

free_memory_kb() { # what programs may fill before the machine begins to swap to a disk or an SD card
  local proc=${PROC:-/proc} # another directory in tests
  if [ -r "$proc/meminfo" ]; then
    # What goes into zram is compressed, but stays in memory: half of its room counts.
    awk -v zram="$(awk '/^\/dev\/zram/ { free += $3 - $4 } END { print free + 0 }' "$proc/swaps" 2>/dev/null)" \
      '/^MemAvailable:/ { print int($2 + zram / 2) }' "$proc/meminfo"
  else
    echo $(($(sysctl -n hw.memsize) / 1024))
  fi
}

choose_jobs() { # sets jobs, the number of compilers that run at a time, and says why they are few
  local free cores
  jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-}
  [ -z "$jobs" ] || return 0
  free=$(free_memory_kb)
  cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
  jobs=$((free / job_kb < cores ? free / job_kb : cores))
  if [ "$jobs" -lt 1 ]; then
    jobs=1
    say "note: $((free / 1024)) MB of memory are free, and a compiler may need $((job_kb / 1024)): building may take hours"
    say "hint: a wheel from another machine is there sooner: scripts/build-wheel, scripts/setup --wheelhouse"
  elif [ "$jobs" -lt "$cores" ]; then
    say "note: $((free / 1024)) MB of memory are free: $jobs of $cores cores compile at a time"
  fi
}

nvidia_gpu() { # its model; fails if there is none. The slow nvidia-smi last.
  local device
  if cat /proc/driver/nvidia/gpus/*/information 2>/dev/null | grep '^Model'; then return; fi
  for device in /dev/nvhost-gpu /dev/nvgpu; do # Jetson
    if [ -e "$device" ]; then
      tr -d '\0' </proc/device-tree/model
      return
    fi
  done
  nvidia-smi -L 2>/dev/null
}
