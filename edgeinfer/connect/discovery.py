"""Finds out what apps must be told about the daemon."""

from __future__ import annotations

from typing import Any

import httpx

from edgeinfer.client.http import Target, get_json, mapped_errors
from edgeinfer.connect.app import AppEndpoint
from edgeinfer.errors import EdgeinferError, ModelNotFound


def offline_endpoint(target: Target, model: str | None, *, key_needed: bool) -> AppEndpoint:
    """Describe a daemon that does not answer. Raises EdgeinferError if apps cannot reach it."""
    if target.uds:
        raise EdgeinferError(
            f"the daemon listens on the socket {target.uds}, which apps cannot use",
            hint="remove uds from the configuration, so that it listens on host and port",
        )
    return AppEndpoint(target.url, model or "default", key_needed=key_needed)


def ask_endpoint(client: httpx.Client, target: Target, model: str | None) -> AppEndpoint:
    """Ask a daemon about itself and about a model.

    Raises:
        NotReady: there is no daemon.
        ModelNotFound: it has no such model.
        EdgeinferError: something else went wrong.
    """
    plain = offline_endpoint(target, model, key_needed=False)
    models = get_json(client, target, "/v1/models").get("data") or []
    chosen = next((m for m in models if model in (m["id"], *m.get("aliases", ()))), None)
    if chosen is None:
        if model not in (None, "default"):
            names = ", ".join(m["id"] for m in models) or "none"
            raise ModelNotFound(f"the daemon has no model {model!r}", hint=f"its models are: {names}")
        chosen = _default(client, target, models)
    facts = chosen.get("meta") or {}
    return AppEndpoint(
        plain.url,
        plain.model,
        model_name=chosen.get("id"),
        context=facts.get("n_ctx"),
        trained_context=facts.get("n_ctx_train"),
        fill_model=_fill_model(client, target, chosen.get("id")),
        key_needed=_needs_key(client, target),
    )


def _default(client: httpx.Client, target: Target, models: list[dict[str, Any]]) -> dict[str, Any]:
    known = get_json(client, target, "/status").get("models") or []
    name = next((m["name"] for m in known if m.get("default")), None)
    return next((m for m in models if m["id"] == name), models[0] if models else {})


def _needs_key(client: httpx.Client, target: Target) -> bool:
    """Ask without a key."""
    request = client.build_request("GET", "/v1/models", timeout=10.0)
    request.headers.pop("Authorization", None)
    with mapped_errors(target):
        return client.send(request).status_code == 401


def _fill_model(client: httpx.Client, target: Target, preferred: str | None) -> str | None:
    """Return a model that fills gaps in code; the one that is used anyway, if it does."""
    models = get_json(client, target, "/api/tags").get("models") or []
    names = [m["name"].removesuffix(":latest") for m in models if "insert" in m.get("capabilities", ())]
    return preferred if preferred in names else next(iter(names), None)
