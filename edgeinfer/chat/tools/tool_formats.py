"""The tool formats of the known families of models: the texts between the names and arguments of calls."""

from __future__ import annotations

from edgeinfer.chat.tools.argument_syntax import ArgumentSyntax
from edgeinfer.chat.tools.tool_format import ToolFormat

HERMES = ToolFormat(
    name="hermes",
    trigger="<tool_call>",
    openings=('<tool_call>\n{"name": "', '<tool_call>{"name": "'),
    middle='", "arguments": ',
    next='}\n</tool_call>\n<tool_call>\n{"name": "',
    end="}\n</tool_call>",
)
"""Hermes, Qwen 2.5 and 3, Granite 4, and many that were trained after them."""

GENERIC = ToolFormat(
    name="generic",
    trigger=HERMES.trigger,
    openings=HERMES.openings[:1],
    middle=HERMES.middle,
    next=HERMES.next,
    end=HERMES.end,
    foreign=True,
)
"""For any other model: the system message explains it."""

QWEN_CODER = ToolFormat(
    name="qwen3-coder",
    trigger="<tool_call>",
    openings=("<tool_call>\n<function=",),
    middle=">\n",
    next="</function>\n</tool_call>\n<tool_call>\n<function=",
    end="</function>\n</tool_call>",
    argument_syntax=ArgumentSyntax(key="<parameter=", value=">\n", close="\n</parameter>\n", quotes=("", "")),
)
"""Qwen3-Coder, Qwen 3.5, Nemotron 3."""

LLAMA3 = ToolFormat(
    name="llama3",
    openings=tuple(
        f'{tag}{{{kind}"name": "' for tag in ("", "<|python_tag|>") for kind in ("", '"type": "function", ')
    ),
    middle='", "parameters": ',
    next=None,
    end="}",
)
"""Llama 3.1 to 3.3. JSON further on in the text is not a call, but an example or the answer itself."""

MISTRAL = ToolFormat(
    name="mistral",
    trigger="[TOOL_CALLS]",
    openings=('[TOOL_CALLS][{"name": "', '[TOOL_CALLS] [{"name": "'),
    middle='", "arguments": ',
    next='}, {"name": "',
    end="}]",
    short_ids=True,
)
"""Mistral up to 2024. The id that it may write after the arguments is left out: a stream needs it earlier."""

MISTRAL_ARGS = ToolFormat(
    name="mistral-args",
    trigger="[TOOL_CALLS]",
    openings=("[TOOL_CALLS]",),
    middle="[ARGS]",
    next="[TOOL_CALLS]",
    end="",
    short_ids=True,
)
"""Mistral since 2025."""

DEEPSEEK = ToolFormat(
    name="deepseek",
    trigger="<｜tool▁calls▁begin｜>",
    openings=("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>",),
    middle="\n```json\n",
    next="\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
    end="\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    result=("<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>", "<｜tool▁output▁end｜><｜tool▁outputs▁end｜>"),
)
"""DeepSeek R1 and V3, and the models distilled from R1."""

DEEPSEEK_V31 = ToolFormat(
    name="deepseek-v3.1",
    trigger="<｜tool▁calls▁begin｜>",
    openings=("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",),
    middle="<｜tool▁sep｜>",
    next="<｜tool▁call▁end｜><｜tool▁call▁begin｜>",
    end="<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    result=("<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
)

FUNCTIONARY = ToolFormat(
    name="functionary",
    trigger="<function=",
    openings=("<function=",),
    middle=">",
    next="</function><function=",
    end="</function>",
)
"""Functionary 3.1."""

FUNCTIONARY_V32 = ToolFormat(
    name="functionary-v3.2",
    trigger=">>>",
    openings=(">>>",),
    middle="\n",
    next=">>>",
    end="",
    lead="all\n",
    begun=True,
)
"""The prompt ends with ">>>"; the answer begins with its recipient: a tool, or all."""

PHI4 = ToolFormat(
    name="phi4",
    trigger="<|tool_call|>",
    openings=('<|tool_call|>[{"name": "',),
    middle='", "arguments": ',
    next='}, {"name": "',
    end="}]<|/tool_call|>",
    result=("<|tool_response|>", "<|/tool_response|>"),
    listing=("<|tool|>", "<|/tool|>"),
)
"""Phi-4-mini with its own template."""

FUNCTOOLS = ToolFormat(
    name="functools",
    trigger="functools[",
    openings=('functools[{"name": "',),
    middle='", "arguments": ',
    next='}, {"name": "',
    end="}]",
    functions=True,
)
"""Phi-4-mini with the template that others give it, and Firefunction."""

GRANITE = ToolFormat(
    name="granite",
    trigger="<|tool_call|>",
    openings=('<|tool_call|>[{"name": "', '<|tool_call|> [{"name": "'),
    middle='", "arguments": ',
    next='}, {"name": "',
    end="}]",
)
"""Granite 3."""

GEMMA4 = ToolFormat(
    name="gemma4",
    trigger="<|tool_call>",
    openings=("<|tool_call>call:",),
    middle="{",
    next="}<tool_call|><|tool_call>call:",
    end="}<tool_call|>",
    argument_syntax=ArgumentSyntax(value=":", separator=",", quotes=('<|"|>', '<|"|>')),
)
"""Gemma 4; earlier versions have no format of their own."""

LFM2 = ToolFormat(
    name="lfm2",
    trigger="<|tool_call_start|>",
    openings=("<|tool_call_start|>[",),
    middle="(",
    next="), ",
    end=")]<|tool_call_end|>",
    argument_syntax=ArgumentSyntax(value="=", separator=", ", python=True),
    result=("<|tool_response_start|>", "<|tool_response_end|>"),
)
"""LFM 2 and 2.5: calls in Python."""

GLM = ToolFormat(
    name="glm",
    trigger="<tool_call>",
    openings=("<tool_call>",),
    middle="\n",
    next="</tool_call>\n<tool_call>",
    end="</tool_call>",
    argument_syntax=ArgumentSyntax(
        key="<arg_key>", value="</arg_key>\n<arg_value>", close="</arg_value>\n", quotes=("", "")
    ),
)
"""GLM 4.5 and 4.6."""

GLM_INLINE = ToolFormat(
    name="glm-inline",
    trigger="<tool_call>",
    openings=("<tool_call>",),
    middle="",
    next="</tool_call><tool_call>",
    end="</tool_call>",
    argument_syntax=ArgumentSyntax(
        key="<arg_key>", value="</arg_key><arg_value>", close="</arg_value>", quotes=("", "")
    ),
)
"""GLM 4.7 and Spark 2.5, which put everything on one line."""

APRIEL = ToolFormat(
    name="apriel",
    trigger="<tool_calls>",
    openings=('<tool_calls>[{"name": "',),
    middle='", "arguments": ',
    next='}, {"name": "',
    end="}]</tool_calls>",
)

APERTUS = ToolFormat(
    name="apertus",
    trigger="<|tools_prefix|>",
    openings=('<|tools_prefix|>[{"',),
    middle='": ',
    next='}, {"',
    end="}]<|tools_suffix|>",
)

NEMOTRON = ToolFormat(
    name="nemotron",
    trigger="<TOOLCALL>",
    openings=('<TOOLCALL>[{"name": "',),
    middle='", "arguments": ',
    next='}, {"name": "',
    end="}]</TOOLCALL>",
    result=("<TOOL_RESPONSE>[", "]</TOOL_RESPONSE>"),
)
"""Nemotron Nano 2."""

HARMONY = ToolFormat(
    name="harmony",
    trigger="<|channel|>commentary to=functions.",
    openings=("<|channel|>commentary to=functions.",),
    middle=" <|constrain|>json<|message|>",
    next=None,
    end="",
    lead="<|channel|>final<|message|>",
    channels=True,
)
"""gpt-oss."""

SEED = ToolFormat(
    name="seed",
    trigger="<seed:tool_call>",
    openings=("<seed:tool_call>\n<function=",),
    middle=">\n",
    next="</function>\n</seed:tool_call>\n<seed:tool_call>\n<function=",
    end="</function>\n</seed:tool_call>",
    argument_syntax=ArgumentSyntax(key="<parameter=", value=">", close="</parameter>\n", quotes=("", "")),
)
"""Seed-OSS."""

MINIMAX_M2 = ToolFormat(
    name="minimax-m2",
    trigger="<minimax:tool_call>",
    openings=('<minimax:tool_call>\n<invoke name="',),
    middle='">\n',
    next='</invoke>\n<invoke name="',
    end="</invoke>\n</minimax:tool_call>",
    argument_syntax=ArgumentSyntax(
        key='<parameter name="', value='">', close="</parameter>\n", quotes=("", "")
    ),
)
"""MiniMax M2."""

COMMAND_R7B = ToolFormat(
    name="command-r7b",
    trigger="<|START_ACTION|>",
    openings=('<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "',),
    middle='", "parameters": ',
    next=None,
    end="}\n]<|END_ACTION|>",
)
"""Command R7B and A. One call at a time: each has a number, and a grammar of fixed texts cannot count."""

MINICPM = ToolFormat(
    name="minicpm",
    trigger='<function name="',
    openings=('<function name="',),
    middle='">',
    next='</function>\n<function name="',
    end="</function>",
    argument_syntax=ArgumentSyntax(
        key='<param name="', value='">', close="</param>", quotes=("<![CDATA[", "]]>")
    ),
)
"""MiniCPM 5. It may leave out the quotes of simple strings; with them, every string can be written."""
