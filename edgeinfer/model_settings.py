"""The settings of models, and the configuration file's `[models.NAME]` tables, which give one model its own."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgeinfer.errors import SettingsError
from edgeinfer.value_errors import advice, sentence

MODELS = "models"
"""Name of the tables for single models in the configuration file."""

DEFAULT = "default"
"""Name under which requests always get the default model."""

ALIASES = "aliases"
"""Key in such a table for other names of the model."""

MAX_NAME = 200
"""Characters that a table's name or an alias may have."""


def doc(text: str, **bounds: Any) -> Any:
    return Meta(description=text, **bounds)


class ModelSettings(msgspec.Struct, frozen=True):
    """Settings of a model. In `Settings` they apply to every model, in `[models.NAME]` to that one."""

    model: Annotated[
        str | None,
        doc(
            "Model to serve: a GGUF file or an installed model's name. If unset, the chat model installed last, or else the bundled one."
        ),
    ] = None
    engine: Annotated[
        Literal["auto", "llama.cpp", "vllm"],
        doc(
            "What computes a model that is installed in both formats: llama.cpp reads GGUF files, vLLM folders with "
            "safetensors. The plan chooses vLLM for cards of 8 GB and more, if it is installed."
        ),
    ] = "auto"
    ctx: Annotated[
        Annotated[int, Meta(ge=16)] | None,
        doc(
            "Tokens that one conversation may hold, prompt and answer together: 4096, or more if memory allows."
        ),
    ] = None
    parallel: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None, doc("Answers generated at the same time.")
    ] = None
    threads: Annotated[Annotated[int, Meta(ge=1, le=512)] | None, doc("Compute threads.")] = None
    layout: Annotated[
        Literal["streams", "unified"] | None,
        doc("KV cache layout: streams of parallel x ctx cells, or one pool shared by all."),
    ] = None
    cells: Annotated[Annotated[int, Meta(ge=256)] | None, doc("Size of the unified KV pool in tokens.")] = (
        None
    )
    flash_attention: Annotated[bool | None, doc("Compute attention in one fused step (flash attention).")] = (
        None
    )
    kv_type: Annotated[
        Literal["f32", "f16", "bf16", "q8_0", "q4_0"] | None, doc("Element type of the KV cache.")
    ] = None
    batch: Annotated[Annotated[int, Meta(ge=8)] | None, doc("Maximum prefill chunk in tokens.")] = None
    ubatch: Annotated[Annotated[int, Meta(ge=8)] | None, doc("Tokens that llama.cpp computes at once.")] = (
        None
    )
    ram_cache_mb: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        doc(
            "Megabytes of RAM for conversations and prompts that had to make room in the KV cache, to copy them back in "
            "place of computing them again: a tenth of what is free, up to 4096; 0 keeps none."
        ),
    ] = None
    gpu_layers: Annotated[
        Annotated[int, Meta(ge=-1)] | None, doc("Layers placed on the GPU; -1 places all of them.")
    ] = None
    force: Annotated[bool, doc("Run a model even if it needs more memory than there is.")] = False
    step_ms: Annotated[
        float, doc("Target milliseconds for a step that also computes a prompt while answers stream.", ge=10)
    ] = 250.0
    max_draft: Annotated[
        int,
        doc(
            "Guessed tokens that one step may check, where an answer repeats a passage or the request's prediction; "
            "0 switches speculation off.",
            ge=0,
            le=64,
        ),
    ] = 15
    draft_model: Annotated[
        str | None,
        doc(
            "A much smaller model of the same vocabulary that guesses tokens where that pays: an installed model's name, a "
            "GGUF file, or auto, the one that the catalogue names. off, as if unset."
        ),
    ] = None
    deterministic: Annotated[
        bool,
        doc(
            "The same request gets the same text at temperature 0 or with a seed, whatever else is computed. Where "
            "the kernels do not see to that, which edgeinfer plan says, answers are computed one at a time, without a "
            "prefix cache and without guesses."
        ),
    ] = False
    keep_alive: Annotated[
        float,
        doc(
            "Seconds that a model loaded on demand stays loaded after its last answer; -1 keeps it loaded, and "
            "it then makes room for no other.",
            ge=-1,
        ),
    ] = 300.0


MODEL_FIELDS: dict[str, msgspec.structs.FieldInfo] = {
    f.name: f for f in msgspec.structs.fields(ModelSettings)
}
"""These settings, by name."""


def model_tables(content: Any, path: Path, settings: Collection[str]) -> dict[str, dict[str, Any]]:
    """The `[models.NAME]` tables of a configuration file, checked field by field; `settings`: those of the daemon.

    Raises:
        SettingsError: an unknown key, a bad value, or a name that two models claim.
    """
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: models is not a table", param=MODELS, hint="write [models.NAME]")
    tables = {name: _model_table(name, table, path, settings) for name, table in content.items()}
    owners: dict[str, str] = {}
    for name, table in tables.items():
        for claimed in dict.fromkeys((name, *table.get(ALIASES, ()))):
            if problem := _name_problem(claimed):
                raise SettingsError(
                    f"{path}: {table_header(name)}: {claimed[:100]!r} cannot be a model's name: {problem}",
                    param=MODELS,
                )
            if claimed in owners:
                where = f"{table_header(owners[claimed])} and {table_header(name)}"
                raise SettingsError(f"{path}: both {where} are called {claimed!r}", param=MODELS)
            owners[claimed] = name
    for name, table in tables.items():
        other = str(table.get("model", name))
        owner = owners.get(other, name)
        if owner != name and "model" in tables[owner]:
            raise SettingsError(
                f"{path}: {table_header(name)}: model {other!r} is another table",
                param="model",
                hint=f"write the model of {table_header(owner)}, or give that table an alias",
            )
    return tables


def _name_problem(name: str) -> str | None:
    """Explain why requests cannot ask for a model by this name; None if they can."""
    if name == DEFAULT:
        return "it always means the default model, whose settings stand above the tables"
    if not name or name != name.strip() or not name.isprintable():
        return "it is empty, or has spaces around it or control characters in it"
    return f"it has more than {MAX_NAME} characters" if len(name) > MAX_NAME else None


def _model_table(name: str, content: Any, path: Path, settings: Collection[str]) -> dict[str, Any]:
    where = f"{table_header(name)} of file {path}"
    if not isinstance(content, dict):
        hint = f"{name} applies to all models: write it above the tables" if name in settings else None
        raise SettingsError(
            f"{where} is not a table", param=MODELS, hint=hint or f"write {table_header(name)}"
        )
    table = {}
    for key, value in content.items():
        if key == ALIASES:
            kind: Any = tuple[str, ...]
        elif key in MODEL_FIELDS:
            kind = MODEL_FIELDS[key].type
        else:
            hint = nearest_setting(key, (*MODEL_FIELDS, ALIASES))
            if key in settings:
                hint = "it applies to all models: write it above the tables"
            elif isinstance(value, dict):
                hint = f"a name with a dot needs quotes: {table_header(f'{name}.{key}')}"
            raise SettingsError(f"unknown setting {key!r} in {where}", param=key, hint=hint)
        try:
            table[key] = msgspec.convert(value, kind)
        except msgspec.ValidationError as e:
            raise SettingsError(f"{where}: {key}: {sentence(e, kind)}", param=key, hint=advice(key)) from e
    return table


def table_header(name: str) -> str:
    plain = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
    return f"[models.{name}]" if plain else f"[models.{toml_string(name[:100])}]"


def toml_string(text: str) -> str:
    """A string as TOML writes it."""
    return msgspec.json.encode(text).decode()


def nearest_setting(key: str, names: Iterable[str]) -> str:
    names = list(names)
    close = difflib.get_close_matches(key, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"the settings are: {', '.join(names)}"
