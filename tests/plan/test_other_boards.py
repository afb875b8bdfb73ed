"""What a specialist would choose for machines that nobody has recorded, put together from a few facts each."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.hardware import detect
from edgeinfer.plan import choose
from edgeinfer.plan.available_options import model_options
from edgeinfer.settings import Settings
from tests.support.boards import (
    AVX2,
    AVX512,
    AVX_VNNI,
    SSE,
    V8_2,
    V9,
    ZEN4,
    Files,
    arc,
    arm,
    jetson,
    mac,
    nvidia,
    radeon,
    riscv,
    x86,
)
from tests.support.hardware import write

R1, SMALL, TINY, NANO = "deepseek-r1-distill-qwen-1.5b", "qwen3-0.6b", "granite-4.0-350m", "edgeinfer-nano"
OPTIONS = model_options()

PC = x86("13th Gen Intel(R) Core(TM) i5-13400", AVX_VNNI, 32, 6, 4600)
LAPTOP = x86("AMD Ryzen 7 7745HX with Radeon Graphics", ZEN4, 32, 8, 5100)

BOARDS: dict[str, tuple[Files, str, str, int, int]] = {
    "Pi Zero 2 W": (
        arm("Pi", "raspberrypi,model-zero-2-w brcm,bcm2837", 0.42, (0xD03, 4, 1000)),
        NANO,
        "",
        0,
        1,
    ),
    "Pi 3 B+": (arm("Pi", "brcm,bcm2837", 0.95, (0xD03, 4, 1400)), TINY, "Q4_K_M", 0, 4),
    "Pi 4, 1 GB": (arm("Pi", "brcm,bcm2711", 0.95, (0xD08, 4, 1800)), TINY, "Q4_K_M", 0, 4),
    "Pi 4, 8 GB": (arm("Pi", "brcm,bcm2711", 8, (0xD08, 4, 1800)), SMALL, "Q4_0", 0, 4),
    "CM5": (arm("Pi", "brcm,bcm2712", 4, (0xD0B, 4, 2400), features=V8_2), R1, "Q4_K_M", 0, 4),
    "Pi 5, 2 GB": (arm("Pi", "brcm,bcm2712", 2, (0xD0B, 4, 2400), features=V8_2), SMALL, "Q4_0", 0, 4),
    "ODROID-M1": (arm("M1", "rockchip,rk3568", 8, (0xD05, 4, 1992), features=V8_2), SMALL, "Q4_0", 0, 4),
    "Orange Pi Zero 2, 1 GB": (
        arm("Zero", "allwinner,sun50i-h616", 1, (0xD03, 4, 1512)),
        TINY,
        "Q4_K_M",
        0,
        4,
    ),
    "Khadas VIM3": (
        arm("VIM3", "amlogic,a311d amlogic,g12b", 4, (0xD03, 2, 1800), (0xD09, 4, 2208)),
        SMALL,
        "Q4_0",
        0,
        4,
    ),
    "ODROID-C4": (arm("C4", "amlogic,sm1", 4, (0xD05, 4, 2016), features=V8_2), SMALL, "Q4_0", 0, 4),
    "RockPro64": (
        arm("RockPro64", "rockchip,rk3399", 4, (0xD03, 4, 1416), (0xD08, 2, 1800)),
        SMALL,
        "Q4_0",
        0,
        2,
    ),
    "Orion O6": (
        arm("O6", "cix,sky1", 32, (0xD80, 4, 1800), (0xD81, 8, 2600), features=V9),
        R1,
        "Q4_K_M",
        0,
        8,
    ),
    "four A55 of a Rock 5B": (arm("", "", 8, (0xD05, 4, 1800), features=V8_2), SMALL, "Q4_0", 0, 4),
    "N305": (x86("Intel(R) Core(TM) i3-N305", AVX_VNNI, 16, 8, 3800, threads=1), R1, "Q4_K_M", 0, 8),
    "J4125": (
        x86("Intel(R) Celeron(R) J4125 CPU @ 2.00GHz", SSE, 8, 4, 2700, threads=1),
        SMALL,
        "Q4_0",
        0,
        4,
    ),
    "i7-8550U": (x86("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", AVX2, 16, 4, 4000), R1, "Q4_K_M", 0, 4),
    "Ryzen 5 5600G": (
        x86("AMD Ryzen 5 5600G", AVX2, 16, 6, 4464) | radeon("1638", 2, 7, "0000:05:00.0"),
        R1,
        "Q4_K_M",
        0,
        6,
    ),
    "Steam Deck": (
        x86("AMD Custom APU 0405", AVX2, 16, 4, 3500) | radeon("163F", 1, 7.2),
        R1,
        "Q5_K_M",
        -1,
        4,
    ),
    "Ryzen AI Max 385": (
        x86("AMD RYZEN AI MAX 385", ZEN4, 64, 8, 5000) | radeon("1586", 0.5, 31),
        R1,
        "F16",
        -1,
        4,
    ),
    "GTX 1060 6GB": (PC | nvidia("NVIDIA GeForce GTX 1060 6GB", 6144, "6.1"), R1, "Q8_0", -1, 4),
    "GTX 1050 Ti": (PC | nvidia("NVIDIA GeForce GTX 1050 Ti", 4096, "6.1"), R1, "Q4_K_M", -1, 4),
    "GT 1030": (PC | nvidia("NVIDIA GeForce GT 1030", 2048, "6.1"), R1, "Q4_K_M", 0, 6),
    "RTX 2080 Ti": (PC | nvidia("NVIDIA GeForce RTX 2080 Ti", 11264, "7.5"), R1, "F16", -1, 4),
    "RTX 3050 laptop": (
        LAPTOP | nvidia("NVIDIA GeForce RTX 3050 Laptop GPU", 4096, "8.6"),
        R1,
        "Q8_0",
        -1,
        4,
    ),
    "RTX 5070 laptop": (
        LAPTOP | nvidia("NVIDIA GeForce RTX 5070 Laptop GPU", 8151, "12.0"),
        R1,
        "F16",
        -1,
        4,
    ),
    "an unknown laptop card": (
        LAPTOP | nvidia("NVIDIA GeForce RTX 6050 Laptop GPU", 8151, "13.0"),
        R1,
        "Q6_K",
        -1,
        4,
    ),
    "Tesla K80": (PC | nvidia("Tesla K80", 11441, "3.7", "470.256"), R1, "Q4_K_M", 0, 6),
    "T1000": (PC | nvidia("NVIDIA T1000 8GB", 8192, "7.5"), R1, "Q8_0", -1, 4),
    "H100": (
        x86("Intel(R) Xeon(R) Platinum 8480C", AVX512, 1000, 112, 3800, sockets=2)
        | nvidia("NVIDIA H100 80GB HBM3", 81559, "9.0"),
        R1,
        "F16",
        -1,
        4,
    ),
    "GH200": (
        arm("", "", 480, (0xD4F, 72, 3375), features=V9) | nvidia("NVIDIA GH200 480GB", 97871, "9.0"),
        R1,
        "F16",
        -1,
        4,
    ),
    "GB10": (
        arm("", "", 120, (0xD87, 10, 2808), (0xD85, 10, 3900), features=V9)
        | nvidia("NVIDIA GB10", None, "12.1"),
        R1,
        "F16",
        -1,
        4,
    ),
    "RX 580": (PC | radeon("67DF", 8), R1, "Q8_0", -1, 4),
    "RX 7900 XTX": (PC | radeon("744C", 24), R1, "F16", -1, 4),
    "RX 9070": (PC | radeon("7550", 16), R1, "F16", -1, 4),
    "Arc A770": (PC | arc("56A0", 16), R1, "Q8_0", -1, 4),
    "Arc B580": (PC | arc("E20B", 12), R1, "F16", -1, 4),
    "Jetson TX2": (jetson("p2771-0000", "tegra186", "32.7.4", 8, 0xD07, 4, 2035), SMALL, "Q4_0", 0, 4),
    "Xavier NX": (
        jetson("p3509-0000+p3668-0000", "tegra194", "35.4.1", 8, 0x4E0004, 6, 1900),
        R1,
        "Q4_K_M",
        -1,
        4,
    ),
    "AGX Orin": (jetson("p3701-0005", "tegra234", "36.4.3", 64, 0xD42, 12, 2201), R1, "Q8_0", -1, 4),
    "M3 Ultra": (mac("M3 Ultra", 256, 24, 8), R1, "F16", -1, 4),
    "M5": (mac("M5", 16, 4, 6), R1, "Q8_0", -1, 4),
    "a Mac of the future": (mac("M9", 16, 4, 4), R1, "Q4_K_M", -1, 4),
    "M1 under Linux": (
        arm("Mac", "apple,j313 apple,t8103", 8, (0x610022, 4, 2064), (0x610023, 4, 3204), features=V8_2),
        R1,
        "Q4_K_M",
        0,
        4,
    ),
    "Snapdragon X": (
        arm("T14s", "qcom,x1e80100", 32, (0x510001, 12, 3400), features=V9),
        R1,
        "Q4_K_M",
        0,
        12,
    ),
    "VisionFive 2": (
        riscv("VF2", "starfive,jh7110", 8, 4, 1500, "sifive,u74-mc", "rv64imafdc_zba"),
        SMALL,
        "Q4_0",
        0,
        4,
    ),
    "Docker on a Mac": (arm("", "", 8, (0x610000, 4, None), features=V9), R1, "Q4_K_M", 0, 4),
    "two Xeons": (
        x86("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", AVX2, 128, 28, 3300, sockets=2),
        R1,
        "Q4_K_M",
        0,
        14,
    ),
    "a virtual machine without AVX": (
        x86("QEMU Virtual CPU version 2.5+", SSE, 4, 2, None, threads=1),
        SMALL,
        "Q4_0",
        0,
        2,
    ),
    "Altra": (arm("", "", 128, (0xD0C, 80, 3000), features=V8_2), R1, "Q5_K_M", 0, 80),
}
"""Name -> facts, and what to choose: model, quantization, layers on the GPU, threads."""


@pytest.mark.parametrize("name", BOARDS)
def test_a_specialist_would_choose_the_same(name: str, tmp_path: Path) -> None:
    """The model is fast enough to read along where one is, and better where the machine is faster."""
    files, model, quant, layers, threads = BOARDS[name]
    choice = choose(detect(write(tmp_path, files)), OPTIONS, Settings())
    config = choice.plan.llama
    expected = (model, quant or choice.option.quant, layers, threads)
    assert expected == (choice.option.model, choice.option.quant, config.gpu_layers, config.threads)
    assert choice.plan.fits
    assert choice.plan.speed.decode
