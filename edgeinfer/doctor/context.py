"""Facts about the installation and the machine that checks look at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from edgeinfer import settings
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.doctor import daemon, service
from edgeinfer.doctor.daemon import DaemonProbe
from edgeinfer.errors import EdgeinferError, SettingsError
from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.plan import Plan, calibration, plan_model
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.draft_model import find_draft_model
from edgeinfer.server.auth.key_file import key_file
from edgeinfer.service import discovery
from edgeinfer.service.manager import ServiceManager, ServiceStatus
from edgeinfer.service.spec import ServiceSpec
from edgeinfer.settings import Loaded, Settings
from edgeinfer.store.location import SYSTEM_STORE, store_root
from edgeinfer.store.lookup import BUNDLED_MODEL, find_model
from edgeinfer.store.progress import NullProgress, Progress
from edgeinfer.store.store import Store


class DoctorContext:
    """Facts, each found on first use. A fact that can be wrong is either the fact or its error."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        root: Path = Path("/"),
        *,
        fast: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Look at the machine below `root`; `fast` skips reading large files, `progress` shows reading them."""
        self.root = root
        self.fast = fast
        self.progress = progress or NullProgress()
        self._environ = environ

    @cached_property
    def manager(self) -> ServiceManager:
        """The service manager; raises ServiceFailed."""
        return discovery.installed_manager(self._environ)

    @cached_property
    def status(self) -> ServiceStatus | None:
        """The state of the service; None if there is no service manager."""
        try:
            return self.manager.status()
        except EdgeinferError:
            return None

    @cached_property
    def environ(self) -> Mapping[str, str]:
        """The environment, as the system's service sees it if that is installed and this is not root."""
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
            return SettingsError(
                f"the configuration file cannot be looked up: {e}", hint="sudo edgeinfer doctor"
            )

    @cached_property
    def settings(self) -> Settings:
        """The settings in use; the defaults if they cannot be read."""
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
        """The plan for the default model of the settings."""
        if isinstance(self.loaded, SettingsError):
            return self.loaded
        name, settings = self.settings.default_model()
        return self._plan(settings, is_named=name is not None)

    @cached_property
    def model_plans(self) -> dict[str, Plan | EdgeinferError]:
        """The plans for the other models that the settings name, by their name there."""
        plans = {name: self._plan(self.settings.for_model(name)) for name in self.settings.models}
        default = self.plan.config.model if isinstance(self.plan, Plan) else None
        return {
            name: plan
            for name, plan in plans.items()
            if not isinstance(plan, Plan) or plan.config.model != default
        }

    def _plan(self, settings: Settings, *, is_named: bool = True) -> Plan | EdgeinferError:
        """Plan a model; without `is_named`, its file gives it the name by which it may have a table."""
        try:
            model = find_model(settings.model, self.store)
            own = settings if is_named else settings.for_default(model.name)
            draft = find_draft_model(model, own)
            return plan_model(model, self.profile, own, self.calibration, draft=draft)
        except EdgeinferError as e:
            return e

    @cached_property
    def bundled(self) -> LlamaConfig:
        """A configuration of the bundled model with as little memory as possible."""
        small = Settings(model=BUNDLED_MODEL, ctx=512, parallel=1)
        return plan_model(find_model(BUNDLED_MODEL, self.store), self.profile, small).llama

    @cached_property
    def probe(self) -> DaemonProbe:
        """The program at the daemon's address; a service that starts on demand is not started."""
        if self.status and self.status.state == "waiting":
            return DaemonProbe("manager")
        from edgeinfer.client.http import API_KEY, target_of

        try:
            return daemon.probe(target_of(self.settings, self.environ.get(API_KEY)))
        except EdgeinferError as e:
            return DaemonProbe("unknown", reason=e.message)

    @cached_property
    def service(self) -> ServiceSpec | None:
        """The service that would be installed now; None if there is none, or it cannot be."""
        if self.status is None or not self.status.installed or isinstance(self.plan, EdgeinferError):
            return None
        try:
            return service.current_spec(self.manager, self.status, self.environ, self.profile, self.plan)
        except EdgeinferError:
            return None
