"""All checks, in the order in which one fault explains the next."""

from __future__ import annotations

import time
from pathlib import Path

from edgeinfer.backends.llama_cpp.worker_exit import oom_kills
from edgeinfer.doctor import (
    access,
    clock,
    configuration,
    daemon,
    fallbacks,
    frequency,
    gpu,
    heat,
    installation,
    llama,
    model,
    permissions,
    port,
    power,
    self_test,
    service,
    speed,
    store,
)
from edgeinfer.doctor.examination import Check
from edgeinfer.doctor.finding import Finding
from edgeinfer.doctor.site import Site
from edgeinfer.plan import Plan
from edgeinfer.store.location import DAEMON_STATE

HOUR = 3600.0
"""For reading all models: a card reads 100 GB in less."""


def _installation(_: Site) -> list[Finding]:
    return installation.installation(installation.wanted(), installation.version_of)


def _llama(site: Site) -> list[Finding]:
    damaged = llama.damaged(fast=site.fast)
    return llama.llama(llama.load(), damaged, site.profile.cpus, llama.rebuild())


def _configuration(site: Site) -> list[Finding]:
    has_service = site.status is not None and site.status.installed
    return configuration.configuration(site.loaded, site.environ, has_service=has_service)


def _model(site: Site) -> list[Finding]:
    return model.model(site.plan)


def _memory(site: Site) -> list[Finding]:
    ram, swap = site.profile.memory, model.swap(site.root)
    return model.memory(site.plan, ram, swap, oom_kills(str(site.root)), running=site.answer.ready)


def _store(site: Site) -> list[Finding]:
    return store.store(site.store, fast=site.fast, progress=site.progress)


def _disk(site: Site) -> list[Finding]:
    return store.disk(store.look_at(site.store.root), site.store.root)


def _permissions(site: Site) -> list[Finding]:
    root, settings = site.store.root, site.settings
    trusted = [root, root / "models", root / "records"]
    if path := configuration.file(site.environ):
        trusted += [path, path.parent]
    secret = [Path(file) for file in (site.key_file, settings.tls_key or settings.tls_cert) if file]
    service = site.service if site.service and site.service.scope == "system" else None
    return permissions.permissions(trusted, secret, service)


def _access(site: Site) -> list[Finding]:
    return access.access(site.settings, site.key_file)


def _service(site: Site) -> list[Finding]:
    manager, status = site.manager, site.manager.status()
    found = service.state(status, [path for path in manager.paths() if path.exists()])
    if status.installed:
        found += service.installed(manager, site.service)
        found += service.remarks(manager, site.service)
    return found or [Finding(service.CHECK, "ok", service.words(status))]


def _port(site: Site) -> list[Finding]:
    return port.port(site.settings, site.answer)


def _daemon(site: Site) -> list[Finding]:
    return daemon.daemon(site.answer, site.status)


def _clock(site: Site) -> list[Finding]:
    return clock.clock(time.time(), clock.built(), site.root)


def _power(site: Site) -> list[Finding]:
    board = site.profile.board
    return power.power(power.throttled(site.root), power.alarm(site.root), board.family if board else None)


def _heat(site: Site) -> list[Finding]:
    return heat.heat(heat.zones(site.root), heat.brakes(site.root))


def _frequency(site: Site) -> list[Finding]:
    return frequency.frequency(frequency.frequencies(site.root))


def _gpu(site: Site) -> list[Finding]:
    return gpu.gpu(site.profile, site.settings, llama.rebuild())


def _fallbacks(site: Site) -> list[Finding]:
    path = site.plan.config.model if isinstance(site.plan, Plan) else None
    status = site.status
    where = (status.manager, status.scope) if status is not None and status.installed else None
    folder = DAEMON_STATE if where == ("systemd", "system") else site.store.root
    return fallbacks.fallbacks(folder / fallbacks.FILE, path)


def _speed(site: Site) -> list[Finding]:
    return speed.speed(site.calibration, site.store.root)


def _self_test(site: Site) -> list[Finding]:
    return self_test.self_test(site.bundled, llama.rebuild())


CHECKS = (
    Check(installation.CHECK, _installation),
    Check(llama.CHECK, _llama, llama.LIMIT + 60),
    Check(configuration.CHECK, _configuration),
    Check(model.MODEL, _model, of_settings=True),
    Check(model.MEMORY, _memory),
    Check(store.STORE, _store, HOUR),
    Check(store.DISK, _disk),
    Check(permissions.CHECK, _permissions),
    Check(access.CHECK, _access, of_settings=True),
    Check(service.CHECK, _service),
    Check(port.CHECK, _port, of_settings=True),
    Check(daemon.CHECK, _daemon, of_settings=True),
    Check(clock.CHECK, _clock),
    Check(power.CHECK, _power),
    Check(heat.CHECK, _heat),
    Check(frequency.CHECK, _frequency),
    Check(gpu.CHECK, _gpu),
    Check(fallbacks.CHECK, _fallbacks),
    Check(speed.CHECK, _speed),
    Check(self_test.CHECK, _self_test, self_test.LIMIT + 15),
)
