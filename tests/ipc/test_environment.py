"""The environment that child processes get."""

from __future__ import annotations

import pytest

from edgeinfer.ipc.environment import child_environment

SECRETS = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "EDGEINFER_API_KEY", "EDGEINFER_CONFIG", "OPENAI_API_KEY",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "DATABASE_URL",
    "PGPASSWORD", "SSH_AUTH_SOCK", "SUDO_COMMAND", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "NETRC", "KUBECONFIG",
    "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "PATH", "PWD", "OLDPWD", "MAIL", "PYTHONSTARTUP", "PYTHONINSPECT",
    "LISTEN_FDS", "NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "JOURNAL_STREAM",
    "CUDA_REGISTRY_TOKEN", "NVIDIA_API_KEY", "GGML_SECRET", "AMD_PASSPHRASE", "ZE_AUTH", "llama_cpp_token",
)  # fmt: skip

WANTED = (
    "TZ", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_CACHE_PATH", "NVIDIA_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION", "ROCR_VISIBLE_DEVICES",
    "VK_ICD_FILENAMES", "ZE_AFFINITY_MASK", "OMP_NUM_THREADS", "GOMP_CPU_AFFINITY", "OPENBLAS_CORETYPE",
    "LLAMA_CPP_LIB_PATH", "MALLOC_ARENA_MAX",
)  # fmt: skip


@pytest.mark.parametrize("llama", [False, True])
@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_not_inherited(name: str, llama: bool) -> None:
    """Neither known ones, nor any whose name speaks of one."""
    assert name not in child_environment(llama=llama, environ={name: "x"})


@pytest.mark.parametrize("name", WANTED)
def test_settings_of_libraries_are_inherited(name: str) -> None:
    """By what runs llama.cpp."""
    assert child_environment(llama=True, environ={name: "x"})[name] == "x"


def test_helpers_get_almost_nothing() -> None:
    """They use neither a GPU nor threads."""
    environment = child_environment(environ=dict.fromkeys((*WANTED, *SECRETS), "x"))
    assert set(environment) == {"TZ", "LD_LIBRARY_PATH", "PYTHONPATH"}
