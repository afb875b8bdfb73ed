"""The CUDA toolkit, and the cards that it builds llama.cpp for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeinfer.doctor.gpu import check_gpu
from edgeinfer.hardware import Gpu, HardwareProfile, LlamaBuild, Memory, detect
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.cuda import toolkit
from edgeinfer.plan.cuda_support import cuda_problem
from edgeinfer.plan.gpu_placement import choose_gpu
from edgeinfer.settings import Settings
from tests.support.hardware import GB, PI4, device_tree, write


@pytest.mark.parametrize(
    ("files", "l4t", "version"),
    [
        ({"usr/local/cuda/version.txt": "CUDA Version 10.2.300\n"}, "32.7.4", "10.2"),
        (
            {"usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}'},
            None,
            "12.6",
        ),
        ({"usr/local/cuda/version.json": "{"}, "36.4.3", "12.2"),
        ({"commands/nvcc.txt": "Cuda compilation tools, release 13.0, V13.0.48\n"}, None, "13.0"),
        ({}, "35.4.1", "11.4"),
        ({}, "99.1", None),
        ({}, None, None),
    ],
)
def test_the_toolkit_has_a_version(
    files: dict[str, str], l4t: str | None, version: str | None, tmp_path: Path
) -> None:
    """It is in a file, printed by nvcc, or known by the release of a Jetson."""
    assert version == toolkit(write(tmp_path, files), l4t)


def card(name: str, compute: str | None, driver: str = "580.65", **values: Any) -> Gpu:
    return Gpu("nvidia", name, "cuda", 8 * GB, 8 * GB, compute_capability=compute, driver=driver, **values)


def machine(gpu: Gpu, toolkit: str | None, llama: LlamaBuild | None = None) -> HardwareProfile:
    cpus = [CpuClass([0, 1, 2, 3], None, 3000, None, ("avx", "avx2"))]
    return HardwareProfile(cpus, None, Memory(16 * GB, 14 * GB, None), gpus=(gpu,), cuda=toolkit, llama=llama)


@pytest.mark.parametrize(
    ("gpu", "toolkit", "problem"),
    [
        (card("Tegra X1", "5.3", "32.7.4", shared=True), "10.2", "too old to build llama.cpp"),
        (card("Tegra X2", "6.2", "32.7.4", shared=True), "10.2", "too old to build llama.cpp"),
        (card("NVIDIA GeForce GTX 1080", "6.1"), "13.0", "no longer supports"),
        (card("GeForce GTX 1080", None), "13.0", "no longer supports"),
        (card("Tesla V100-SXM2-16GB", "7.0"), "13.1", "no longer supports"),
        (card("NVIDIA GeForce RTX 5070", "12.0"), "12.4", "it takes 12.8"),
        (card("NVIDIA GeForce RTX 4070", "8.9"), "11.5", "it takes 11.8"),
        (card("NVIDIA GeForce RTX 3060", "8.6", "470.82"), "12.2", "the driver 470.82"),
        (card("Tesla K80", "3.7"), None, "too old for llama.cpp"),
        (card("NVIDIA GeForce GTX 1080", "6.1"), "12.4", None),
        (card("NVIDIA GeForce GTX 1080", "6.1"), None, None),
        (card("NVIDIA GeForce RTX 2060", "7.5"), "13.0", None),
        (card("NVIDIA GeForce RTX 5070", "12.0"), "12.8", None),
        (card("Xavier", "7.2", "35.4.1", shared=True), "11.4", None),
        (card("Orin", "8.7", "36.4.3", shared=True), "12.2", None),
        (card("Some card", None, "nvidia"), "12.4", None),
    ],
    ids=lambda value: value.name if isinstance(value, Gpu) else "",
)
def test_a_toolkit_suits_a_card_or_not(gpu: Gpu, toolkit: str | None, problem: str | None) -> None:
    """What does not suit is told by the plan, which takes the CPU, and by doctor."""
    profile = machine(gpu, toolkit)
    assert (problem or "") in (cuda_problem(gpu, profile) or "")
    assert (problem is None) is (cuda_problem(gpu, profile) is None)
    if problem:
        assert choose_gpu(profile).gpu is None
        assert problem in (choose_gpu(profile).reason or "")
        assert problem in check_gpu(profile, Settings(), "rebuild")[0].text


def test_a_build_with_cuda_proves_that_it_suits() -> None:
    """The toolkit may have been replaced since."""
    gpu = card("NVIDIA GeForce GTX 1080", "6.1")
    assert None is cuda_problem(gpu, machine(gpu, "13.0", LlamaBuild("1", (), ("cuda",))))
    assert cuda_problem(gpu, machine(gpu, "13.0", LlamaBuild("1")))


def test_doctor_names_the_toolkit_that_still_knows_an_old_card() -> None:
    """The newest does not."""
    old, new = card("NVIDIA GeForce GTX 1080", "6.1"), card("NVIDIA GeForce RTX 3060", "8.6")
    built = LlamaBuild("1")
    assert "toolkit 12" in (check_gpu(machine(old, None, built), Settings(), "rebuild")[0].fix or "")
    assert "toolkit 12" not in (check_gpu(machine(new, None, built), Settings(), "rebuild")[0].fix or "")


def test_a_jetson_with_an_old_jetpack_uses_its_cpu(tmp_path: Path) -> None:
    """Its release tells which CUDA it has."""
    files = PI4 | device_tree("NVIDIA Jetson TX2", "nvidia,p2771-0000", "nvidia,tegra186")
    files |= {"etc/nv_tegra_release": "# R32 (release), REVISION: 7.4, GCID: 1, BOARD: t186ref\n"}
    profile = detect(write(tmp_path, files))
    assert "10.2" == profile.cuda
    assert choose_gpu(profile).gpu is None
