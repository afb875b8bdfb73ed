"""A model without its last layers: the same vocabulary, other guesses."""

from __future__ import annotations

from pathlib import Path

import gguf


def write_shallow(source: Path, target: Path, layers: int, *, lost_tokens: int = 0) -> Path:
    """Write the first `layers` of a model to `target`; the last `lost_tokens` of its vocabulary are renamed."""
    reader = gguf.GGUFReader(source)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = field.contents()
        if name == f"{architecture}.block_count":
            value = layers
        if name == "tokenizer.ggml.tokens":
            kept = len(value) - lost_tokens
            value = [*value[:kept], *(f"[lost {i}]" for i in range(lost_tokens))]
        sub_type = field.types[-1] if field.types[0] is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], sub_type)
    for tensor in reader.tensors:
        parts = tensor.name.split(".")
        if parts[0] != "blk" or int(parts[1]) < layers:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
