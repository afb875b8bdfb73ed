"""The arguments and the environment of `vllm serve`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.user_folders import daemon_cache_folder
from edgeinfer.user_folders import home as user_folder

MAX_LOGPROBS = 128

LOOPBACK = "127.0.0.1"

INHERITED = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "CC", "CXX")
"""Variables that vLLM gets."""

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


def cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder where vLLM keeps what it has compiled: its home, as others look for one."""
    return daemon_cache_folder(environ) / "vllm"


def environment(
    config: VllmConfig, key: str, folder: str, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """vLLM's variables: what it needs by name, and so no secrets but its own `key`.

    `folder` is its private one.
    """
    home = str(cache(environ))
    inherited = {
        name: value
        for name, value in environ.items()
        if name in INHERITED or (name.startswith(PREFIXES) and not SECRET.search(name))
    }
    ours = {
        "VLLM_API_KEY": key,
        "HOME": home,
        "XDG_CACHE_HOME": home,
        "PYTHONUSERBASE": str(user_folder(environ) / ".local"),  # where pip --user may have put it
        "TMPDIR": folder,
        "VLLM_HOST_IP": LOOPBACK,  # its processes talk with one another, and with nobody else
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "VLLM_LOGGING_LEVEL": "INFO",  # LogTail reads it
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi numbers cards, and so the plan
    }
    if config.cards:
        ours["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.cards))
    return {"NCCL_SOCKET_IFNAME": "lo"} | inherited | ours
