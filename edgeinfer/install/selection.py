"""Selects the model and quantization that suit the machine, among those of the hub and the store."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from edgeinfer.errors import DownloadFailed, EdgeinferError
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hub.download import remote_header
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.ensure_installed import available_files
from edgeinfer.hub.hub_index import RemoteFile
from edgeinfer.hub.reference import ModelReference
from edgeinfer.plan import ModelChoice, ModelOption, choose
from edgeinfer.plan.available_options import model_options
from edgeinfer.plan.calibration import Calibration
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import resolve_spec
from edgeinfer.store.store import Store


class Selection(msgspec.Struct, frozen=True):
    """A choice, and the published files of its model; none if there is nothing to download."""

    choice: ModelChoice
    published: list[RemoteFile] = []

    @property
    def label(self) -> str:
        """The model's name as `--model` takes it."""
        option = self.choice.option
        return option.model if option.bundled else option.label

    @property
    def file(self) -> RemoteFile | None:
        """The file to download; None if it is installed, or made from another."""
        quant = self.choice.option.quant
        return next((file for file in self.published if file.quant == quant), None)


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
    """Choose a model, then choose again with the files that the hub really has, and the chosen file's header.

    Raises:
        DoesNotFit, ModelNotFound: as for `choose`.
        DownloadFailed: the hub cannot be reached, and the model is not installed.
    """
    model = resolve_spec(model)[0] if model else None
    options = model_options(model, store)

    def choose_among(options: list[ModelOption]) -> ModelChoice:
        return choose(profile, options, settings, calibration, model=model, quant=quant)

    while True:
        choice = choose_among(options)
        name = choice.option.model
        if choice.option.bundled:
            return Selection(choice)
        try:
            published = available_files(ModelReference(name=name), hub=hub)
        except EdgeinferError as e:
            if choice.option.path:  # it is installed
                if isinstance(e, DownloadFailed):
                    note(f"cannot check for a newer file on the hub: {e.message}")
                return Selection(choice)
            raise
        quants = {file.quant for file in published}
        existing = [o for o in options if o.model != name or o.path or o.quant in quants]
        if len(existing) == len(options) or quant:
            break
        options = existing
    if hub.offline or choice.option.path:
        return Selection(choice, published)
    return Selection(_with_real_header(choice, options, published, hub, choose_among), published)


def _with_real_header(
    choice: ModelChoice,
    options: list[ModelOption],
    published: list[RemoteFile],
    hub: Endpoint,
    choose_among: Callable[[list[ModelOption]], ModelChoice],
) -> ModelChoice:
    """Choose again with the header of the published file instead of the predicted one."""
    file = next((file for file in published if file.quant == choice.option.quant), None)
    if file is None:
        return choice
    exact = replace(choice.option, header=remote_header(file, hub=hub), size=file.size or choice.option.size)
    return choose_among([exact if option is choice.option else option for option in options])
