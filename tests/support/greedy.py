"""Prints a greedy answer of the bundled model, and what has computed it, as JSON. The main module of a process.

llama.cpp runs in the process itself, so that an emulated one runs it emulated.
"""

from __future__ import annotations

import json
import logging
import sys

from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
from edgeinfer.backends.llama_cpp.binding.libraries import cpu_library, has_kernels, variant
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.sequence import Request
from edgeinfer.inference.sampling import SamplingParams
from tests.support.nano import PROMPTS
from tests.support.paths import BUNDLED

GREEDY = SamplingParams(temperature=0.0, max_tokens=24)


def main() -> None:
    config = LlamaConfig(model=str(BUNDLED), name="nano", ctx=256, parallel=1, cells=256, batch=64, threads=1)
    model = LlamaModel(config, LogCapture(logging.getLogger("llama.cpp")))
    backend = LlamaBackend(model, config)
    engine = Engine(backend, config, lambda: 0.0)
    engine.add(Request(0, model.vocab.tokenize(PROMPTS[0], special=True), GREEDY))
    text = ""
    while engine.has_work:
        text += "".join(delta.text for delta in engine.step())
    library = cpu_library()
    json.dump({"text": text, "variant": variant(library), "kernels": has_kernels(library)}, sys.stdout)


if __name__ == "__main__":
    main()
