"""A configuration of the fake model, for tests of what runs it in a worker."""

from __future__ import annotations

from typing import Any

import msgspec

from edgeinfer.backends.llama_cpp.config import LlamaConfig

CONFIG = LlamaConfig("fake", "fake", ctx=256, parallel=8, cells=2048, batch=64)


def config(layout: str = "streams", **changes: Any) -> LlamaConfig:
    return msgspec.structs.replace(CONFIG, layout=layout, **changes)
