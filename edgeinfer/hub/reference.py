"""What a person writes for a model that is to be fetched: a name, or a place on the hub."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from edgeinfer.errors import InvalidRequest
from edgeinfer.store.names import file_problem, name_problem, repo_problem, revision_problem

SITE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/", re.I)
IN_PAGE = re.compile(r"(?P<repo>[^/]+/[^/]+)/(?:blob|resolve|tree)/(?P<revision>[^/]+)(?:/(?P<file>.+))?")
FORMS = "NAME, NAME:QUANT, OWNER/REPO, OWNER/REPO:QUANT or OWNER/REPO/FILE.gguf"


class ModelReference(msgspec.Struct, frozen=True):
    """Either a `name` of the catalogue or a `repo` of the hub; of that perhaps one `file`."""

    name: str | None = None
    repo: str | None = None
    file: str | None = None
    quant: str | None = None
    revision: str | None = None


def parse_reference(text: str) -> ModelReference:
    """Understands what `FORMS` lists, the last three behind "hf.co/", and addresses of the hub's pages.

    Raises:
        InvalidRequest: it is none of these.
    """
    if text.startswith(("/", ".", "~")):
        hint = f"for a file that is here already: edgeinfer models import {text}"
        raise InvalidRequest(f"{text!r} is no place on the hub", param="model", hint=hint)
    rest = SITE.sub("", text.strip(), count=1).partition("?")[0].strip("/")
    name, _, quant = rest.partition(":")
    found: ModelReference
    if page := IN_PAGE.fullmatch(name):
        found = ModelReference(repo=page["repo"], file=page["file"], revision=page["revision"])
    elif name.count("/") == 0:
        found = ModelReference(name=name)
    else:
        owner, repo, *path = name.split("/")
        found = ModelReference(repo=f"{owner}/{repo}", file="/".join(path) or None)
    if quant:
        found = msgspec.structs.replace(found, quant=quant.upper())
    problem = _problem(found, named=":" in rest)
    if problem:
        raise InvalidRequest(f"{text!r} is no model: {problem}", param="model", hint=f"one of: {FORMS}")
    return found


def _problem(found: ModelReference, *, named: bool) -> str | None:
    if named and (not found.quant or name_problem(found.quant)):
        return "behind ':' stands a quantization, such as Q4_K_M"
    if found.name is not None:
        return name_problem(found.name)
    if found.file is not None:
        if found.quant:
            return "a file has its quantization"
        if not found.file.lower().endswith(".gguf"):
            return "a file ends in .gguf"
    checks: list[tuple[Callable[[str], str | None], str | None]] = [
        (repo_problem, found.repo),
        (file_problem, found.file),
        (revision_problem, found.revision),
    ]
    return next((why for check, part in checks if part is not None and (why := check(part))), None)
