"""Finds the model that a request names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import PurePath

from edgeinfer.errors import ModelNotFound
from edgeinfer.model_settings import DEFAULT, MODEL_FIELDS
from edgeinfer.serving.engines import ModelNames
from edgeinfer.serving.loader import ModelLoader
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.services import Services
from edgeinfer.settings import Settings

LATEST = "latest"

MAX_NAME = 256
"""Characters of a name that is looked up."""


class ModelRegistry:
    """All models that requests can name: the default one, those with a table in the settings, the installed ones.

    Attributes:
        default: the model for requests that name none.
        loader: loads and unloads them.
    """

    def __init__(
        self,
        settings: Settings,
        default: str,
        *,
        names: Callable[[Settings], ModelNames],
        loader: ModelLoader,
        services: Services,
    ) -> None:
        """`default`: the name under which `settings.model` is served. `names`: of the models that are installed."""
        self.loader = loader
        self._find_names = names
        self._services = services
        self._models: dict[str, ServedModel] = {}
        self.configure(settings, default)

    def configure(self, settings: Settings, default: str) -> None:
        """Apply new settings; `default` is the name under which `settings.model` is served.

        Loaded models stay as they are, see `outdated`.
        """
        self._settings = settings
        self._names = self._find_names(settings)
        self._aliases = settings.aliases()
        self._tables = {self._full(table.get("model", name)): name for name, table in settings.models.items()}
        mine = default_settings(settings, default)
        self._default_full = self._full(mine.model or default)
        for name in [name for name, model in self._models.items() if model.retired]:
            del self._models[name]
        self.use(self.prepare(default, mine))
        self.default.settings = mine
        self.loader.expiry.update()

    def prepare(self, name: str, settings: Settings) -> ServedModel:
        """The model that is served as `name`, created if there is none."""
        model = self._models.get(name)
        if model is None or model.retired:
            model = self._models[name] = ServedModel(name, settings, self.loader, self._services)
        return model

    def use(self, model: ServedModel) -> None:
        """Make `model` the default one."""
        self._models[model.name] = model
        self.default = self.loader.default = model

    def outdated(self) -> list[ServedModel]:
        """Models other than the default one that are loaded in another way than the settings now say."""
        outdated = []
        for model in list(self._models.values()):
            settings = self._settings.for_model(model.name)
            if model is not self.default:
                if not loaded_alike(model.settings, settings) and (model.client or model.loading):
                    outdated.append(model)
                model.settings = settings
        return outdated

    def get(self, name: str | None) -> ServedModel:
        """The model that `name` means in a request; None, "" and "default" mean the default one.

        Case does not count where no other model is written so. The default model may be named with its quantization,
        and by its file.

        Raises:
            ModelNotFound: no model has that name. A name is only looked up, never used as a path.
        """
        name = (name or "").strip() or DEFAULT
        if len(name) > MAX_NAME:
            raise self._unknown(name)
        name = self._as_written(self._without_tag(name))
        if name in (DEFAULT, self.default.name):
            return self.default
        name = self._aliases.get(name, name)
        if name == self._settings.model:
            return self.default
        if name in self._settings.models:
            return self._table(name)
        if full := self._names.resolve(name):
            return self._installed(full)
        if self._is_default_with_quant(name) or self._is_default_file(name):
            return self.default
        raise self._unknown(name)

    def all(self) -> list[ServedModel]:
        """Every model that requests can name, the default one first."""
        tables = map(self._table, self._settings.models)
        installed = map(self._installed, self._names.installed())
        return list(dict.fromkeys([self.default, *tables, *installed]))

    def aliases(self) -> dict[ServedModel, list[str]]:
        """Other names of models, from the settings."""
        names: dict[ServedModel, list[str]] = {}
        for alias in self._aliases:
            with contextlib.suppress(ModelNotFound):
                names.setdefault(self.get(alias), []).append(alias)
        return names

    def file(self, model: ServedModel) -> str | None:
        """The path of a model's file; None where that is unknown."""
        if model.plan:
            return model.plan.config.model
        return self._names.file(model.settings.model or model.name)

    def served(self) -> Iterator[ServedModel]:
        """The default model, and those that have been loaded, or should have been."""
        yield self.default
        yield from (model for model in self._models.values() if model is not self.default and model.was_used)

    def _table(self, name: str) -> ServedModel:
        if name == self.default.name:
            return self.default
        return self.prepare(name, self._settings.for_model(name))

    def _installed(self, full: str) -> ServedModel:
        """The model that has a file in the store; `full` is its full name."""
        if full == self._default_full:
            return self.default
        if full in self._tables:
            return self._table(self._tables[full])
        return self.prepare(full, self._settings.for_model(full))

    def _as_written(self, name: str) -> str:
        """The name of ours that differs from `name` in its case only, if there is one."""
        ours = (
            DEFAULT,
            self.default.name,
            self._settings.model or "",
            *self._aliases,
            *self._settings.models,
        )
        return name if name in ours else next((o for o in ours if o.lower() == name.lower()), name)

    def _without_tag(self, name: str) -> str:
        """The name without the tag "latest", which Ollama's clients put behind every name without a tag."""
        bare, _, tag = name.rpartition(":")
        return bare if bare and tag.lower() == LATEST and name not in self._settings.models else name

    def _is_default_with_quant(self, name: str) -> bool:
        base, _, quant = name.lower().rpartition(":")
        if base != self.default.name.lower():
            return False
        return bool(self.default.info and quant in self.default.info.description.lower().split())

    def _is_default_file(self, name: str) -> bool:
        """Whether it is the name of the default model's file, by which llama-server calls a model."""
        files = {
            f"{self.default.name}.gguf",
            PurePath(self.default.info.path if self.default.info else "").name,
        }
        return name.lower() in {file.lower() for file in files if file}

    def _full(self, model: str) -> str:
        return self._names.resolve(model) or model

    def _unknown(self, name: str) -> ModelNotFound:
        others = [model.name for model in self.all()[1:4]]
        also = f" and {', '.join(map(repr, others))}" if others else ""
        return ModelNotFound(
            f"no such model: {name[:100]!r}; this daemon serves {self.default.name!r} "
            f"(or {DEFAULT!r}, or leave model out){also}",
            param="model",
            hint="GET /v1/models lists the models",
        )


def default_settings(settings: Settings, name: str) -> Settings:
    """Settings to serve the default model, whose name is `name`.

    Raises:
        SettingsError: another model has that name.
    """
    table, mine = settings.default_model()
    return mine if table else mine.for_default(name)


def loaded_alike(settings: Settings, others: Settings) -> bool:
    """Whether a model is loaded in the same way with both."""
    names = (name for name in MODEL_FIELDS if name != "keep_alive")
    return all(getattr(settings, name) == getattr(others, name) for name in names)
