"""Checks the table by which the unigram tokenizer normalises texts: llama.cpp ends its process where it leads outside."""

from __future__ import annotations

import struct

CHARSMAP = "tokenizer.ggml.precompiled_charsmap"

VALUE_BIT, LEAF_BIT, WIDE_BIT = 1 << 31, 1 << 8, 1 << 9


def check_charsmap(data: bytes) -> None:
    """Raise ValueError unless each step from each node of the trie, and each replacement, is within the table.

    It holds the size of a double array, the array, and the replacements, each of which ends with a zero. From a node, a
    text's next byte leads to any other of the same 256.
    """
    if not data:
        return
    size = int.from_bytes(data[:4], "little")
    count, replacements = size // 4, data[4 + size :]
    if size % 4 or not count or not replacements or replacements[-1]:
        raise ValueError(f"{CHARSMAP} is cut off")
    nodes = struct.unpack(f"<{count}I", data[4 : 4 + size])
    for index, node in enumerate(nodes):
        if node & VALUE_BIT:
            continue
        base = (node >> 10) << ((node & WIDE_BIT) >> 6)
        target = index ^ base
        if target | 0xFF >= count or (node & LEAF_BIT and nodes[target] & ~VALUE_BIT >= len(replacements)):
            raise ValueError(f"{CHARSMAP} leads outside itself")
