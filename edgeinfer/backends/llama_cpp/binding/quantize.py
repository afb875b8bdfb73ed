"""Quantizes one model file in a process of its own.

Usage: python -m edgeinfer.backends.llama_cpp.binding.quantize SOURCE TARGET QUANT [requantize]

It takes minutes and all CPUs, and its input may crash it. It prints how many bytes the result will have, waits for a
line on stdin, writes the result and exits with 0. If it fails, stderr ends with the reason. It exits when stdin
is closed, and so with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import sys
import threading
from pathlib import Path

import llama_cpp.llama_cpp as lib

from edgeinfer.backends.llama_cpp.binding.libraries import load_backends
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.ipc.confinement.confinement import confine_process
from edgeinfer.ipc.confinement.file_access import llama_files

MAX_BUFFER = 64 << 20
"""Bytes of a tensor's rows in memory at once. Without this limit an output matrix takes gigabytes."""

NICENESS = 10
"""Everything else on the board has priority."""

SIZE = re.compile(r"quant size\s*=\s*([0-9.]+) MiB")


class SizeReader(logging.Handler):
    """Reads the predicted size of the result from llama.cpp's log."""

    num_bytes = 0

    def emit(self, record: logging.LogRecord) -> None:
        if match := SIZE.search(record.getMessage()):
            self.num_bytes = int(float(match[1]) * (1 << 20))


def main(source: str, target: str, quant: str, *options: str) -> int:
    confine_process(llama_files(read=[source], change=[str(Path(target).absolute().parent)]))
    logger = logging.getLogger("llama.cpp")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(size := SizeReader())
    log = LogCapture(logger)
    load_backends()
    params = lib.llama_model_quantize_default_params()
    params.ftype = file_type(quant)
    params.nthread = threads()
    params.max_buf_size = MAX_BUFFER
    params.allow_requantize = "requantize" in options
    for params.dry_run in (True, False):
        if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)):
            sys.stderr.write((log.errors[-1] if log.errors else "llama.cpp gave no reason") + "\n")
            return 1
        if params.dry_run:
            sys.stdout.write(f"{size.num_bytes}\n")
            sys.stdout.flush()
            if not os.read(0, 16):
                return 1
            threading.Thread(target=_end_with_stdin, daemon=True).start()
    return 0


def file_type(quant: str) -> int:
    """llama.cpp's number for a quantization such as "Q4_K_M"."""
    number = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{quant}", None)
    if number is None:
        raise SystemExit(f"llama.cpp has no quantization {quant}")
    return int(number)


def threads() -> int:
    """Number of CPUs this process may use; llama.cpp would take every CPU of the machine."""
    with contextlib.suppress(AttributeError):  # macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _end_with_stdin() -> None:
    while os.read(0, 16):
        pass
    os._exit(1)


if __name__ == "__main__":
    os.nice(NICENESS)
    raise SystemExit(main(*sys.argv[1:]))
