"""GET /props: what llama-server's clients want to know about a model. It never loads one."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer import __version__
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.errors import NotImplementedHere, TemplateError
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import ModelInfo
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.llama_server.errors import check_not_loading
from edgeinfer.server.llama_server.generation_settings import GenerationSettings, generation_settings
from edgeinfer.server.model_files import smallest_context
from edgeinfer.server.state import state_of
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.sampling import resolve_sampling
from edgeinfer.store.file_facts import FileFacts

BUILD_INFO = f"edgeinfer-{__version__}"


class DefaultGenerationSettings(Struct):
    """What an answer is generated with if its request says nothing, and the context of one answer."""

    params: GenerationSettings
    n_ctx: int
    id: int = 0
    id_task: int = -1
    speculative: bool = False
    is_processing: bool = False


class Modalities(Struct):
    vision: bool = False
    video: bool = False
    audio: bool = False


class ChatTemplateCaps(Struct):
    """What can be sent to the model. Conversations are adapted to the template, so that is more than it shows."""

    supports_string_content: bool = True
    supports_typed_content: bool = True
    supports_tools: bool = True
    supports_tool_calls: bool = True
    supports_parallel_tool_calls: bool = True
    supports_system_role: bool = True
    supports_object_arguments: bool = True
    supports_preserve_reasoning: bool = False


class Props(Struct):
    """`chat_template_caps` is there while the model is loaded, since only then its template is rendered."""

    default_generation_settings: DefaultGenerationSettings
    total_slots: int
    model_alias: str
    model_path: str
    model_ftype: str
    chat_template: str
    bos_token: str
    eos_token: str
    is_sleeping: bool
    modalities: Modalities = field(default_factory=Modalities)
    chat_template_caps: ChatTemplateCaps | UnsetType = UNSET
    build_info: str = BUILD_INFO
    endpoint_slots: bool = True
    endpoint_props: bool = False
    endpoint_metrics: bool = True
    ui: bool = False


async def props(request: Request, model: str | None = None) -> Response:
    """The properties of the model, loaded or not: this neither loads it nor keeps it loaded."""
    state = state_of(request)
    served = state.registry.get(model)
    check_not_loading(served)
    facts = await state.model_files.facts(served)
    if info := served.info:
        return json_response(await _loaded(request, served, info, facts))
    return json_response(_unloaded(served, facts))


async def change_props(_request: Request) -> Response:
    """Refused: settings are changed in the configuration file."""
    raise NotImplementedHere(
        "properties cannot be changed by a request",
        hint="change the configuration file, then: edgeinfer reload",
    )


async def _loaded(request: Request, model: ServedModel, info: ModelInfo, facts: FileFacts | None) -> Props:
    builder = model.prompt_builder(info)
    params = resolve_sampling({}, info, model.recommended_sampling(thinks=True))
    found = Props(
        DefaultGenerationSettings(generation_settings(params), info.ctx, speculative=bool(info.draft_model)),
        total_slots=info.parallel,
        model_alias=model.name,
        model_path=info.path,
        model_ftype=(facts.file_type if facts else None) or "",
        chat_template=await builder.template(),
        bos_token=info.bos,
        eos_token=info.eos,
        is_sleeping=False,
    )
    if info.generates:
        found.chat_template_caps = await _caps(request, model, info)
    return found


async def _caps(request: Request, model: ServedModel, info: ModelInfo) -> ChatTemplateCaps:
    try:
        async with model.renderings.take(principal_of(request.scope).caller()):
            return _as_caps(await model.prompt_builder(info).capabilities(tools=True))
    except TemplateError:
        return ChatTemplateCaps(supports_tools=False, supports_tool_calls=False)


def _as_caps(capabilities: Capabilities) -> ChatTemplateCaps:
    return ChatTemplateCaps(supports_object_arguments=capabilities.arguments_object)


def _unloaded(model: ServedModel, facts: FileFacts | None) -> Props:
    least = smallest_context(model, facts) if facts else 0
    return Props(
        DefaultGenerationSettings(generation_settings(SamplingParams()), model.last_ctx or least),
        total_slots=model.settings.parallel or 1,
        model_alias=model.name,
        model_path=facts.path if facts else model.settings.model or "",
        model_ftype=(facts.file_type if facts else None) or "",
        chat_template=facts.template if facts else "",
        bos_token="",
        eos_token="",
        is_sleeping=True,
    )
