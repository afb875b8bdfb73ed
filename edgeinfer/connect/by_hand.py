"""Programs that keep their configuration where it cannot be written: in a database, a container or the environment."""

from __future__ import annotations

from edgeinfer.connect.app import KEY_VARIABLE, App, AppEndpoint, Places, Setup


def openai(endpoint: AppEndpoint, _: Places) -> Setup:
    return Setup(
        steps=[
            f"export OPENAI_BASE_URL={endpoint.openai_url} OPENAI_API_BASE={endpoint.openai_url}",
            f"export OPENAI_API_KEY={_key(endpoint)}",
        ]
    )


def open_webui(endpoint: AppEndpoint, _: Places) -> Setup:
    return Setup(
        steps=[
            f"export OPENAI_API_BASE_URLS={endpoint.openai_url} OPENAI_API_KEYS={_key(endpoint)}",
            """export OPENAI_API_CONFIGS='{"0": {"provider": "llama.cpp"}}'""",
            "export ENABLE_PERSISTENT_CONFIG=false   # or else what was saved in Open WebUI wins",
        ]
    )


def jan(endpoint: AppEndpoint, _: Places) -> Setup:
    return Setup(
        steps=[
            "# in Jan: Settings → Model Providers → Add, an OpenAI-compatible provider",
            f"base URL: {endpoint.openai_url}",
            f"API key: {_typed_key(endpoint)}",
            f"model: {endpoint.model}",
        ]
    )


def home_assistant(endpoint: AppEndpoint, _: Places) -> Setup:
    lines = [
        "# in Home Assistant: Settings → Devices & services → Add integration → Ollama",
        f"URL: {endpoint.url}   # from another machine: the address of this one",
        f"model: {endpoint.model_name or endpoint.model}",
        f"context window: {endpoint.context or 8192}",
    ]
    return Setup(steps=[*lines, f"API key: {_typed_key(endpoint)}"] if endpoint.key_needed else lines)


def _key(endpoint: AppEndpoint) -> str:
    return f'"${KEY_VARIABLE}"' if endpoint.key_needed else "none"


def _typed_key(endpoint: AppEndpoint) -> str:
    return "yours, from: edgeinfer key add NAME" if endpoint.key_needed else "none"


BY_HAND = (
    App("openai", "any client of OpenAI's", 2048, "chat", openai),
    App("open-webui", "Open WebUI", 8192, "chat", open_webui, ("open-webui",)),
    App("jan", "Jan", 4096, "chat", jan, ("jan",), lambda p: p.application("Jan")),
    App("home-assistant", "Home Assistant", 8192, "ollama", home_assistant, ("hass",)),
)
