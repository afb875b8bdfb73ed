"""The arguments and the environment of `vllm serve`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from edgeinfer.backends.vllm.config import VllmConfig

MAX_LOGPROBS = 128

INHERITED = (
    "PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CC", "CXX",
)  # fmt: skip
"""Variables that vLLM gets. It compiles kernels, and caches them in the user's folders."""

PREFIXES = (
    "VLLM_", "CUDA_", "NVIDIA_", "NCCL_", "TORCH", "TRITON_", "FLASHINFER_", "HIP_", "HSA_", "ROCR_", "ROCM_", "AMD_",
    "OMP_", "KMP_", "MKL_", "LC_",
)  # fmt: skip

SECRET = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|AUTH|KEY", re.I)
"""Found in the name of a variable that is never passed on."""


def arguments(config: VllmConfig, socket: str, tokenizer: str) -> list[str]:
    """The command line that serves the model on a unix socket, with the tokenizer in that folder."""
    args = [
        config.command,
        "serve",
        config.model,
        "--uds", socket,
        "--tokenizer", tokenizer,
        "--served-model-name", config.name,
        "--max-model-len", str(config.ctx),
        "--max-num-seqs", str(config.parallel),
        "--dtype", config.dtype,
        "--load-format", "safetensors",  # never pickled weights
        "--generation-config", "vllm",  # requests say all
        "--max-logprobs", str(MAX_LOGPROBS),
        "--structured-outputs-config.backend", "guidance",  # llguidance, as in our own engine
        "--enable-prefix-caching",
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
        "--no-enable-log-requests",
    ]  # fmt: skip
    if config.cards:
        args += ["--gpu-memory-utilization", f"{config.gpu_memory:.2f}"]
    elif config.kv_cache_mb:
        args += ["--kv-cache-memory-bytes", str(config.kv_cache_mb * 1_000_000)]
    if len(config.cards) > 1:
        args += ["--tensor-parallel-size", str(len(config.cards))]
    if not config.compiles:
        args += ["--enforce-eager"]
    return args


def environment(config: VllmConfig, key: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """vLLM's variables: what it needs by name, and so no secrets but its own `key`."""
    inherited = {
        name: value
        for name, value in environ.items()
        if name in INHERITED or (name.startswith(PREFIXES) and not SECRET.search(name))
    }
    ours = {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "VLLM_LOGGING_LEVEL": "INFO",  # LogTail reads it
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi numbers cards, and so the plan
    }
    if folder := environ.get("CACHE_DIRECTORY", "").partition(":")[
        0
    ]:  # systemd's, for a service without a home
        ours["XDG_CACHE_HOME"] = folder
    if config.cards:
        ours["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.cards))
    return inherited | ours
