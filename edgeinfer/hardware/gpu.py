"""Describes graphics processors."""

from __future__ import annotations

from typing import Literal

import msgspec

Api = Literal["cuda", "metal", "vulkan", "rocm"]
"""APIs through which llama.cpp uses a GPU."""


class Gpu(msgspec.Struct, frozen=True):
    """A graphics processor.

    Attributes:
        vendor: "nvidia", "apple", "amd", "intel", "arm" (Mali), "broadcom" (VideoCore), "qualcomm", ...
        name: name from its driver, or else from its ids.
        api: None if llama.cpp cannot use it, or its driver is missing.
        memory: bytes it has, or may use of the RAM.
        available: bytes of `memory` that are free now.
        shared: its memory is the machine's RAM.
        compute_capability: such as "8.6"; only NVIDIA has one.
        driver: version of the driver, or its name if it has no version; None without a driver.
        index: its number among the cards of its API, as llama.cpp counts them; None if that is not known.
    """

    vendor: str
    name: str
    api: Api | None = None
    memory: int | None = None
    available: int | None = None
    shared: bool = False
    compute_capability: str | None = None
    driver: str | None = None
    index: int | None = None

    @property
    def lacks_driver(self) -> bool:
        """True if it could be used with its vendor's driver, or if a container were given access to it."""
        return self.api is None and self.vendor in ("nvidia", "amd", "intel")
