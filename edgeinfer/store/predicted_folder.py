"""Predicts what a model's folder with safetensors says, from its shape in the catalogue, to plan without a network."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.safetensors.folder import ModelFolder
from edgeinfer.store.catalogue import ModelSpec

WIDTHS = {"BF16": 2, "F16": 2, "F32": 4}
"""Bytes of an element."""


def predicted_folder(name: str, spec: ModelSpec) -> ModelFolder | None:
    """Predict the folder of a catalogue model; None if it has no safetensors, or the catalogue no shape of it."""
    shape, source = spec.shape, spec.safetensors
    if shape is None or source is None or spec.parameters is None:
        return None
    return ModelFolder(
        path=Path(name),
        architecture=shape.arch,
        dtype=source.dtype,
        size=spec.parameters * WIDTHS[source.dtype],
        parameters=spec.parameters,
        context=spec.context,
        vocabulary=shape.vocabulary,
        embedding=shape.embedding,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=max(shape.kv_heads) if isinstance(shape.kv_heads, list) else shape.kv_heads,
        head_size=shape.head_size,
        eos=(),
        sampling={},
    )
