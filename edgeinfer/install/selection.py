"""What to install: the model and quantization that suit the machine, of what the hub has or the store."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from edgeinfer.errors import DownloadFailed, EdgeinferError
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hub.download import remote_header
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.ensure_installed import available_files as published_offers
from edgeinfer.hub.hub_index import RemoteFile
from edgeinfer.hub.reference import ModelReference
from edgeinfer.plan import ModelChoice, ModelOption, choose
from edgeinfer.plan.available_options import model_options
from edgeinfer.plan.calibration import Calibration
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import resolve_spec
from edgeinfer.store.store import Store


class Selection(msgspec.Struct, frozen=True):
    """A choice, and the files of its model that are published; none where there is nothing to fetch."""

    choice: ModelChoice
    published: list[RemoteFile] = []

    @property
    def label(self) -> str:
        """As `--model` takes it."""
        offer = self.choice.option
        return offer.model if offer.bundled else offer.label

    @property
    def wanted(self) -> RemoteFile | None:
        """The file to fetch; None where it is here, or is made here of another."""
        quant = self.choice.option.quant
        return next((one for one in self.published if one.quant == quant), None)


def select(
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None,
    store: Store,
    hub: Endpoint,
    *,
    model: str | None = None,
    quant: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Selection:
    """Choose, ask the hub what it really has of the model, and plan anew with the file's own header.

    Raises:
        DoesNotFit, ModelNotFound: as `choose`.
        DownloadFailed: the hub can't be asked, and the model is not here.
    """
    model = resolve_spec(model)[0] if model else None
    offered = model_options(model, store)

    def chosen(among: list[ModelOption]) -> ModelChoice:
        return choose(profile, among, settings, calibration, model=model, quant=quant)

    while True:
        choice = chosen(offered)
        name = choice.option.model
        if choice.option.bundled:
            return Selection(choice)
        try:
            published = published_offers(ModelReference(name=name), hub=hub)
        except EdgeinferError as e:
            if choice.option.path:  # it is here
                if isinstance(e, DownloadFailed):
                    note(f"whether the hub has a newer one is not known: {e.message}")
                return Selection(choice)
            raise
        quants = {one.quant for one in published}
        there = [o for o in offered if o.model != name or o.path or o.quant in quants]
        if len(there) == len(offered) or quant:
            break
        offered = there
    if hub.offline or choice.option.path:
        return Selection(choice, published)
    return Selection(_exact(choice, offered, published, hub, chosen), published)


def _exact(
    choice: ModelChoice,
    offered: list[ModelOption],
    published: list[RemoteFile],
    hub: Endpoint,
    chosen: Callable[[list[ModelOption]], ModelChoice],
) -> ModelChoice:
    """The choice again, with the header that the file has, rather than the one it should have."""
    file = next((one for one in published if one.quant == choice.option.quant), None)
    if file is None:
        return choice
    known = replace(choice.option, header=remote_header(file, hub=hub), size=file.size or choice.option.size)
    return chosen([known if offer is choice.option else offer for offer in offered])
