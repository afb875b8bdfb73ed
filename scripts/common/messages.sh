#!/usr/bin/env bash
# What scripts/setup and scripts/build-wheel say, and how they wait: for a long command, and for each other.

say() { printf '%s\n' "$*" >&2; }

die() { # message, hints...
  say "error: $1"
  shift
  for hint; do say "hint: $hint"; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

progress() { # text: one line that updates on a terminal, else a line now and then
  if [ -t 2 ]; then
    printf '\r\033[K%s' "$1" >&2
  elif [ $((SECONDS - said_at)) -ge 30 ] || [ "$said_at" -lt 0 ]; then
    say "$1"
    said_at=$SECONDS
  fi
}

# Runs a command in a process group of its own, so that all of it can be ended, with its output in a log.
# shellcheck disable=SC2034 # the state function of a build reads compiling_since
run_logged() { # log, state function, command...
  local log=$1 state=$2 status=0
  shift 2
  said_at=-1 compiling_since=$SECONDS
  set -m
  "$@" >"$log" 2>&1 </dev/null &
  job=$!
  set +m
  while kill -0 "$job" 2>/dev/null; do
    grep -qE '^ *\[[0-9]+/[0-9]+\]' "$log" || compiling_since=$SECONDS
    progress "$($state "$log")"
    sleep 1
  done
  wait "$job" || status=$?
  job=''
  [ -t 2 ] && printf '\r\033[K' >&2
  return "$status"
}

failed() { # what, log
  local hints=()
  tail -n 25 "$2" | cut -c 1-400 >&2
  if grep -qE 'Killed|out of memory|virtual memory exhausted' "$2"; then
    hints+=("out of memory? try: CMAKE_BUILD_PARALLEL_LEVEL=1 scripts/${0##*/}")
  fi
  if grep -q 'No space left on device' "$2"; then
    hints+=("the disk is full; XDG_CACHE_HOME can name a place with more room")
  fi
  if grep -q 'DO NOT MATCH THE HASHES' "$2"; then
    hints+=("the package index serves other files than the ones that requirements/ pins")
  fi
  if grep -qE 'Could not find a version|NewConnectionError|Temporary failure|timed out' "$2"; then
    hints+=("is the network up? what is downloaded once is not needed again")
  fi
  die "$1 failed" "the whole log is in $2" ${hints[@]+"${hints[@]}"}
}

# shellcheck disable=SC2154 # python is set by the scripts that use this
lock() { # what, in words; its file
  # One at a time for this user. Python locks the file that this shell holds open, since macOS has no
  # flock command; the lock goes when the shell and its children do.
  local told=no
  mkdir -p "$(dirname "$2")"
  exec 9>"$2"
  until "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null; do
    [ "$told" = yes ] || say "another $1 is running; waiting for it"
    told=yes
    sleep 1
  done
}

clean_up() {
  if [ -n "$job" ]; then
    kill -TERM -- "-$job" 2>/dev/null || true
    wait "$job" 2>/dev/null || true
  fi
  if [ -n "$work" ]; then rm -rf "$work"; fi
}

clean_up_at_exit() { # sets the variables that clean_up reads
  job='' work=''
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}
