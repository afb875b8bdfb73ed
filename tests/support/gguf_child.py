"""Has llama.cpp load the models whose paths come on standard input, compute with them, embed or rerank, and tokenize.

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
from edgeinfer.backends.llama_cpp.binding.pair_tokenizer import open_pair_tokenizer
from edgeinfer.backends.llama_cpp.binding.reranker import open_reranker
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
        if model.info(config).reranks:
            return reranked(model, config)
        backend = LlamaBackend(model, config)
    except EdgeinferError as e:
        return f"refused {e.message}"
    else:
        batch = Batch(8)
        batch.add(0, 0, tokens(model, "abc def")[:8] or [0], output=True)
        status = backend.decode(batch)
        backend.close()
        with suppress(EdgeinferError):
            embedder = open_embedder(model, config)
            embedder.embed([model.vocab.tokenize(TEXT, special=True, add_special=True)[:32] or [0]])
            embedder.close()
        model.vocab.detokenize(tokens(model, TEXT))
        return status.name.lower()
    finally:
        model.close()


def reranked(model: LlamaModel, config: LlamaConfig) -> str:
    pairs = open_pair_tokenizer(model, config.ctx)
    reranker = open_reranker(model, config)
    try:
        reranker.embed(pairs.pairs("the sky", ["is blue", "is the light"]))
    finally:
        reranker.close()
    return "ok"


def tokens(model: LlamaModel, text: str) -> list[int]:
    """The tokens of a text; none if the vocabulary cannot write it."""
    with suppress(EdgeinferError):
        return model.vocab.tokenize(text, special=True)
    return []


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
