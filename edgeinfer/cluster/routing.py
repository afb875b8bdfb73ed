"""What a request tells the router, which chooses a replica without reading the message itself."""

from __future__ import annotations

import hashlib

import msgspec

from edgeinfer.inference.types import Prompt

BLOCK = 1024
"""Bytes in a block of a prompt: some 250 tokens."""

MAX_BLOCKS = 64
"""Blocks of a prompt that are hashed; a longer common beginning makes no difference to the choice."""


LOADED_MODELS = "models"
"""What a replica tells all routers through Ray Serve: the names of the models that it has loaded, or loads."""


class RoutingKey(msgspec.Struct, frozen=True, array_like=True):
    """What a router may go by.

    Attributes:
        request: an id, the same in all attempts of a request: none goes to a replica where an earlier one was lost.
        model: the name of the model.
        session: the caller's conversation; "" if it has no name.
        blocks: a hash for each block of the prompt, which stands for everything up to its end: two prompts with the
            same nth hash begin with the same n blocks. Prompts of different cache domains have no hash in common.
    """

    request: str
    model: str
    session: str = ""
    blocks: tuple[bytes, ...] = ()


def prompt_blocks(prompt: Prompt, cache_domain: str = "") -> tuple[bytes, ...]:
    """The hashes of a prompt's blocks; a last block that is not full has none."""
    limit = BLOCK * MAX_BLOCKS
    content = bytearray()
    for part in prompt:
        if isinstance(part, int):
            content += part.to_bytes(4, "little")
        else:
            content += b"\0t" if part.trusted else b"\0u"
            content += part.text[:limit].encode(errors="surrogatepass")
        if len(content) >= limit:
            break
    running = hashlib.blake2b(cache_domain.encode(errors="surrogatepass") + b"\0", digest_size=8)
    blocks = []
    for end in range(BLOCK, min(len(content), limit) + 1, BLOCK):
        running.update(content[end - BLOCK : end])
        blocks.append(running.digest())
    return tuple(blocks)


def decode_key(key: bytes) -> RoutingKey:
    return _decoder.decode(key)


_decoder = msgspec.msgpack.Decoder(RoutingKey)
