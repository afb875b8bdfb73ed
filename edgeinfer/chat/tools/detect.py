"""Detects how a model writes tool calls: its chat template shows what it was trained on."""

from __future__ import annotations

from edgeinfer.chat.reasoning import REASONING_TAGS
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.chat.tools.tool_formats import (
    APERTUS,
    APRIEL,
    COMMAND_R7B,
    DEEPSEEK,
    DEEPSEEK_V31,
    FUNCTIONARY,
    FUNCTIONARY_V32,
    FUNCTOOLS,
    GEMMA4,
    GENERIC,
    GLM,
    GLM_INLINE,
    GRANITE,
    HARMONY,
    HERMES,
    LFM2,
    LLAMA3,
    MINICPM,
    MINIMAX_M2,
    MISTRAL,
    MISTRAL_ARGS,
    NEMOTRON,
    PHI4,
    QWEN_CODER,
    SEED,
)
from edgeinfer.errors import InvalidRequest

SIGNS: tuple[tuple[ToolFormat, tuple[str, ...]], ...] = (
    (HARMONY, ("<|channel|>commentary", "<|channel|>final<|message|>")),
    (MISTRAL_ARGS, ("[TOOL_CALLS]", "[ARGS]")),
    (MISTRAL, ("[TOOL_CALLS]",)),
    (FUNCTIONARY_V32, (">>>all",)),
    (GEMMA4, ("<|tool_call>call:",)),
    (COMMAND_R7B, ("<|START_ACTION|>", '"tool_name"', "<|END_ACTION|>")),
    (MINICPM, ('<function name="', '<param name="')),
    (SEED, ("<seed:tool_call>", "<function=", "<parameter=")),
    (MINIMAX_M2, ("<minimax:tool_call>", "<invoke name=")),
    (QWEN_CODER, ("<tool_call>", "<function=", "<parameter=")),
    (GLM_INLINE, ("<tool_call>", "</arg_key><arg_value>")),
    (GLM, ("<tool_call>", "<arg_key>")),
    (FUNCTIONARY, ("<function=", "</function>", "<|start_header_id|>")),
    (DEEPSEEK, ("<｜tool▁calls▁begin｜>", "```json")),
    (DEEPSEEK_V31, ("<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>")),
    (DEEPSEEK, ("<｜tool▁sep｜>",)),
    (NEMOTRON, ("<TOOLCALL>",)),
    (APRIEL, ("<tool_calls>[",)),
    (APERTUS, ("<|tools_prefix|>", "<|tools_suffix|>")),
    (LFM2, ("<|tool_call_start|>",)),
    (LFM2, ("List of tools: ",)),
    (PHI4, ("<|tool|>", "<|/tool|>")),
    (GRANITE, ("<|tool_call|>", "<|start_of_role|>")),
    (FUNCTOOLS, ("functools",)),
    (HERMES, ("<tool_call>", '"name": ')),
    (LLAMA3, ("<|start_header_id|>ipython<|end_header_id|>", '"parameters": ')),
)
"""Each format with the texts that its templates contain. The first that fits is used."""

TOOL_FORMATS = {f.name: f for f in (*(f for f, _ in SIGNS), GENERIC)}

MARKED = (
    "<tool_call>", "</tool_call>", "<tool_calls>", "</tool_calls>", "<function=", "</function>",
    "<parameter=", "</parameter>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
    "<|tool_call|>", "<|/tool_call|>", "<|tool_call>", "<tool_call|>", '<|"|>', "<|channel>",
    "<|tool_call_start|>", "<|tool_call_end|>", "<|tools_prefix|>", "<|tools_suffix|>",
    "<TOOLCALL>", "</TOOLCALL>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]",
    "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>",
    "<|START_ACTION|>", "<|END_ACTION|>", "<seed:tool_call>", "</seed:tool_call>", "<minimax:tool_call>",
    "</minimax:tool_call>",
    "<｜tool▁sep｜>", "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>",
)  # fmt: skip
TAGS = (text for tags in REASONING_TAGS for text in (tags.open, tags.close))
TRIGGERS = (tool_format.trigger for tool_format in TOOL_FORMATS.values() if tool_format.trigger)
MARKERS = tuple(sorted({*MARKED, *TAGS, *TRIGGERS}))
"""Texts of calls and thoughts that may be control tokens of a vocabulary. In an answer they are text."""


def detect_tool_format(template: str, name: str | None = None) -> ToolFormat:
    """The tool format of a model with this chat template; a name takes precedence.

    Raises:
        InvalidRequest: there is no format with this name.
    """
    if name is not None:
        if name not in TOOL_FORMATS:
            raise InvalidRequest(
                f"unknown tool format {name!r}",
                param="tool_format",
                hint=f"one of: {', '.join(TOOL_FORMATS)}",
            )
        return TOOL_FORMATS[name]
    source = template.replace('\\"', '"')
    return next((f for f, signs in SIGNS if all(sign in source for sign in signs)), GENERIC)
