"""What is examined: one installation on one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from edgeinfer import settings
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.doctor import daemon, service
from edgeinfer.doctor.daemon import Answer
from edgeinfer.errors import EdgeinferError, SettingsError
from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.plan import Plan, calibration, plan
from edgeinfer.plan.calibration import Calibration
from edgeinfer.server.auth.key_file import key_file
from edgeinfer.service import discovery as choice
from edgeinfer.service.manager import ServiceManager, ServiceStatus
from edgeinfer.service.spec import ServiceSpec
from edgeinfer.settings import Loaded, Settings
from edgeinfer.store.location import SYSTEM_STORE, store_root
from edgeinfer.store.lookup import BUNDLED_MODEL, find_model
from edgeinfer.store.progress import NullProgress, Progress
from edgeinfer.store.store import Store


class Site:
    """Each fact is found when it is first asked for. What can be wrong in itself is a fact as well, or an error."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        root: Path = Path("/"),
        *,
        fast: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """`root`: of the machine. `fast`: files are not read whole. `progress` is told of those that are."""
        self.root = root
        self.fast = fast
        self.progress = progress or NullProgress()
        self._environ = environ

    @cached_property
    def manager(self) -> ServiceManager:
        """Raises ServiceFailed."""
        return choice.installed(self._environ)

    @cached_property
    def status(self) -> ServiceStatus | None:
        """What its manager says of the service; None where there is no manager."""
        try:
            return self.manager.status()
        except EdgeinferError:
            return None

    @cached_property
    def environ(self) -> Mapping[str, str]:
        """Where the system's service is what is here, and it is not root who asks: as the service sees it."""
        status = self.status
        if status is None or not status.installed or status.scope == "user" or os.geteuid() == 0:
            return self._environ
        own = {name: value for name, value in self._environ.items() if not name.startswith("XDG_")}
        return {**own, "HOME": str(SYSTEM_STORE), "STATE_DIRECTORY": str(SYSTEM_STORE)}

    @cached_property
    def loaded(self) -> Loaded | SettingsError:
        try:
            return settings.load(environ=self.environ)
        except SettingsError as e:
            return e
        except OSError as e:
            return SettingsError(f"the configuration cannot be looked for: {e}", hint="sudo edgeinfer doctor")

    @cached_property
    def settings(self) -> Settings:
        """Those in force; as built in where these can't be read."""
        return self.loaded.settings if isinstance(self.loaded, Loaded) else Settings()

    @cached_property
    def key_file(self) -> str | None:
        return key_file(self.settings, self.environ)

    @cached_property
    def store(self) -> Store:
        return Store.of(self.settings) if self.settings.store else Store(store_root(self.environ))

    @cached_property
    def profile(self) -> HardwareProfile:
        return detect(self.root, self.store.root)

    @cached_property
    def calibration(self) -> Calibration | None:
        return calibration.load(self.store.root, self.profile)

    @cached_property
    def plan(self) -> Plan | EdgeinferError:
        """Of the model that the settings name."""
        if isinstance(self.loaded, SettingsError):
            return self.loaded
        try:
            return plan(
                find_model(self.settings.model, self.store), self.profile, self.settings, self.calibration
            )
        except EdgeinferError as e:
            return e

    @cached_property
    def bundled(self) -> LlamaConfig:
        """How the bundled model runs here, with as little memory as it can do with."""
        small = Settings(model=BUNDLED_MODEL, ctx=512, parallel=1)
        return plan(find_model(BUNDLED_MODEL, self.store), self.profile, small).config

    @cached_property
    def answer(self) -> Answer:
        """Who answers at the daemon's address. One that waits for its first request is not woken."""
        if self.status and self.status.state == "waiting":
            return Answer("manager")
        from edgeinfer.client.http import API_KEY, target_of

        try:
            return daemon.ask(target_of(self.settings, self.environ.get(API_KEY)))
        except EdgeinferError as e:
            return Answer("unknown", reason=e.message)

    @cached_property
    def service(self) -> ServiceSpec | None:
        """The service as it would be installed now; None where there is none, or it could not be."""
        if self.status is None or not self.status.installed or isinstance(self.plan, EdgeinferError):
            return None
        try:
            return service.as_now(self.manager, self.status, self.environ, self.profile, self.plan)
        except EdgeinferError:
            return None
