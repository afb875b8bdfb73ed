"""Lists the options among published files, also of models that the catalogue does not know."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.errors import ModelNotFound
from edgeinfer.gguf.requantized import requantized
from edgeinfer.hub.download import remote_header
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.hub_index import RemoteFile
from edgeinfer.plan import ModelOption
from edgeinfer.plan.available_options import model_options
from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.quantize import can_make
from edgeinfer.store.store import Store


def published_options(
    files: Sequence[RemoteFile], store: Store, hub: Endpoint, *, quant: str | None = None
) -> list[ModelOption]:
    """Return the options of one model; a header is read if the catalogue does not know the model's shape.

    `quant` is one that is wanted, and made here if it is not published.

    Raises:
        ModelNotFound: no quantization can be planned.
        EdgeinferError: as for `remote_header`.
    """
    name, quants = files[0].name, {one.quant: one for one in reversed(files)}
    options: list[ModelOption] = []
    if name in catalogue():
        options = [o for o in model_options(name, store) if o.model == name and (o.path or o.quant in quants)]
    if not options:
        smallest = min((one for one in files if not one.parts), key=lambda one: one.size or 0)
        header = remote_header(smallest, hub=hub)
        wanted = {quant: None} if quant and quant not in quants and can_make(quant) else {}
        known = [(q, one, requantized(header, q)) for q, one in (quants | wanted).items()]
        options = [
            ModelOption(name, q, made, (one.size if one else None) or made.size)
            for q, one, made in known
            if made
        ]
    if not options:
        raise ModelNotFound(
            f"cannot tell which quantization of {name} suits this machine",
            param="quant",
            hint=f"choose one: edgeinfer pull {name}:QUANT, one of {quant_names(files)}",
        )
    return options


def quant_names(files: Sequence[RemoteFile]) -> str:
    return ", ".join(dict.fromkeys(one.quant for one in files))
