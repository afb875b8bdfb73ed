"""Systemd's files for a service, a machine and a plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ServiceFailed, SettingsError
from edgeinfer.hardware import Gpu, HardwareProfile, Memory
from edgeinfer.plan import MemoryEstimate, Plan
from edgeinfer.service import access_check, sandbox, units
from edgeinfer.service.access_check import access_problems, secret_files
from edgeinfer.service.devices import HostDevices, this_host
from edgeinfer.service.spec import Program, Requirements, ServiceSpec, requirements, this_program
from tests.support.service import service

GB = 1 << 30
HOST = HostDevices(systemd=252)


def drop_in(spec: ServiceSpec, host: HostDevices = HOST) -> list[str]:
    """The lines of a drop-in, without comments."""
    text = units.service_drop_in(spec, host, environ={})
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_service_with_nothing_special_says_only_what_to_run() -> None:
    """Everything else is in the unit itself."""
    program = "/opt/edgeinfer/bin/edgeinfer"
    commands = ["ExecStart=", f"ExecStart={program} serve", "ExecReload=", f"ExecReload={program} reload"]
    assert drop_in(service()) == ["[Service]", *commands]


def test_every_file_has_its_place() -> None:
    """System and user, with a socket and without, have only files that uninstall knows."""
    environ = {"HOME": "/home/pi"}
    system = {file.path for file in units.files(service(), HOST, environ)}
    assert system == {
        Path("/etc/systemd/system/edgeinfer.service"),
        Path("/etc/systemd/system/edgeinfer.service.d/10-edgeinfer.conf"),
        Path("/etc/sysusers.d/edgeinfer.conf"),
        Path("/etc/tmpfiles.d/edgeinfer.conf"),
    }
    user = {file.path for file in units.files(service(scope="user", on_demand=True), HOST, environ)}
    home = Path("/home/pi/.config/systemd/user")
    assert user == {
        home / "edgeinfer.service",
        home / "edgeinfer.service.d/10-edgeinfer.conf",
        home / "edgeinfer.socket",
        home / "edgeinfer.socket.d/10-edgeinfer.conf",
    }
    assert user == set(units.paths("user", environ))
    assert system < set(units.paths("system", environ))
    assert units.unit_folder("user", {**environ, "XDG_CONFIG_HOME": "/x"}) == Path("/x/systemd/user")


@pytest.mark.parametrize(
    ("memory", "ram", "expected"),
    [
        (500 << 20, 4 * GB, ["MemoryHigh=3696M", "MemoryMax=3891M"]),
        (3 * GB, 4 * GB, ["MemoryHigh=3696M", "MemoryMax=3891M"]),
        (100 << 20, 1 * GB, ["MemoryHigh=851M", "MemoryMax=896M"]),
        (5 * GB, 4 * GB, []),
        (None, 4 * GB, []),
        (1 * GB, None, []),
    ],
)
def test_memory_is_bounded_by_the_plan_and_by_what_the_machine_can_spare(
    memory: int | None, ram: int | None, expected: list[str]
) -> None:
    """There is no bound if the plan was overruled, or is unknown."""
    lines = drop_in(service(requirements=Requirements(memory=memory, ram=ram)))
    assert [line for line in lines if line.startswith("Memory")] == expected


def test_memory_is_bounded_by_the_limit_for_all_models() -> None:
    """It allows one more model for the moment of a reload."""
    small = Requirements(memory=500 << 20, ram=4 * GB)
    assert "MemoryHigh=1965M" in drop_in(service(requirements=small, memory_limit_mb=1000))
    assert "MemoryHigh=3696M" in drop_in(service(requirements=small, memory_limit_mb=100_000))


@pytest.mark.parametrize(
    ("version", "backs_off"), [(None, False), (247, False), (253, False), (254, True), (257, True)]
)
def test_only_a_systemd_that_knows_how_to_back_off_is_told_to(version: int | None, backs_off: bool) -> None:
    """Others would warn about unknown keys at each start."""
    lines = drop_in(service(), HostDevices(systemd=version))
    assert any(line.startswith("RestartSteps=") for line in lines) is backs_off


def test_a_program_in_a_home_is_bound_and_the_rest_of_the_home_stays_hidden() -> None:
    """Models, store, settings and keys are bound too; paths that are not hidden need no grant."""
    program = Program(
        Path("/home/pi/venv/bin/edgeinfer"),
        Path("/home/pi/venv/bin/python"),
        (Path("/home/pi/venv"), Path("/usr"), Path("/root/.pyenv/versions/3.11")),
    )
    lines = drop_in(
        service(
            program=program,
            requirements=Requirements(models=(Path("/home/pi/m.gguf"), Path("/srv/n.gguf"))),
            store="/home/pi/store",
            peer_key_file="/home/pi/boards",
            api_key_file="/home/pi/.config/edgeinfer/keys",
            tls_cert="/home/pi/cert.pem",
            config=Path("/root/settings/config.toml"),
        )
    )
    assert "ProtectHome=tmpfs" in lines
    assert [line.partition("=")[2] for line in lines if line.startswith("Bind")] == [
        "-/home/pi/venv",
        "-/root/.pyenv/versions/3.11",
        "-/home/pi/m.gguf",
        "-/home/pi/store",
        "-/home/pi/boards",
        "-/root/settings",
        "-/home/pi/.config/edgeinfer",
        "-/home/pi/cert.pem",
    ]
    assert "Environment=EDGEINFER_CONFIG=/root/settings/config.toml" in lines
    assert [line for line in lines if line.startswith("RequiresMountsFor")] == [
        "RequiresMountsFor=/home/pi/store",
        "RequiresMountsFor=/home/pi",
        "RequiresMountsFor=/srv",
    ]


def test_models_of_tables_are_granted_too() -> None:
    """Those that are files are bound; the others are in the store."""
    tables = {"a": {"model": "/home/pi/a.gguf"}, "b": {"model": "qwen3-0.6b"}, "c": {"ctx": 512}}
    granted = drop_in(service(requirements=Requirements(models=(Path("/home/pi/m.gguf"),)), models=tables))
    assert {"BindReadOnlyPaths=-/home/pi/m.gguf", "BindReadOnlyPaths=-/home/pi/a.gguf"} <= set(granted)
    assert not any("qwen3" in line for line in granted)


def test_what_is_linked_to_is_granted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of a hub client has links."""
    monkeypatch.setattr(sandbox, "TEMPORARY", (tmp_path,))
    (tmp_path / "blob").write_text("")
    (tmp_path / "model.gguf").symlink_to("blob")
    lines = sandbox.lines(service(requirements=Requirements(models=(tmp_path / "model.gguf",))))
    assert lines == [f"BindReadOnlyPaths=-{tmp_path}/model.gguf", f"BindReadOnlyPaths=-{tmp_path}/blob"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a/b", "/a/b"),
        ("/a b/c", '"/a b/c"'),
        ("/50%", "/50%%"),
        ('/q"', '"/q\\""'),
        ("/b\\s", '"/b\\\\s"'),
        ("/x;y", '"/x;y"'),
    ],
)
def test_paths_mean_nothing_to_systemd(text: str, expected: str) -> None:
    """They may have spaces, quotes and specifiers."""
    assert sandbox.word(text) == expected


def test_a_path_with_a_colon_is_one_path() -> None:
    """The colon does not separate source and destination."""
    assert sandbox.bind_path(Path("/a:b")) == "/a\\:b"


def test_a_path_cannot_bring_a_line_of_its_own() -> None:
    """Characters that unit files cannot contain are refused."""
    with pytest.raises(ServiceFailed, match="control characters"):
        drop_in(service(config=Path("/home/pi/x\nUser=root/config.toml")))


@pytest.mark.parametrize(
    ("settings", "opened", "waits"),
    [
        ({}, False, False),
        ({"host": "localhost"}, False, False),
        ({"host": "::1"}, False, False),
        ({"host": "0.0.0.0"}, True, False),
        ({"host": "192.168.1.2"}, True, True),
        ({"host": "board.lan"}, True, True),
        ({"host": "0.0.0.0", "uds": "/run/edgeinfer/s"}, False, False),
        ({"peers": "http://pi5.local:11435"}, True, False),
        ({"mcp_servers": "/etc/edgeinfer/mcp.json"}, True, False),
    ],
)
def test_the_network_is_opened_for_an_address_that_others_reach_and_for_other_boards(
    settings: dict[str, Any], opened: bool, waits: bool
) -> None:
    """The address must exist before the daemon listens on it."""
    lines = drop_in(service(**settings))
    assert ("IPAddressDeny=" in lines) is opened
    assert ("After=network-online.target" in lines) is waits


def test_a_unix_socket_needs_a_folder_that_the_service_can_write_to() -> None:
    """It is its own folder, or one made for it; never all of /tmp or a home, which are private."""
    assert len(drop_in(service(uds="/run/edgeinfer/http.sock"))) == 5
    assert "ReadWritePaths=-/srv/sockets" in drop_in(service(uds="/srv/sockets/s"))
    for path in ("/tmp/s", "/home/pi/s", "/tmp/x/s"):
        with pytest.raises(SettingsError, match="socket") as e:
            drop_in(service(uds=path))
        assert e.value.param == "uds"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["127.0.0.1:11435"]),
        ({"host": "localhost", "port": 80}, ["127.0.0.1:80", "[::1]:80"]),
        ({"host": "::"}, ["[::]:11435"]),
        ({"uds": "/run/edgeinfer/50%"}, ["/run/edgeinfer/50%%"]),
    ],
)
def test_the_socket_listens_where_the_settings_say(settings: dict[str, Any], expected: list[str]) -> None:
    """The unit's own address is reset first."""
    text = units.socket_drop_in(service(on_demand=True, **settings))
    addresses = [line.partition("=")[2] for line in text.splitlines() if line.startswith("ListenStream=")]
    assert addresses == ["", *expected]
    assert ("SocketUser=edgeinfer" in text) is ("uds" in settings)


@pytest.mark.parametrize("settings", [{"host": "board.lan"}, {"port": 0}])
def test_what_systemd_cannot_listen_on_is_told(settings: dict[str, Any]) -> None:
    """It cannot listen on a host name, or on a port that is yet to be chosen."""
    with pytest.raises(SettingsError) as e:
        units.socket_drop_in(service(on_demand=True, **settings))
    assert e.value.param in settings


def test_a_gpu_is_granted_and_no_other_device(tmp_path: Path) -> None:
    """Only a plan that uses a GPU gets it; drivers need more than devices, also in a user's service."""
    for node in ("nvidia0", "nvidiactl", "nvidia-uvm", "sda", "mali0", "kfd"):
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / node).touch()
    host = this_host(252, tmp_path)
    assert host.nodes == ("/dev/kfd", "/dev/mali0", "/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")
    host = msgspec.structs.replace(
        host, groups=("render", "video"), nvidia_modprobe="/usr/bin/nvidia-modprobe"
    )
    lines = drop_in(service(requirements=Requirements(gpus=("nvidia",))), host)
    assert [line for line in lines if line.startswith("DeviceAllow")] == [
        "DeviceAllow=char-nvidia* rw",
        "DeviceAllow=char-drm rw",
        "DeviceAllow=/dev/nvidia-uvm rw",
        "DeviceAllow=/dev/nvidia0 rw",
        "DeviceAllow=/dev/nvidiactl rw",
    ]
    assert {"PrivateDevices=no", "DevicePolicy=closed", "SupplementaryGroups=render video"} <= set(lines)
    assert "ExecStartPre=-+/usr/bin/nvidia-modprobe -c=0 -u" in lines
    other = drop_in(service(requirements=Requirements(gpus=("arm",))), host)
    assert "DeviceAllow=/dev/mali0 rw" in other
    assert not any("nvidia" in line for line in other)
    user = drop_in(service(scope="user", requirements=Requirements(gpus=("nvidia",))), host)
    assert "MemoryDenyWriteExecute=no" in user
    assert not any("Device" in line or "Group" in line for line in user)
    assert not any("Device" in line for line in drop_in(service(), host))


def test_jetson_has_nodes_of_its_own(tmp_path: Path) -> None:
    """Some nodes are in a folder."""
    for node in ("nvmap", "nvhost-ctrl", "nvgpu/igpu0/ctrl"):
        path = tmp_path / "dev" / node
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    lines = drop_in(service(requirements=Requirements(gpus=("nvidia",))), this_host(252, tmp_path))
    assert "DeviceAllow=/dev/nvgpu/igpu0/ctrl rw" in lines
    assert "DeviceAllow=/dev/nvmap rw" in lines


def test_a_user_is_told_where_the_users_files_are() -> None:
    """A user's manager does not know the shell's variables."""
    spec = service(scope="user", config=Path("/home/pi/c.toml"))
    text = units.service_drop_in(spec, HOST, {"XDG_DATA_HOME": "/mnt/data", "HOME": "/home/pi"})
    assert "Environment=EDGEINFER_CONFIG=/home/pi/c.toml" in text
    assert "Environment=XDG_DATA_HOME=/mnt/data" in text
    assert "--user edit" in text


def test_needs_are_the_plans() -> None:
    """They are its model, all its memory, and the GPU only if it has layers."""
    gpu = Gpu("nvidia", "RTX", api="cuda")
    profile = HardwareProfile([], None, Memory(8 * GB, None, None), gpus=(gpu, Gpu("intel", "UHD")))
    config = LlamaConfig("/srv/big.gguf", "big", gpu_layers=-1)
    plan = Plan(config, [], memory=MemoryEstimate(1000, kv=200, embeddings=30))
    assert requirements(plan, profile) == Requirements(
        models=(Path("/srv/big.gguf"),),
        memory=1230,
        ram=8 * GB,
        gpus=("nvidia",),
    )
    fake = msgspec.structs.replace(plan, config=LlamaConfig("fake", "fake"))
    assert requirements(fake, profile).models == ()
    assert requirements(fake, profile).gpus == ()


def test_this_program_is_found_with_all_that_it_is_loaded_from() -> None:
    """It is the command next to this Python, with its environment, its interpreter, and a checkout."""
    program = this_program()
    assert program.executable == Path(sys.prefix, "bin/edgeinfer")
    assert Path(sys.base_prefix) in program.folders
    assert any(Path(units.__file__).is_relative_to(folder) for folder in program.folders)


def test_what_the_services_user_cannot_read_is_told_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note comes before the start would fail."""
    monkeypatch.setattr(access_check, "TEMPORARY", (tmp_path,))
    model, folder = tmp_path / "m.gguf", tmp_path / "store"
    model.write_text("")
    folder.mkdir()
    spec = service(requirements=Requirements(models=(model,)), store=str(folder))
    model.chmod(0o644)
    folder.chmod(0o755)
    assert access_problems(spec) == []
    model.chmod(0o600)
    folder.chmod(0o700)
    assert access_problems(spec) == [
        f"the user edgeinfer cannot read {model}: sudo chmod a+r {model}",
        f"the user edgeinfer cannot read {folder}: sudo chmod -R a+rX {folder}",
    ]


def test_a_key_is_never_made_readable_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's user must own it; in the service's own folders the installation sees to that."""
    monkeypatch.setattr(access_check, "TEMPORARY", (tmp_path,))
    keys = tmp_path / "keys"
    keys.write_text("")
    keys.chmod(0o600)
    (note,) = access_problems(service(api_key_file=str(keys)))
    assert note.endswith(f"sudo chown edgeinfer {keys}")
    assert secret_files(service(api_key_file=str(keys))) == []
    monkeypatch.setattr(access_check, "SERVICE_FOLDERS", (tmp_path,))
    assert access_problems(service(api_key_file=str(keys))) == []
    assert secret_files(service(api_key_file=str(keys))) == [keys]
