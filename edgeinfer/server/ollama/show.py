"""POST /api/show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.body import read
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.ollama import times
from edgeinfer.server.ollama.model_facts import (
    capabilities,
    context_length,
    details,
    has_infill,
    parameter_count,
    stored_files,
)
from edgeinfer.server.ollama.names import tagged_name
from edgeinfer.server.ollama.schemas.models import ShowRequest
from edgeinfer.server.ollama.types import ShownModel
from edgeinfer.server.state import state_of
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.sampling import recommended_sampling
from edgeinfer.store.file_facts import FileFacts, read_metadata

COPILOT = "GitHubCopilotChat/"
"""How the User-Agent of a client begins that shows `general.basename` as the name of a model."""

INFILL_NOTE = "{#- .Suffix: this model fills gaps, see the suffix of /api/generate -#}\n"
"""Editors look for ".Suffix" in the template, to know whether a model can fill gaps. Ours is a comment."""

LEFT_OUT = ("general.name", "tokenizer.chat_template")
"""Keys of the header that have a field of their own."""

MAX_LIST = 5
"""Values of a list that are shown."""

MAX_VALUE = 4096
"""Characters of a text that is shown."""


async def show(request: Request) -> Response:
    """What is known of one model: its template, its parameters and the metadata of its file."""
    body = await read(request, ShowRequest)
    state = state_of(request)
    model = state.registry.get(body.model)
    facts = await state.model_files.facts(model)
    metadata = await asyncio.to_thread(read_metadata, facts.path) if facts else {}
    file = (await stored_files(state, [model])).get(model)
    info = _model_info(model, facts, metadata)
    if request.headers.get("user-agent", "").startswith(COPILOT):
        info["general.basename"] = body.model
    template, parameters = _template(model, facts), "\n".join(_parameters(model, facts))
    shown = ShownModel(
        _modelfile(model, template, parameters),
        parameters,
        template,
        details(model, facts),
        info,
        capabilities(model, facts),
        file.modified_at if file else times.from_timestamp(model.created),
    )
    if licence := metadata.get("general.license"):
        shown.license = str(licence)
    return json_response(shown)


def _model_info(model: ServedModel, facts: FileFacts | None, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The header's metadata, without long values; and what clients rely on, whether the file has it or not."""
    shown = {key: value for key, value in metadata.items() if key not in LEFT_OUT and _is_short(value)}
    known = details(model, facts)
    shown.setdefault("general.architecture", known.family)
    shown.setdefault("general.basename", model.name.partition(":")[0])
    shown.setdefault("general.parameter_count", parameter_count(model, facts))
    shown.setdefault(f"{known.family}.context_length", known.context_length)
    shown.setdefault(f"{known.family}.embedding_length", known.embedding_length)
    return shown


def _is_short(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= MAX_LIST
    return not isinstance(value, str) or len(value) <= MAX_VALUE


def _template(model: ServedModel, facts: FileFacts | None) -> str:
    """The model's own template, which is Jinja. Its first line says whether it can fill gaps."""
    info = model.info
    template = facts.template if facts else info.chat_templates.get("default", "") if info else ""
    return INFILL_NOTE + template if has_infill(model, facts) else template


def _parameters(model: ServedModel, facts: FileFacts | None) -> Iterator[str]:
    """Lines with a name and a value: the context, the text that ends an answer, and how to sample."""
    yield _parameter("num_ctx", context_length(model, facts))
    if info := model.info:
        if info.eos:
            yield _parameter("stop", json.dumps(info.eos, ensure_ascii=False))
        for name, value in recommended_sampling(info, model.recommended_sampling(thinks=True)).items():
            yield _parameter(name, value)


def _parameter(name: str, value: object) -> str:
    return f"{name:<30} {value}"


def _modelfile(model: ServedModel, template: str, parameters: str) -> str:
    lines = [f"PARAMETER {' '.join(line.split(maxsplit=1))}" for line in parameters.splitlines()]
    template = template.replace('"""', "'''")
    return "\n".join([f"FROM {tagged_name(model)}", f'TEMPLATE """{template}"""', *lines, ""])
