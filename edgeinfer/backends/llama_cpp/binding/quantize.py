"""A process that quantizes one model file: python -m edgeinfer.backends.llama_cpp.binding.quantize SOURCE TARGET QUANT [requantize]

It takes minutes and all CPUs, and may die of its input. It first says how many bytes the result will have,
waits for a line, writes the result and ends with 0. Otherwise its last words are on stderr. It ends when
stdin does, hence with whoever started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import sys
import threading

import llama_cpp.llama_cpp as lib

from edgeinfer.backends.llama_cpp.binding.logs import LogCapture

BUFFER = 64 << 20
"""Bytes of a tensor's rows that are in memory at once. Without a limit an output matrix takes gigabytes."""

NICENESS = 10
"""Whatever else runs on the board comes first."""

SIZE = re.compile(r"quant size\s*=\s*([0-9.]+) MiB")


class Sizes(logging.Handler):
    """Finds what llama.cpp says the result's tensors will take."""

    announced = 0

    def emit(self, record: logging.LogRecord) -> None:
        if found := SIZE.search(record.getMessage()):
            self.announced = int(float(found[1]) * (1 << 20))


def main(source: str, target: str, quant: str, *options: str) -> int:
    logger = logging.getLogger("llama.cpp")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(sizes := Sizes())
    log = LogCapture(logger)
    params = lib.llama_model_quantize_default_params()
    params.ftype = file_type(quant)
    params.nthread = threads()
    params.max_buf_size = BUFFER
    params.allow_requantize = "requantize" in options
    for params.dry_run in (True, False):
        if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)):
            sys.stderr.write((log.errors[-1] if log.errors else "llama.cpp does not say why") + "\n")
            return 1
        if params.dry_run:
            sys.stdout.write(f"{sizes.announced}\n")
            sys.stdout.flush()
            if not os.read(0, 16):
                return 1
            threading.Thread(target=_end_with_stdin, daemon=True).start()
    return 0


def file_type(quant: str) -> int:
    """llama.cpp's number for a quantization such as "Q4_K_M"."""
    found = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{quant}", None)
    if found is None:
        raise SystemExit(f"llama.cpp knows no {quant}")
    return int(found)


def threads() -> int:
    """llama.cpp would take every CPU of the machine, allowed or not."""
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
