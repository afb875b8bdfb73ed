"""Systems on a chip by their names in the device tree."""

from __future__ import annotations

import msgspec


class Soc(msgspec.Struct, frozen=True):
    """A system on a chip: the family of its boards, and what it has in addition to CPUs."""

    family: str
    gpu_vendor: str
    gpu: str
    npu: str | None = None


def _apple(chip: str) -> Soc:
    """Describe a Mac under Linux, whose family is that under macOS."""
    family = f"apple-{chip.lower().replace(' ', '-')}"
    return Soc(family, "apple", f"Apple {chip}", "Apple Neural Engine")


SOCS = {
    "brcm,bcm2710": Soc("raspberry-pi-3", "broadcom", "VideoCore IV"),
    "brcm,bcm2837": Soc("raspberry-pi-3", "broadcom", "VideoCore IV"),
    "brcm,bcm2711": Soc("raspberry-pi-4", "broadcom", "VideoCore VI"),
    "brcm,bcm2712": Soc("raspberry-pi-5", "broadcom", "VideoCore VII"),
    "rockchip,rk3328": Soc("rk3328", "arm", "Mali-450"),
    "rockchip,rk3399": Soc("rk3399", "arm", "Mali-T860"),
    "rockchip,rk3528": Soc("rk3528", "arm", "Mali-450"),
    "rockchip,rk3562": Soc("rk3562", "arm", "Mali-G52", "RKNPU"),
    "rockchip,rk3566": Soc("rk3566", "arm", "Mali-G52", "RKNPU"),
    "rockchip,rk3568": Soc("rk3568", "arm", "Mali-G52", "RKNPU"),
    "rockchip,rk3576": Soc("rk3576", "arm", "Mali-G52", "RKNPU"),
    "rockchip,rk3582": Soc("rk3588", "arm", "Mali-G610", "RKNPU"),
    "rockchip,rk3588": Soc("rk3588", "arm", "Mali-G610", "RKNPU"),
    "rockchip,rk3588s": Soc("rk3588", "arm", "Mali-G610", "RKNPU"),
    "allwinner,sun50i-a64": Soc("allwinner-a64", "arm", "Mali-400"),
    "allwinner,sun50i-h5": Soc("allwinner-h5", "arm", "Mali-450"),
    "allwinner,sun50i-h6": Soc("allwinner-h6", "arm", "Mali-T720"),
    "allwinner,sun50i-h616": Soc("allwinner-h616", "arm", "Mali-G31"),
    "allwinner,sun50i-h618": Soc("allwinner-h616", "arm", "Mali-G31"),
    "allwinner,sun55i-a523": Soc("allwinner-a523", "arm", "Mali-G57"),
    "allwinner,sun55i-a527": Soc("allwinner-a523", "arm", "Mali-G57", "Allwinner NPU"),
    "allwinner,sun55i-t527": Soc("allwinner-a523", "arm", "Mali-G57", "Allwinner NPU"),
    "allwinner,sun60i-a733": Soc("allwinner-a733", "imagination", "PowerVR BXM-4-64", "Allwinner NPU"),
    "amlogic,meson-gxbb": Soc("amlogic-s905", "arm", "Mali-450"),
    "amlogic,meson-gxl": Soc("amlogic-s905x", "arm", "Mali-450"),
    "amlogic,meson-gxm": Soc("amlogic-s912", "arm", "Mali-T820"),
    "amlogic,s905x": Soc("amlogic-s905x", "arm", "Mali-450"),
    "amlogic,s905d": Soc("amlogic-s905x", "arm", "Mali-450"),
    "amlogic,s912": Soc("amlogic-s912", "arm", "Mali-T820"),
    "amlogic,a311d": Soc("amlogic-a311d", "arm", "Mali-G52", "Amlogic NPU"),
    "amlogic,s922x": Soc("amlogic-s922x", "arm", "Mali-G52"),
    "amlogic,g12b": Soc("amlogic-s922x", "arm", "Mali-G52"),
    "amlogic,g12a": Soc("amlogic-s905x2", "arm", "Mali-G31"),
    "amlogic,sm1": Soc("amlogic-s905x3", "arm", "Mali-G31"),
    "amlogic,s4": Soc("amlogic-s905x4", "arm", "Mali-G31"),
    "amlogic,a311d2": Soc("amlogic-a311d2", "arm", "Mali-G52", "Amlogic NPU"),
    "cix,sky1": Soc("cix-p1", "arm", "Mali-G720", "Zhouyi NPU"),
    "fsl,imx8mp": Soc("imx8mp", "vivante", "GC7000UL", "VIP8000"),
    "mediatek,mt8390": Soc("genio-700", "arm", "Mali-G57", "MediaTek APU"),
    "mediatek,mt8395": Soc("genio-1200", "arm", "Mali-G57", "MediaTek APU"),
    "qcom,qcm6490": Soc("qcs6490", "qualcomm", "Adreno 643", "Hexagon"),
    "qcom,qcs6490": Soc("qcs6490", "qualcomm", "Adreno 643", "Hexagon"),
    "qcom,sc8280xp": Soc("snapdragon-8cx-gen3", "qualcomm", "Adreno 690", "Hexagon"),
    "qcom,sm8550": Soc("snapdragon-8-gen-2", "qualcomm", "Adreno 740", "Hexagon"),
    "qcom,x1e001de": Soc("snapdragon-x", "qualcomm", "Adreno X1", "Hexagon"),
    "qcom,x1e78100": Soc("snapdragon-x", "qualcomm", "Adreno X1", "Hexagon"),
    "qcom,x1e80100": Soc("snapdragon-x", "qualcomm", "Adreno X1", "Hexagon"),
    "qcom,x1p42100": Soc("snapdragon-x", "qualcomm", "Adreno X1", "Hexagon"),
    "qcom,x1p64100": Soc("snapdragon-x", "qualcomm", "Adreno X1", "Hexagon"),
    "starfive,jh7110": Soc("starfive-jh7110", "imagination", "PowerVR BXE-4-32"),
    "spacemit,k1": Soc("spacemit-k1", "imagination", "PowerVR BXE-2-32", "SpacemiT AI cores"),
    "spacemit,k1-x": Soc("spacemit-k1", "imagination", "PowerVR BXE-2-32", "SpacemiT AI cores"),
    "thead,th1520": Soc("th1520", "imagination", "PowerVR BXM-4-64", "TH1520 NPU"),
    "eswin,eic7700": Soc("eic7700", "imagination", "PowerVR AXM-8-256", "ESWIN NPU"),
    "sophgo,sg2042": Soc("sg2042", "", ""),
    "apple,t8103": _apple("M1"),
    "apple,t6000": _apple("M1 Pro"),
    "apple,t6001": _apple("M1 Max"),
    "apple,t6002": _apple("M1 Ultra"),
    "apple,t8112": _apple("M2"),
    "apple,t6020": _apple("M2 Pro"),
    "apple,t6021": _apple("M2 Max"),
    "apple,t6022": _apple("M2 Ultra"),
}
"""Name in the device tree -> chip. Vendor kernels call an RK3588S rk3588, so the two are one family."""


def soc(compatible: tuple[str, ...]) -> Soc | None:
    return next((SOCS[word] for word in compatible if word in SOCS), None)
