"""A model in another format, made by llama.cpp."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import llama_cpp.llama_cpp as lib


def write_requantized(source: Path, target: Path, file_type: int = lib.LLAMA_FTYPE_MOSTLY_Q4_0) -> Path:
    params = lib.llama_model_quantize_default_params()
    params.ftype = file_type
    params.allow_requantize = True
    params.nthread = 1
    assert 0 == lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    return target
