"""Has llama.cpp load the models whose paths come on standard input, compute with them, embed and tokenize.

Tells of each when it begins, and how it went: "ok", another status of the decode, or "refused" and why. That a
model ends this process is what the caller wants to know.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
from edgeinfer.backends.llama_cpp.binding.embedder import open_embedder
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Batch
from edgeinfer.errors import EdgeinferError

TEXT = "".join(map(chr, (*range(1, 0x250), 0x5B57, 0xD55C, 0x301, 0x1F600))) + "<|im_start|>  \n\n"


def tried(path: str, log: LogCapture) -> str:
    config = LlamaConfig(model=path, name="t", ctx=64, parallel=1, cells=256, batch=32, ubatch=32, threads=1)
    log.errors.clear()
    try:
        model = LlamaModel(config, log)
    except EdgeinferError as e:
        return f"refused {e.message}"
    try:
        backend = LlamaBackend(model, config)
    except EdgeinferError as e:
        return f"refused {e.message}"
    else:
        batch = Batch(8)
        batch.add(0, 0, model.vocab.tokenize("abc def", special=True)[:8] or [0], output=True)
        status = backend.decode(batch)
        backend.close()
        with suppress(EdgeinferError):
            embedder = open_embedder(model, config)
            embedder.embed([model.vocab.tokenize(TEXT, special=True, add_special=True)[:32] or [0]])
            embedder.close()
        model.vocab.detokenize(model.vocab.tokenize(TEXT, special=False))
        return status.name.lower()
    finally:
        model.close()


def main() -> None:
    log = LogCapture(logging.getLogger("llama.cpp"))
    for line in sys.stdin:
        path = line.rstrip("\n")
        sys.stdout.write(f"begin {path}\n")
        sys.stdout.flush()
        sys.stdout.write(tried(path, log).replace("\n", " ") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
