"""Detection of boards."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.hardware import Board, detect
from edgeinfer.hardware.board import family
from tests.support.hardware import device_tree, pci, write


@pytest.mark.parametrize(
    ("compatible", "expected"),
    [
        ("raspberrypi,3-model-b-plus brcm,bcm2837", "raspberry-pi-3"),
        ("raspberrypi,3-compute-module brcm,bcm2837", "raspberry-pi-3"),
        ("raspberrypi,model-zero-2-w brcm,bcm2837", "raspberry-pi-zero-2"),
        ("raspberrypi,4-model-b brcm,bcm2711", "raspberry-pi-4"),
        ("raspberrypi,400 brcm,bcm2711", "raspberry-pi-4"),
        ("raspberrypi,4-compute-module brcm,bcm2711", "raspberry-pi-4"),
        ("raspberrypi,5-model-b brcm,bcm2712", "raspberry-pi-5"),
        ("raspberrypi,500 brcm,bcm2712", "raspberry-pi-5"),
        ("raspberrypi,5-compute-module brcm,bcm2712", "raspberry-pi-5"),
        ("radxa,rock-5b rockchip,rk3588", "rk3588"),
        ("radxa,rock-5a rockchip,rk3588s", "rk3588"),
        ("xunlong,orangepi-5-plus rockchip,rk3588", "rk3588"),
        ("radxa,rock-4d rockchip,rk3576", "rk3576"),
        ("xunlong,orangepi-3b rockchip,rk3566", "rk3566"),
        ("radxa,rock3a rockchip,rk3568", "rk3568"),
        ("nvidia,p3768-0000+p3767-0005-super nvidia,p3767-0005 nvidia,tegra234", "jetson-orin-nano"),
        ("nvidia,p3768-0000+p3767-0003 nvidia,p3767-0003 nvidia,tegra234", "jetson-orin-nano"),
        ("nvidia,p3768-0000+p3767-0000 nvidia,p3767-0000 nvidia,tegra234", "jetson-orin-nx"),
        ("nvidia,p3737-0000+p3701-0000 nvidia,p3701-0000 nvidia,tegra234", "jetson-agx-orin"),
        ("nvidia,p3509-0000+p3668-0000 nvidia,tegra194", "jetson-xavier-nx"),
        ("nvidia,p2972-0000 nvidia,tegra194", "jetson-agx-xavier"),
        ("nvidia,p3450-0000 nvidia,tegra210", "jetson-nano"),
        ("nvidia,p3971-0089+p3834-0008 nvidia,p3834-0008 nvidia,tegra264", "jetson-thor"),
        ("nvidia,p3767-0004 nvidia,tegra234", "jetson-orin-nano-4gb"),
        ("libretech,aml-s905x-cc amlogic,s905x amlogic,meson-gxl", "amlogic-s905x"),
        ("khadas,vim3 amlogic,a311d amlogic,g12b", "amlogic-a311d"),
        ("hardkernel,odroid-n2-plus amlogic,s922x amlogic,g12b", "amlogic-s922x"),
        ("hardkernel,odroid-c4 amlogic,sm1", "amlogic-s905x3"),
        ("xunlong,orangepi-zero2 allwinner,sun50i-h616", "allwinner-h616"),
        ("xunlong,orangepi-zero3 allwinner,sun50i-h618", "allwinner-h616"),
        ("radxa,cubie-a5e allwinner,sun55i-a527", "allwinner-a523"),
        ("radxa,orion-o6 cix,sky1", "cix-p1"),
        ("starfive,visionfive-2-v1.3b starfive,jh7110", "starfive-jh7110"),
        ("bananapi,bpi-f3 spacemit,k1", "spacemit-k1"),
        ("lenovo,thinkpad-t14s qcom,x1e78100 qcom,x1e80100", "snapdragon-x"),
        ("apple,j313 apple,t8103 apple,arm-platform", "apple-m1"),
        ("apple,j316s apple,t6000 apple,arm-platform", "apple-m1-pro"),
        ("example,board example,chip", None),
        ("", None),
    ],
)
def test_boards_of_a_chip_are_a_family(compatible: str, expected: str | None) -> None:
    """Compute modules and keyboards are as fast as the board with the same chip."""
    assert expected == family(tuple(compatible.split()))


def test_a_device_tree_may_be_hidden_in_one_of_two_places(tmp_path: Path) -> None:
    """/proc/device-tree is a link that some containers break."""
    files = {
        name.replace("proc/device-tree", "sys/firmware/devicetree/base"): text for name, text in PI.items()
    }
    assert (
        Board("Raspberry Pi 5", ("brcm,bcm2712",), "raspberry-pi-5") == detect(write(tmp_path, files)).board
    )


PI = device_tree("Raspberry Pi 5", "brcm,bcm2712")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4"),
        ("Raspberry Pi 400 Rev 1.0", "raspberry-pi-4"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "raspberry-pi-5"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "raspberry-pi-zero-2"),
        ("Some other board", None),
    ],
)
def test_a_raspberry_pi_is_known_in_docker(model: str, expected: str | None, tmp_path: Path) -> None:
    """Its kernel names it in /proc/cpuinfo, while the device tree is hidden."""
    text = f"processor\t: 0\nCPU part\t: 0xd08\n\nRevision\t: c03114\nModel\t\t: {model}\n"
    assert Board(model, (), expected) == detect(write(tmp_path, {"proc/cpuinfo": text})).board


def dmi(**names: str) -> dict[str, str]:
    return {f"sys/class/dmi/id/{name}": f"{text}\n" for name, text in names.items()}


@pytest.mark.parametrize(
    ("files", "model"),
    [
        (dmi(sys_vendor="LENOVO", product_name="21CB"), "LENOVO 21CB"),
        (dmi(sys_vendor="QEMU", product_name="QEMU Virtual Machine"), "QEMU Virtual Machine"),
        (dmi(sys_vendor="Default string", product_name="NUC"), "NUC"),
        (
            dmi(product_name="To Be Filled By O.E.M.", board_vendor="ASRock", board_name="B450M"),
            "ASRock B450M",
        ),
        (dmi(product_name="To Be Filled By O.E.M.", board_name="Default string"), None),
        (dmi(product_name="\x1b]0;owned\x07 PC \t X"), "]0;owned PC X"),
    ],
)
def test_a_pc_is_called_what_its_firmware_says(
    files: dict[str, str], model: str | None, tmp_path: Path
) -> None:
    """Placeholders are ignored, and control characters are removed."""
    board = detect(write(tmp_path, files)).board
    assert model == (board.model if board else None)


@pytest.mark.parametrize(
    ("files", "npu"),
    [
        (pci("0000:01:00.0", "120000", "1E60:2864", "hailo"), "Hailo-8"),
        (pci("0000:00:0b.0", "120000", "8086:7D1D", "intel_vpu"), "Intel NPU"),
        (device_tree("Pi", "brcm,bcm2712") | pci("0001:01:00.0", "120000", "1E60:45C4"), "Hailo-10H"),
        (
            device_tree("Rock", "rockchip,rk3588") | pci("0001:01:00.0", "120000", "1E60:2864"),
            "RKNPU, Hailo-8",
        ),
        (device_tree("Orion O6", "cix,sky1"), "Zhouyi NPU"),
        (device_tree("BPI-F3", "spacemit,k1"), "SpacemiT AI cores"),
        (device_tree("T14s", "qcom,x1e78100", "qcom,x1e80100"), "Hexagon"),
        (device_tree("VisionFive 2", "starfive,jh7110"), None),
        ({"sys/class/accel/accel0/device/uevent": "DRIVER=habanalabs\n"}, "habanalabs"),
        (pci("0000:00:02.0", "30000", "8086:46A6", "i915"), None),
    ],
)
def test_neural_processors_are_named(files: dict[str, str], npu: str | None, tmp_path: Path) -> None:
    """The name comes from the bus or the chip, else from the driver."""
    assert npu == detect(write(tmp_path, files)).npu
