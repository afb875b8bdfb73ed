"""A model at Q4_0, made by llama.cpp from a file that has more bits."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import llama_cpp.llama_cpp as lib


def write_q4_0(source: Path, target: Path) -> None:
    params = lib.llama_model_quantize_default_params()
    params.ftype = lib.LLAMA_FTYPE_MOSTLY_Q4_0
    params.allow_requantize = True
    params.nthread = 1
    assert 0 == lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
