"""Parses what a user writes for a model to download: a name, or a place on the hub."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from edgeinfer.errors import InvalidRequest
from edgeinfer.store.model_name import split_name
from edgeinfer.store.names import file_problem, name_problem, repo_problem, revision_problem

SITE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/", re.I)
OLLAMA = re.compile(r"(?:https?://)?(?:registry\.)?ollama\.(?:com|ai)/(library/)?", re.I)
IN_PAGE = re.compile(r"(?P<repo>[^/]+/[^/]+)/(?:blob|resolve|tree)/(?P<revision>[^/]+)(?:/(?P<file>.+))?")
FORMS = "NAME, NAME:QUANT, NAME:SIZE, OWNER/REPO, OWNER/REPO:QUANT or OWNER/REPO/FILE.gguf"


class ModelReference(msgspec.Struct, frozen=True):
    """Refers to a `name` of the catalogue, or to a `repo` of the hub and perhaps one `file` in it."""

    name: str | None = None
    repo: str | None = None
    file: str | None = None
    quant: str | None = None
    revision: str | None = None


def parse_reference(text: str) -> ModelReference:
    """Parse one of `FORMS`, the last three also after "hf.co/", or the address of a page on the hub.

    A page of Ollama's library stands for the model of that name.

    Raises:
        InvalidRequest: it is none of these.
    """
    if text.startswith(("/", ".", "~")):
        hint = f"for a file on this machine: edgeinfer models import {text}"
        raise InvalidRequest(f"{text!r} is a path, not a model on the hub", param="model", hint=hint)
    rest = text.strip()
    if ollama := OLLAMA.match(rest):
        rest = rest[ollama.end() :]
        if "/" in rest.strip("/") or not ollama[1]:
            hint = "for a model that Ollama has on this machine: edgeinfer models import"
            raise InvalidRequest(f"{text!r} is at Ollama, not on huggingface.co", param="model", hint=hint)
    rest = SITE.sub("", rest, count=1).partition("?")[0].strip("/")
    if "://" in rest:
        hint = "download the file, then: edgeinfer models import FILE"
        raise InvalidRequest(f"{text!r} is not on huggingface.co", param="model", hint=hint)
    name, colon, quant = rest.partition(":")
    if "/" not in name and quant and ":" not in quant:
        name, size_quant = split_name(rest)
        colon, quant = ("", "") if size_quant is None else (colon, size_quant)
    reference: ModelReference
    if page := IN_PAGE.fullmatch(name):
        reference = ModelReference(repo=page["repo"], file=page["file"], revision=page["revision"])
    elif name.count("/") == 0:
        reference = ModelReference(name=name)
    else:
        owner, repo, *path = name.split("/")
        reference = ModelReference(repo=f"{owner}/{repo}", file="/".join(path) or None)
    if quant:
        reference = msgspec.structs.replace(reference, quant=quant.upper())
    if problem := _problem(reference, has_colon=bool(colon)):
        raise InvalidRequest(f"{text!r} is not a model: {problem}", param="model", hint=f"one of: {FORMS}")
    return reference


def _problem(reference: ModelReference, *, has_colon: bool) -> str | None:
    if has_colon and (not reference.quant or name_problem(reference.quant)):
        return "':' is followed by a quantization, such as Q4_K_M"
    if reference.name is not None:
        return name_problem(reference.name)
    if reference.file is not None:
        if reference.quant:
            return "a file already has its quantization"
        if not reference.file.lower().endswith(".gguf"):
            return "the file name must end in .gguf"
    checks: list[tuple[Callable[[str], str | None], str | None]] = [
        (repo_problem, reference.repo),
        (file_problem, reference.file),
        (revision_problem, reference.revision),
    ]
    return next((problem for check, part in checks if part is not None and (problem := check(part))), None)
