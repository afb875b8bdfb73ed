"""The environment of child processes: what they need by name, and so no secrets."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

INHERITED = ("TZ", "LD_LIBRARY_PATH")
"""Variables of every child process."""

RUNTIME = (
    "LANG", "LANGUAGE", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "GLIBC_TUNABLES",
    "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONHASHSEED", "PYTHONMALLOC", "HOME", "XDG_CACHE_HOME",
)  # fmt: skip
"""Further variables of those that run llama.cpp. GPU drivers cache what they compile in the user's folders."""

PREFIXES = (
    "CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "ROCM_", "ROCBLAS_", "HIPBLASLT_", "AMD_", "GPU_", "VK_",
    "MESA_", "RADV_", "ANV_", "NVK_", "DRI_", "ZE_", "ZES_", "ONEAPI_", "SYCL_", "MTL_", "METAL_", "GGML_", "LLAMA_CPP_",
    "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "BLIS_", "MALLOC_", "LC_",
)  # fmt: skip
"""Beginnings of the names of further ones: settings of llama.cpp, and of GPU and mathematics libraries."""

SECRET = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|AUTH|KEY", re.I)
"""Found in the name of a variable that is never passed on."""


def child_environment(*, llama: bool = False, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables for a child process that runs a module of ours.

    Args:
        llama: the process runs llama.cpp, on CPUs or a GPU.
    """
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    inherited = {name: value for name, value in environ.items() if _is_inherited(name, llama=llama)}
    # As multiprocessing does: the child finds modules where we do, and nowhere else.
    return {**inherited, "PYTHONPATH": path}


def _is_inherited(name: str, *, llama: bool) -> bool:
    if name in INHERITED:
        return True
    return llama and (name in RUNTIME or (name.startswith(PREFIXES) and not SECRET.search(name)))
