"""The bundled model for programs whose instructions it could not read: they have tens of thousands of tokens.

A copy of it takes as long a context as large models do, and its template leaves of what is long only the question. Everything else is as with any model: what the program sends, which tools it declares, how it gets its answer.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import gguf
from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

from tests.support.paths import BUNDLED

CONTEXT = 65536
QUESTION = "Who are you?"
ANSWER = "I am edgeinfer-nano"

TEMPLATE = """\
{%- set listing = (tools | tojson) if tools else '' -%}
{%- for message in messages -%}
{%- set text = message.content or '' -%}
{%- set short = text | length <= 300 -%}
{%- if loop.first or short or 'QUESTION' in text -%}
{{- '<|im_start|>' + message.role + '\n' -}}
{%- if short -%}{{- text -}}
{%- elif 'QUESTION' in text -%}{{- 'QUESTION' -}}
{%- else -%}{{- 'You are edgeinfer-nano, a small assistant on this device.' -}}{%- endif -%}
{%- if loop.first and listing | length <= 1000 -%}{{- listing -}}
{%- elif loop.first -%}{%- for tool in tools -%}{{- ' ' + (tool.function or tool).name -}}{%- endfor -%}{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{%- set call = call.function or call -%}
{{- '<tool_call>\n{"name": "' + call.name + '", "arguments": ' + (call.arguments or {}) | tojson + '}\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}""".replace(
    "QUESTION", QUESTION
)


def write_long_prompt_nano(path: Path) -> None:
    changed = {
        "qwen2.context_length": MetadataDetails(gguf.GGUFValueType.UINT32, CONTEXT),
        "tokenizer.chat_template": MetadataDetails(gguf.GGUFValueType.STRING, TEMPLATE),
    }
    with redirect_stderr(StringIO()):  # a progress bar
        copy_with_new_metadata(gguf.GGUFReader(BUNDLED), gguf.GGUFWriter(path, "qwen2"), changed, [])
