"""GPUs that could compute, and what prevents them from it."""

from __future__ import annotations

from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware import Gpu, HardwareProfile
from edgeinfer.plan.bandwidth import gpu_bandwidth
from edgeinfer.plan.cuda_support import (
    LAST_FOR_OLD,
    MIN_COMPUTE_13,
    compute_capability,
    cuda_problem,
    version,
)
from edgeinfer.plan.gpu_placement import choose_gpu, gpu_problem
from edgeinfer.settings import Settings

CHECK = "GPU"

TOOLKITS = {
    "cuda": "install NVIDIA's CUDA toolkit",
    "rocm": "install AMD's ROCm",
    "vulkan": "install Vulkan's headers and glslc",
    "metal": "install Xcode's command line tools",
}

DRIVERS = {
    "nvidia": "install NVIDIA's driver: on Debian sudo apt install nvidia-driver, "
    "on Ubuntu sudo ubuntu-drivers install",
}


def check_gpu(profile: HardwareProfile, settings: Settings, rebuild: str) -> list[Finding]:
    """Check that every GPU is used that should be; `rebuild` is the command that rebuilds llama.cpp."""
    used = choose_gpu(profile).gpu
    findings = [
        finding for gpu in profile.gpus if gpu is not used for finding in _idle(gpu, profile, rebuild)
    ]
    if settings.gpu_layers and not profile.gpus:
        text = f"gpu_layers is {settings.gpu_layers}, but there is no GPU"
        findings.append(Finding(CHECK, "error", text, "remove gpu_layers from the settings"))
    if findings or not profile.gpus:
        return findings
    if used and settings.gpu_layers == 0:
        return [Finding(CHECK, "ok", f"{used.name}: not used, as gpu_layers is 0")]
    if used:
        return [Finding(CHECK, "ok", f"{used.name}, through {used.api}")]
    return [Finding(CHECK, "ok", f"{profile.gpus[0].name}: the CPU is faster")]


def _idle(gpu: Gpu, profile: HardwareProfile, rebuild: str) -> list[Finding]:
    """Return the problem of a GPU that is not used; none if using it would not help."""
    if gpu.shared and gpu.vendor != "nvidia" and gpu_bandwidth(gpu, profile) is None:
        return []  # it would be no faster than the CPU
    if gpu.lacks_driver:
        return [_without_driver(gpu, profile.system.container)]
    build = profile.llama
    if problem := cuda_problem(gpu, profile):
        return [Finding(CHECK, "note", problem, "edgeinfer plan shows what runs instead")]
    if build and gpu.api and gpu.api not in build.apis:
        text = f"the {gpu.name} is not used: llama.cpp was built without {gpu.api}"
        return [Finding(CHECK, "warning", text, f"{_toolkit(gpu)}, then {rebuild}")]
    if gpu.vendor == "nvidia" and gpu.api and gpu.memory is None:
        text = f"the {gpu.name} has a driver, but nvidia-smi cannot reach it, as after a suspend or an update"
        fix = "sudo modprobe -r nvidia_uvm; sudo modprobe nvidia_uvm; or reboot"
        return [Finding(CHECK, "error", text, fix)]
    reason = gpu_problem(gpu, profile)
    if reason is None or gpu.api is None:
        return []
    return [Finding(CHECK, "note", reason, "edgeinfer plan shows what runs instead")]


def _toolkit(gpu: Gpu) -> str:
    """Say what to install to build llama.cpp for a GPU."""
    compute = compute_capability(gpu)
    old = gpu.api == "cuda" and compute and version(compute) < version(MIN_COMPUTE_13)
    how = TOOLKITS[gpu.api or "vulkan"]
    return f"{how} {LAST_FOR_OLD} (later ones no longer support this card)" if old else how


def _without_driver(gpu: Gpu, container: str | None) -> Finding:
    if container:
        how = "--gpus all" if gpu.vendor == "nvidia" else "--device /dev/dri --device /dev/kfd"
        text = f"the {gpu.name} was not passed into this container"
        return Finding(CHECK, "note", text, f"pass it into the container: docker run {how}")
    reason = f"llama.cpp cannot use its driver {gpu.driver}" if gpu.driver else "it has no driver"
    fix = DRIVERS.get(gpu.vendor, "install the vendor's driver, or Mesa")
    return Finding(CHECK, "warning", f"the {gpu.name} is not used: {reason}", fix)
