"""Selects the model and quantization that suit the machine, among those of the hub and the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgeinfer.errors import DownloadFailed, EdgeinferError, ModelNotFound
from edgeinfer.gguf.header import read_header
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hub.download import remote_header
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.ensure_installed import available_files, installed_model
from edgeinfer.hub.hub_index import RemoteFile
from edgeinfer.hub.reference import ModelReference
from edgeinfer.install.published_options import published_options
from edgeinfer.plan import ModelChoice, ModelOption, choose
from edgeinfer.plan.available_options import folder_option, model_options, quant_name
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.own_memory import ModelMemory
from edgeinfer.safetensors.folder import is_model_folder
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.lookup import catalogue_name
from edgeinfer.store.predicted_header import predicted_header
from edgeinfer.store.quantize import can_make
from edgeinfer.store.store import Store


class Selection(msgspec.Struct, frozen=True):
    """A choice, and the published files of its model; none if there is nothing to download.

    Attributes:
        problem: why it cannot be downloaded now.
        by_path: the model was named by its file, and is served by that.
    """

    choice: ModelChoice
    published: list[RemoteFile] = []
    problem: EdgeinferError | None = None
    by_path: bool = False

    @property
    def label(self) -> str:
        """The model's name as `--model` takes it."""
        option = self.choice.option
        if self.by_path and option.path:
            return option.path
        return option.model if option.bundled else option.label

    @property
    def file(self) -> RemoteFile | None:
        """The file to download; None if it is installed, or made from another."""
        quant = self.choice.option.quant
        return next((file for file in self.published if file.quant == quant), None)


class Selector:
    """Chooses for one machine, where the models `beside` are loaded too."""

    def __init__(
        self,
        profile: HardwareProfile,
        settings: Settings,
        calibration: Calibration | None,
        store: Store,
        hub: Endpoint,
        *,
        note: Callable[[str], None] = lambda _: None,
        beside: Sequence[ModelMemory] = (),
    ) -> None:
        self._beside = beside
        self._machine = (profile, settings, calibration)
        self._store = store
        self._hub = hub
        self._note = note

    def select(self, reference: ModelReference) -> Selection:
        """Choose a model: the one that is named, else the machine's default, or a smaller one.

        Then choose again with the files that the hub really has, and the chosen file's header.

        Raises:
            DoesNotFit, ModelNotFound: as for `choose`.
            DownloadFailed: the hub cannot be reached, and has to be asked for this model.
        """
        if reference.repo:
            return self._of_repository(reference)
        name = catalogue_name(reference.name) if reference.name else None
        if name and name not in catalogue():
            return self._installed(reference)
        return self._of_catalogue(name, reference)

    def select_file(self, path: Path) -> Selection:
        """Choose the model in a file or a folder on this machine.

        Raises:
            DoesNotFit: it does not fit.
            ModelLoadFailed: it is not a valid GGUF file.
        """
        path = path.resolve()
        if is_model_folder(path):
            return Selection(self._choose([folder_option(path.name, path)], path.name), by_path=True)
        header = read_header(path)
        option = ModelOption(path.stem, quant_name(header), header, header.size, path=str(path))
        return Selection(self._choose([option], path.stem), by_path=True)

    def _choose(self, options: list[ModelOption], model: str | None, quant: str | None = None) -> ModelChoice:
        profile, settings, calibration = self._machine
        return choose(profile, options, settings, calibration, model=model, quant=quant, beside=self._beside)

    def _of_catalogue(self, model: str | None, reference: ModelReference) -> Selection:
        quant = reference.quant
        options = _with_quant(model_options(model, self._store), model, quant)
        while True:
            choice = self._choose(options, model, quant)
            name = choice.option.model
            if choice.option.bundled:
                return Selection(choice)
            try:
                published = available_files(
                    ModelReference(name=name, revision=reference.revision), hub=self._hub
                )
            except EdgeinferError as e:
                present = [o for o in options if o.model == name and o.path]
                if present and not choice.option.path and not quant and isinstance(e, DownloadFailed):
                    choice = self._choose(present, name)  # a better quantization cannot be had now
                return self._unlisted(choice, e)
            quants = {file.quant for file in published}
            existing = [o for o in options if o.model != name or o.path or o.quant in quants]
            if len(existing) == len(options) or quant:
                break
            options = existing
        return self._with_real_header(choice, options, published, model, quant)

    def _of_repository(self, reference: ModelReference) -> Selection:
        try:
            published = available_files(reference, hub=self._hub)
        except DownloadFailed:
            if installed_model(reference, self._store) is None:
                raise
            return self._installed(reference)
        quant = reference.quant or (published[0].quant if len(published) == 1 else None)
        options = published_options(published, self._store, self._hub, quant=quant)
        choice = self._choose(options, published[0].name, quant)
        return self._with_real_header(choice, options, published, published[0].name, quant)

    def _installed(self, reference: ModelReference) -> Selection:
        """Choose an installed model that the catalogue does not know: an imported one, or one of a repository.

        Raises:
            ModelNotFound: it is not installed.
        """
        stored = installed_model(reference, self._store)
        if stored is None:
            return self._of_catalogue(reference.name, reference)  # which names a similar one
        if stored.parts:
            option = folder_option(stored.name, stored.path, stored.quant)
        else:
            header = read_header(stored.path)
            option = ModelOption(stored.name, stored.quant, header, header.size, path=str(stored.path))
        return Selection(self._choose([option], stored.name))

    def _unlisted(self, choice: ModelChoice, error: EdgeinferError) -> Selection:
        """Return a choice whose published files are unknown.

        Raises:
            EdgeinferError: the hub was reached, and does not have the model.
        """
        if choice.option.path:
            if isinstance(error, DownloadFailed):
                self._note(f"cannot check for a newer file on the hub: {error.message}")
            return Selection(choice)
        if isinstance(error, DownloadFailed):
            return Selection(choice, problem=error)
        raise error

    def _with_real_header(
        self,
        choice: ModelChoice,
        options: list[ModelOption],
        published: list[RemoteFile],
        model: str | None,
        quant: str | None,
    ) -> Selection:
        """Choose again with the header of the published file instead of the predicted one."""
        file = next((file for file in published if file.quant == choice.option.quant), None)
        if self._hub.offline or choice.option.path or file is None or file.parts:
            return Selection(choice, published)
        header = remote_header(file, hub=self._hub)
        exact = replace(choice.option, header=header, size=file.size or choice.option.size)
        known = [exact if option is choice.option else option for option in options]
        return Selection(self._choose(known, model, quant), published)


def _with_quant(options: list[ModelOption], model: str | None, quant: str | None) -> list[ModelOption]:
    """Add a wanted quantization that is not published, but can be made here."""
    if not model or not quant or any((o.model, o.quant) == (model, quant) for o in options):
        return options
    spec = catalogue().get(model)
    header = predicted_header(spec, quant) if spec and can_make(quant) else None
    if header is None:
        return options
    return [*options, ModelOption(model, quant, header, header.size)]


def unknown_file(path: str) -> ModelNotFound:
    """Return the error for a path where no file is."""
    return ModelNotFound(
        f"no such file: {path!r}", param="model", hint="a model's name, or the path of a GGUF file"
    )
