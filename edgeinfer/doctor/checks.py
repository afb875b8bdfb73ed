"""All checks, in the order in which one fault explains the next."""

from __future__ import annotations

import time
from pathlib import Path

from edgeinfer.backends.supervision.worker_exit import oom_kills
from edgeinfer.cluster.node import NodeFolder
from edgeinfer.doctor import (
    access,
    calibration,
    clock,
    cluster,
    configuration,
    confinement,
    daemon,
    fallbacks,
    frequency,
    gpu,
    installation,
    llama,
    model,
    permissions,
    port,
    power,
    self_test,
    service,
    store,
    thermal,
)
from edgeinfer.doctor.context import DoctorContext
from edgeinfer.doctor.finding import Finding
from edgeinfer.doctor.runner import Check
from edgeinfer.hardware.power import throttled, voltage_alarm
from edgeinfer.hardware.thermal import cooling_devices, thermal_zones
from edgeinfer.ipc.confinement.probe import probe_confinement
from edgeinfer.plan import Plan
from edgeinfer.plan.build_notes import unsuitable
from edgeinfer.plan.rebuild import rebuild_command
from edgeinfer.store.location import DAEMON_STATE

STORE_TIMEOUT = 3600.0
"""Seconds for reading all models; a card reads 100 GB in less."""


def _installation(context: DoctorContext) -> list[Finding]:
    metadata = installation.package_metadata()
    findings = installation.check_installation(metadata, installation.installed_version)
    has_llguidance = installation.installed_version("llguidance") is not None
    return findings + installation.check_platform(context.profile.system, has_llguidance=has_llguidance)


def _llama(context: DoctorContext) -> list[Finding]:
    damaged, machine = llama.damaged_libraries(fast=context.fast), context.profile
    return llama.check_llama(llama.try_load(), damaged, machine.cpus, rebuild_command(), machine.cpu_name)


def _configuration(context: DoctorContext) -> list[Finding]:
    has_service = context.status is not None and context.status.installed
    return configuration.check_configuration(context.loaded, context.environ, has_service=has_service)


def _model(context: DoctorContext) -> list[Finding]:
    return model.check_models(context.plan, context.model_plans)


def _memory(context: DoctorContext) -> list[Finding]:
    ram, swap = context.profile.memory, model.read_swap(context.root)
    kills, running = oom_kills(str(context.root)), context.probe.ready
    return model.check_memory(context.plan, ram, swap, kills, running=running, others=context.model_plans)


def _store(context: DoctorContext) -> list[Finding]:
    return store.check_store(context.store, fast=context.fast, progress=context.progress)


def _disk(context: DoctorContext) -> list[Finding]:
    return store.check_disk(store.disk_status(context.store.root), context.store.root)


def _permissions(context: DoctorContext) -> list[Finding]:
    root, settings = context.store.root, context.settings
    trusted = [root, root / "models", root / "records"]
    if path := configuration.config_file(context.environ):
        trusted += [path, path.parent]
    secret = [Path(file) for file in (context.key_file, settings.tls_key or settings.tls_cert) if file]
    service = context.service if context.service and context.service.scope == "system" else None
    return permissions.check_permissions(trusted, secret, service)


def _access(context: DoctorContext) -> list[Finding]:
    return access.check_access(context.settings, context.key_file)


def _confinement(context: DoctorContext) -> list[Finding]:
    status = context.probe.status
    running = status.confinement.get("worker") if status else None
    return confinement.check_confinement(
        probe_confinement(), confinement.enabled_modules(context.root), running
    )


def _service(context: DoctorContext) -> list[Finding]:
    manager, status = context.manager, context.manager.status()
    findings = service.check_state(status, [path for path in manager.paths() if path.exists()])
    if status.installed:
        findings += service.check_files(manager, context.service)
        findings += service.check_notes(manager, context.service)
    return findings or [Finding(service.CHECK, "ok", service.summary(status))]


def _port(context: DoctorContext) -> list[Finding]:
    return port.check_port(context.settings, context.probe)


def _daemon(context: DoctorContext) -> list[Finding]:
    return daemon.check_daemon(context.probe, context.status)


def _clock(context: DoctorContext) -> list[Finding]:
    return clock.check_clock(time.time(), clock.build_time(), context.root)


def _power(context: DoctorContext) -> list[Finding]:
    board = context.profile.board
    return power.check_power(
        throttled(context.root), voltage_alarm(context.root), board.family if board else None
    )


def _temperature(context: DoctorContext) -> list[Finding]:
    return thermal.check_temperature(thermal_zones(context.root), cooling_devices(context.root))


def _frequency(context: DoctorContext) -> list[Finding]:
    return frequency.check_frequency(frequency.cpu_frequencies(context.root))


def _gpu(context: DoctorContext) -> list[Finding]:
    return gpu.check_gpu(context.profile, context.settings, rebuild_command())


def _fallbacks(context: DoctorContext) -> list[Finding]:
    path = context.plan.config.model if isinstance(context.plan, Plan) else None
    status = context.status
    kind = (status.manager, status.scope) if status is not None and status.installed else None
    folder = DAEMON_STATE if kind == ("systemd", "system") else context.store.root
    return fallbacks.check_fallbacks(folder / fallbacks.FILE, path)


def _calibration(context: DoctorContext) -> list[Finding]:
    return calibration.check_calibration(context.calibration, context.store.root)


def _self_test(context: DoctorContext) -> list[Finding]:
    machine, text = context.profile, None
    if machine.llama:
        text = unsuitable(machine.llama, machine.cpus, machine.cpu_name)
    return self_test.check_answer(context.bundled, rebuild_command(), unsuitable=text)


def _cluster(context: DoctorContext) -> list[Finding]:
    return cluster.check_cluster(NodeFolder.default(context.environ), cluster.listening)


CHECKS = (
    Check(installation.CHECK, _installation),
    Check(llama.CHECK, _llama, llama.LOAD_TIMEOUT + 60),
    Check(configuration.CHECK, _configuration),
    Check(model.MODEL, _model, needs_settings=True),
    Check(model.MEMORY, _memory),
    Check(store.STORE, _store, STORE_TIMEOUT),
    Check(store.DISK, _disk),
    Check(permissions.CHECK, _permissions),
    Check(access.CHECK, _access, needs_settings=True),
    Check(confinement.CHECK, _confinement),
    Check(service.CHECK, _service),
    Check(port.CHECK, _port, needs_settings=True),
    Check(daemon.CHECK, _daemon, needs_settings=True),
    Check(cluster.CHECK, _cluster),
    Check(clock.CHECK, _clock),
    Check(power.CHECK, _power),
    Check(thermal.CHECK, _temperature),
    Check(frequency.CHECK, _frequency),
    Check(gpu.CHECK, _gpu),
    Check(fallbacks.CHECK, _fallbacks),
    Check(calibration.CHECK, _calibration),
    Check(self_test.CHECK, _self_test, self_test.ANSWER_TIMEOUT + 15),
)
