"""Declares every setting once: the command line, the environment, the file and the docs derive from it.

Precedence: flags > `EDGEINFER_*` > file > default here. The file is `/etc/edgeinfer/config.toml` if that exists,
otherwise `$XDG_CONFIG_HOME/edgeinfer/config.toml`; `EDGEINFER_CONFIG` names another. The plan decides settings that
are None.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgeinfer.errors import SettingsError
from edgeinfer.model_settings import (
    ALIASES,
    MODELS,
    ModelSettings,
    doc,
    model_tables,
    nearest_setting,
    table_header,
    toml_string,
)
from edgeinfer.user_folders import config_folder, is_file
from edgeinfer.value_errors import advice, sentence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Settings(ModelSettings, frozen=True, forbid_unknown_fields=True):
    """The daemon's settings. The plan decides those that are None.

    Attributes:
        models: the configuration file's `[models.NAME]` tables, by the name that requests use: fields of
            ModelSettings, and `aliases`.
    """

    vllm_command: Annotated[
        str | None,
        doc(
            "Program `vllm`, or the environment in which it is installed. If unset, the one beside edgeinfer's own "
            "Python, or on the PATH."
        ),
    ] = None
    store: Annotated[
        str | None,
        doc(
            "Directory of models: /var/lib/edgeinfer for root and the service, else in the user's data directory."
        ),
    ] = None
    host: Annotated[str, doc("Address to listen on. Any other than loopback requires api_key_file.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, doc("TCP port to listen on; 0 picks a free one.", ge=0, le=65535)] = 11435
    uds: Annotated[str | None, doc("Listen on this unix socket instead of host and port.")] = None
    ollama_port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None,
        doc(
            "Listen on this TCP port of 127.0.0.1 too: with 11434, Ollama's, its clients find the daemon by themselves."
        ),
    ] = None
    api_key_file: Annotated[
        str | None,
        doc(
            "File of API keys, made by `edgeinfer key add`. Every request except /, /docs, /health and /ready must then "
            "carry one. If unset, the default file if it exists; if empty, no keys."
        ),
    ] = None
    allowed_hosts: Annotated[
        str,
        doc(
            "Comma-separated host names that a request may use besides loopback's. "
            "If empty, no others on a loopback address, and any on another."
        ),
    ] = ""
    cors_origins: Annotated[
        str, doc("Comma-separated origins (https://app.example) whose web pages may use the API.")
    ] = ""
    peers: Annotated[
        str,
        doc(
            "Comma-separated addresses (http://pi5.local:11435) of other boards, whose state the web page shows beside "
            "this one's."
        ),
    ] = ""
    peer_key_file: Annotated[
        str | None,
        doc(
            "File of the keys for those of `peers` that want one: on each line an address, a space and its key."
        ),
    ] = None
    mcp_servers: Annotated[
        str | None,
        doc(
            "File of MCP servers, with the url of each, whose tools the web page may call. If unset, none. Where keys are "
            "required, only an admin key may call them."
        ),
    ] = None
    tls_cert: Annotated[
        str | None,
        doc("PEM file of a certificate and its chain; the daemon then serves HTTPS instead of HTTP."),
    ] = None
    tls_key: Annotated[
        str | None, doc("PEM file of the certificate's key, if it is not in the same file.")
    ] = None
    requests_per_minute: Annotated[
        int, doc("Requests per minute for each key, or for each address without a key; 0 is no limit.", ge=0)
    ] = 0
    concurrent_requests: Annotated[
        int,
        doc("Requests in progress for each key, or for each address without a key; 0 is no limit.", ge=0),
    ] = 0
    queue: Annotated[
        int, doc("Requests that may wait for their turn; further ones get status 429.", ge=0)
    ] = 128
    memory_limit_mb: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        doc("Megabytes that all loaded models may use together, including GPU memory."),
    ] = None
    load_timeout: Annotated[float, doc("Seconds that a model may take to load.", gt=0)] = 600.0
    hang_timeout: Annotated[
        float,
        doc(
            "Seconds without a sign of life after which a model's process is killed and restarted; longer if "
            "its steps have been slow.",
            gt=0,
        ),
    ] = 60.0
    on_node_loss: Annotated[
        Literal["resume", "same-model", "fail"],
        doc(
            "What becomes of an answer in a cluster whose node is lost: another node continues it, only one with the "
            "same model file does, or it fails."
        ),
    ] = "same-model"
    node_timeout: Annotated[
        float,
        doc("Seconds without a sign of life after which a node of a cluster counts as lost.", ge=1),
    ] = 10.0
    prefix_cache_mb: Annotated[
        int,
        doc(
            "Megabytes of prompts saved to disk while nothing is computed and at the end, to compute them only once; "
            "0 saves none.",
            ge=0,
        ),
    ] = 0
    responses_store_mb: Annotated[
        int,
        doc(
            "Megabytes of responses kept on disk, so that clients of /v1/responses can continue them by id; 0 keeps none.",
            ge=0,
        ),
    ] = 64
    responses_store_hours: Annotated[
        float, doc("Hours after its last use that a response is deleted; 0 keeps none.", ge=0)
    ] = 168.0
    share_prefixes: Annotated[
        bool,
        doc(
            "API keys use each other's cached prefixes. It is faster, but response times then tell one key's holder "
            "how another's prompts begin."
        ),
    ] = False
    confine: Annotated[
        bool,
        doc("Confine models' processes. Turn it off only where a GPU's driver does not work otherwise."),
    ] = True
    drain_timeout: Annotated[
        float, doc("Seconds that answers in progress get to finish at shutdown.", ge=0)
    ] = 20.0
    template_timeout: Annotated[float, doc("Seconds that a chat template may take to render.", gt=0)] = 5.0
    grammar_timeout: Annotated[
        float,
        doc("Seconds that compiling a JSON schema or grammar, or checking an answer, may take.", gt=0),
    ] = 1.5
    max_body: Annotated[int, doc("Maximum size of a request body in bytes.", ge=1024)] = 16 * 1024 * 1024
    strict_requests: Annotated[
        bool,
        doc("Refuse requests with unknown fields. Otherwise these are ignored, and named in a header."),
    ] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], doc("Lowest severity that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], doc("Lines of the log: `text` for people, `json` for programs.")
    ] = "text"
    otlp_endpoint: Annotated[
        str | None,
        doc(
            "OpenTelemetry collector that gets a span for each request, by OTLP over HTTP: http://127.0.0.1:4318. If unset, none."
        ),
    ] = None
    log_prompts: Annotated[bool, doc("Log request bodies, including prompts.")] = False
    idle_unload: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        doc("Seconds without a request after which the default model is unloaded too. If unset, never."),
    ] = None
    models: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)

    def for_model(self, name: str) -> Settings:
        """Settings for the model that requests call `name`: those of its table, then those for all models."""
        table = {field: value for field, value in self.models.get(name, {}).items() if field != ALIASES}
        return msgspec.structs.replace(self, **{"model": name, **table})

    def default_model(self) -> tuple[str | None, Settings]:
        """The default model's name and the settings to serve it; the name is None if its file gives it.

        `model` may be the name of a table, or an alias of one.
        """
        name = self.aliases().get(self.model or "", self.model)
        if name is None or name not in self.models:
            return None, self
        return name, self._for_default(name, self.for_model(name).model)

    def for_default(self, name: str) -> Settings:
        """Settings to serve the default model if its file gives it its `name`: there may be a table of that name.

        Raises:
            SettingsError: that table is another model's.
        """
        owner = name if name in self.models else self.aliases().get(name)
        if owner is None:
            return self
        if owner != name or self.models[name].get("model", self.model) != self.model:
            raise SettingsError(
                f"both the default model and {table_header(owner)} are called {name!r}",
                param=MODELS,
                hint=f"choose another name for the table, or write model = {toml_string(owner)} above the tables",
            )
        return self._for_default(name, self.model)

    def _for_default(self, table: str, model: str | None) -> Settings:
        settings = msgspec.structs.replace(self.for_model(table), model=model)
        seconds = self.models[table].get("keep_alive")
        if seconds is None or seconds < 0:
            return settings
        return msgspec.structs.replace(settings, idle_unload=seconds)

    def aliases(self) -> dict[str, str]:
        """The name of the table for each alias."""
        return {alias: name for name, table in self.models.items() for alias in table.get(ALIASES, ())}


SYSTEM_CONFIG = Path("/etc/edgeinfer/config.toml")
ENV_PREFIX = "EDGEINFER_"
ENV_OTHERS = frozenset({"CONFIG", "API_KEY", "AGAINST_KEY", "HISTORY"})
"""`EDGEINFER_*` names that are not settings: the configuration file's path, the key that clients send, the one that
`edgeinfer bench` sends to the server of --against, and whether conversations at a terminal keep their prompts."""

FIELDS: dict[str, msgspec.structs.FieldInfo] = {
    f.name: f for f in msgspec.structs.fields(Settings) if f.name != MODELS
}
"""Settings with a flag and a variable, by name."""


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and the origin of each value: "default", "file PATH", "env NAME" or "flag"."""

    settings: Settings
    sources: dict[str, str]


def config_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration file in use; None if there is none.

    A file that EDGEINFER_CONFIG names must exist; /dev/null stands for none.
    """
    if named := environ.get(ENV_PREFIX + "CONFIG"):
        path = Path(named)
        if named == os.devnull:
            return None
        if not is_file(path):
            problem = "not a file" if path.exists() else "no such file"
            raise SettingsError(f"{problem}: {path}", param=ENV_PREFIX + "CONFIG")
        return path
    return next((p for p in (SYSTEM_CONFIG, user_config(environ)) if is_file(p)), None)


def user_config(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of a user's own configuration file."""
    return config_folder(environ) / "config.toml"


def variables(environ: Mapping[str, str]) -> list[str]:
    """Names of the variables that are settings, in order.

    An empty one counts as unset: EnvironmentFile= and compose files cannot unset one.
    """
    others = {ENV_PREFIX + name for name in ENV_OTHERS}
    return sorted(
        name for name, v in environ.items() if name.startswith(ENV_PREFIX) and v and name not in others
    )


def load(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Merge flags, environment and file; flags that are None count as absent.

    Raises:
        SettingsError: an unknown key or an invalid value; the message says where.
    """
    values: dict[str, Any] = {}
    sources = dict.fromkeys(FIELDS, "default")

    def take(entries: Mapping[str, Any], source: str, lax: bool) -> None:
        for key, value in entries.items():
            where = source.format(key=key, KEY=key.upper())
            if key not in FIELDS:
                raise SettingsError(
                    f"unknown setting {key!r} in {where}", param=key, hint=nearest_setting(key, FIELDS)
                )
            try:
                values[key] = msgspec.convert(value, FIELDS[key].type, strict=not lax)
            except msgspec.ValidationError as e:
                hint = "write [models.NAME]" if key == "model" and isinstance(value, dict) else advice(key)
                raise SettingsError(
                    f"{where}: {key}: {sentence(e, FIELDS[key].type)}", param=key, hint=hint
                ) from e
            sources[key] = where

    tables: dict[str, dict[str, Any]] = {}
    if path := config_path(environ):
        content = _read(path)
        tables = model_tables(content.pop(MODELS, {}), path, FIELDS)
        take(content, f"file {path}", lax=False)
    entries = {name[len(ENV_PREFIX) :].lower(): environ[name] for name in variables(environ)}
    take(entries, "env EDGEINFER_{KEY}", lax=True)
    take({k: v for k, v in (flags or {}).items() if v is not None}, "flag", lax=False)
    return Loaded(Settings(**values, models=tables), sources)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as e:
        raise SettingsError(f"{path}: it is not UTF-8: {e.reason}", hint="save it as UTF-8") from e
    except (OSError, tomllib.TOMLDecodeError, RecursionError) as e:
        raise SettingsError(f"{path}: {e}") from e
