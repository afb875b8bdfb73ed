"""Graphics processors, and how llama.cpp would reach them."""

from __future__ import annotations

from typing import Literal

import msgspec

Api = Literal["cuda", "metal", "vulkan", "rocm"]
"""How llama.cpp would reach a GPU."""


class Gpu(msgspec.Struct, frozen=True):
    """Attributes:
    vendor: "nvidia", "apple", "amd", "intel", "arm" (Mali), "broadcom" (VideoCore), "qualcomm", ...
    name: as its driver calls it, else what its ids tell.
    api: None where llama.cpp has no use for it, or no way to it: its driver is missing.
    memory: bytes it has, or may use of the RAM.
    available: bytes of those that are free now.
    shared: its memory is the machine's RAM.
    compute_capability: of an NVIDIA card, such as "8.6".
    driver: its version, or its name where it has no version. None where there is no driver.
    """

    vendor: str
    name: str
    api: Api | None = None
    memory: int | None = None
    available: int | None = None
    shared: bool = False
    compute_capability: str | None = None
    driver: str | None = None

    @property
    def lacks_driver(self) -> bool:
        """It would be of use if its maker's driver were there, or were passed into this container."""
        return self.api is None and self.vendor in ("nvidia", "amd", "intel")
