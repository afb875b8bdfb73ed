"""The machine: memory, clock, power, heat, frequency, GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.doctor import clock, frequency, gpu, model, power, thermal
from edgeinfer.doctor.calibration import check_calibration
from edgeinfer.doctor.finding import Finding
from edgeinfer.doctor.model import Swap
from edgeinfer.errors import EdgeinferError, ModelNotFound
from edgeinfer.hardware import Gpu, HardwareProfile, LlamaBuild, Memory, System, detect
from edgeinfer.hardware.power import throttled, voltage_alarm
from edgeinfer.hardware.thermal import cooling_devices, thermal_zones
from edgeinfer.plan import Plan, calibration, plan_model
from edgeinfer.plan.build_notes import build_note
from edgeinfer.plan.calibration import Calibration, fingerprint
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import find_model
from tests.support.doctor import brief
from tests.support.hardware import write
from tests.support.paths import TREES

GB = 10**9
NOW = 1_800_000_000.0


def profile(available: int, total: int = 4 * GB, limit: int | None = None) -> HardwareProfile:
    pi4 = detect(TREES / "pi4-4gb")
    return replace(pi4, memory=Memory(total, available, limit))


def planned(machine: HardwareProfile, **settings: Any) -> Plan:
    return plan_model(find_model("edgeinfer-nano"), machine, Settings(force=True, **settings))


def memory(
    machine: HardwareProfile, plan: Plan | EdgeinferError, *, swap: Swap = Swap(None, None), **more: Any
) -> list[Finding]:
    return model.check_memory(
        plan, machine.memory, swap, more.get("oom_kills"), running=more.get("running", False)
    )


def test_a_model_that_fits() -> None:
    """What is available, and what it takes."""
    machine = profile(2 * GB, limit=3 * GB)
    [finding] = memory(machine, planned(machine))
    assert finding.level == "ok"
    assert finding.text.startswith("2.00 GB available, limited to 3.00 GB; the model needs ")


def test_a_model_that_does_not_fit_now() -> None:
    """It may once others leave: a warning. One that never will is an error."""
    machine = profile(300 * 10**6)
    [finding] = memory(machine, planned(machine))
    assert finding.level == "warning"
    assert "300 MB are available now" in finding.text
    assert finding.fix == model.LESS_MEMORY_FIX
    [never] = memory(small := profile(10**8, total=10**8), planned(small))
    assert never.level == "error"
    assert "the machine has 100 MB" in never.text


def test_a_gpu_that_is_too_small() -> None:
    """For the layers that were placed on it by hand."""
    card = Gpu("nvidia", "RTX", "cuda", memory=10**9, available=600 * 10**6)
    machine = replace(profile(3 * GB), gpus=(card,))
    [finding] = memory(machine, planned(machine, gpu_layers=-1, ctx=100_000))
    assert finding.level == "warning"
    assert "of GPU memory" in finding.text


def test_a_running_daemon_has_its_memory_already() -> None:
    """What is available is beside it, and only little is worth a word."""
    machine = profile(300 * 10**6)
    assert memory(machine, planned(machine), running=True)[0].level == "ok"
    tight = profile(50 * 10**6)
    assert memory(tight, planned(tight), running=True)[0].level == "warning"


def test_swap_and_kills_are_noted() -> None:
    """No swap on a small board; much of it used; processes that the kernel killed."""
    machine = profile(2 * GB)
    wanted = planned(machine)
    [none] = memory(machine, wanted, swap=Swap(0, 0))
    assert (none.level, none.text[:16]) == ("note", "there is no swap")
    assert memory(profile(8 * GB, total=16 * GB), wanted, swap=Swap(0, 0))[0].level == "ok"
    [used] = memory(machine, wanted, swap=Swap(2 * GB, GB // 2))
    assert used.text.startswith("1.50 GB are swapped out")
    assert memory(machine, wanted, swap=Swap(2 * GB, 3 * GB // 2))[0].level == "ok"
    [kills] = memory(machine, wanted, oom_kills=2)
    assert (kills.level, kills.text[:33]) == ("note", "the kernel has killed 2 processes")


def test_swap_is_read_of_meminfo(tmp_path: Path) -> None:
    """In bytes; unknown where there is none."""
    root = write(tmp_path, {"proc/meminfo": "MemTotal: 100 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n"})
    assert model.read_swap(root) == Swap(51200, 20480)
    assert model.read_swap(tmp_path / "nowhere") == Swap(None, None)


def test_a_model_that_is_not_there() -> None:
    """The error's words, and its hint; memory is not blamed for it."""
    error = ModelNotFound("no model 'x'", hint="edgeinfer pull x")
    assert model.check_models(error) == [Finding("model", "error", "no model 'x'", "edgeinfer pull x")]
    assert memory(profile(10**7), error)[0].level == "ok"
    assert model.check_models(planned(profile(GB)))[0].text.startswith("edgeinfer-nano")


def test_every_model_of_the_settings_is_checked() -> None:
    """Its name there comes first; each has to fit by itself, as idle ones make room."""
    machine = profile(2 * GB)
    small = planned(machine)
    others: dict[str, Plan | EdgeinferError] = {
        "gone": ModelNotFound("no model 'x'", hint="edgeinfer pull x"),
        "big": planned(profile(10**7)),
    }
    first, gone, big = model.check_models(small, others)
    assert gone == Finding("model", "error", "gone: no model 'x'", "edgeinfer pull x")
    assert (first.level, big.level, big.text[:5]) == ("ok", "ok", "big: ")
    for running, level in ((False, "warning"), (True, "ok")):
        [finding] = model.check_memory(
            small, machine.memory, Swap(None, None), None, running=running, others=others
        )
        assert finding.level == level


def test_a_draft_model_is_named_or_why_there_is_none() -> None:
    plan = planned(profile(2 * GB))
    with_one = replace(plan, config=replace(plan.llama, draft_model="/models/small.gguf"))
    assert model.check_models(with_one)[0].text.endswith(", with small.gguf as its draft model")
    (finding,) = model.check_models(replace(plan, draft_problem="max_draft is 0"))
    text = "edgeinfer-nano has no draft model: max_draft is 0"
    assert finding == Finding("model", "note", text, "change or remove draft_model")


def test_a_clock_in_the_past() -> None:
    """No certificate is valid then."""
    [finding] = clock.check_clock(0.0, NOW, Path("/nowhere"))
    assert finding.level == "error"
    assert finding.text.startswith("the clock says 1970-01-01 00:00 UTC, before this program was made")


@pytest.mark.parametrize(
    ("files", "level", "text"),
    [
        ({"run/systemd/timesync/synchronized": ""}, "ok", "2027-01-15 08:00 UTC, set by a time server"),
        ({"commands/timedatectl.txt": "NTP=yes\nNTPSynchronized=yes\n"}, "ok", "2027-01-15 08:00 UTC, set by a time server"),
        ({"commands/timedatectl.txt": "NTPSynchronized=no\n"}, "note", "2027-01-15 08:00 UTC; no time server sets it"),
        ({"commands/timedatectl.txt": "NTPSynchronized=no\n", "sys/class/rtc/rtc0/name": "rtc"}, "note", "2027-01-15 08:00 UTC; no time server sets it"),
        ({}, "ok", "2027-01-15 08:00 UTC"),
    ],
)  # fmt: skip
def test_who_sets_the_clock(tmp_path: Path, files: dict[str, str], level: str, text: str) -> None:
    """systemd's mark, timedatectl's word, or nobody knows."""
    assert brief(clock.check_clock(NOW, NOW - 10**6, write(tmp_path, files))) == [(level, text)]


def test_a_board_without_a_clock_of_its_own(tmp_path: Path) -> None:
    """It will wake up in the past."""
    root = write(tmp_path, {"commands/timedatectl.txt": "NTPSynchronized=no\n"})
    (root / "sys/class/rtc").mkdir(parents=True)
    assert clock.check_clock(NOW, NOW, root)[0].level == "warning"


def test_this_clock_is_after_the_programs_date() -> None:
    """Else the tests would be run by a machine of the past."""
    assert 0 < clock.build_time() < 2**33


def pi(tmp_path: Path, files: dict[str, str], family: str = "raspberry-pi-5") -> list[Finding]:
    root = write(tmp_path, files)
    return power.check_power(throttled(root), voltage_alarm(root), family)


@pytest.mark.parametrize(
    ("bits", "findings"),
    [
        ("0x0", [("ok", "voltage is sufficient, no throttling")]),
        (
            "0x50005",
            [
                ("error", "the voltage is too low, which damages cards and crashes boards"),
                ("warning", "the firmware is throttling the board"),
            ],
        ),
        (
            "0x50000",
            [
                (
                    "warning",
                    "the voltage was too low at some time since boot, which damages cards and crashes boards",
                ),
                ("note", "the firmware was throttling the board at some time since boot"),
            ],
        ),
        (
            "0xe0008",
            [
                ("note", "the firmware was throttling the board at some time since boot"),
                ("note", "the firmware was capping the CPU frequency at some time since boot"),
                ("warning", "the board is warm enough to run slower"),
            ],
        ),
    ],
)
def test_what_a_pi_says_of_its_power(tmp_path: Path, bits: str, findings: list[tuple[str, str]]) -> None:
    """Now, and since it started."""
    assert brief(pi(tmp_path, {"commands/vcgencmd.txt": f"throttled={bits}\n"})) == findings


@pytest.mark.parametrize("place", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_a_pi_without_its_tool_says_it_in_sys(tmp_path: Path, place: str) -> None:
    """In hexadecimal without a mark; the supply is the board's."""
    findings = pi(tmp_path, {f"sys/devices/platform/{place}/get_throttled": "50005\n"})
    assert findings[0].level == "error"
    assert findings[0].fix
    assert findings[0].fix.startswith("use a supply of 5 V and 5 A")


def test_the_kernels_own_alarm_counts(tmp_path: Path) -> None:
    """Where the firmware says nothing, or nothing of the present."""
    files = {"sys/class/hwmon/hwmon1/name": "rpi_volt\n", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}
    [finding] = pi(tmp_path, files, "raspberry-pi-4")
    assert (finding.level, finding.text) == ("error", "the kernel warns that the voltage is too low")
    assert "5 V and 3 A" in (finding.fix or "")
    files["sys/class/hwmon/hwmon1/in0_lcrit_alarm"] = "0\n"
    assert brief(pi(tmp_path, files)) == [("ok", "voltage is sufficient, no throttling")]


@pytest.mark.parametrize("output", ["VCHI initialization failed\n", "", "throttled=0x\n"])
def test_a_tool_that_fails_says_nothing(tmp_path: Path, output: str) -> None:
    """As in a container, where it may not ask. No other machine has anything to say."""
    assert pi(tmp_path, {"commands/vcgencmd.txt": output}) == []


def zone(number: int, name: str, temp: int, **trips: int) -> dict[str, str]:
    folder = f"sys/class/thermal/thermal_zone{number}"
    files = {f"{folder}/type": f"{name}\n", f"{folder}/temp": f"{temp}\n"}
    for index, (kind, at) in enumerate(trips.items()):
        files[f"{folder}/trip_point_{index}_type"] = f"{kind.rstrip('0123456789')}\n"
        files[f"{folder}/trip_point_{index}_temp"] = f"{at}\n"
    return files


def hot(tmp_path: Path, files: dict[str, str]) -> list[tuple[str, str]]:
    root = write(tmp_path, files)
    return brief(thermal.check_temperature(thermal_zones(root), cooling_devices(root)))


@pytest.mark.parametrize(
    ("temp", "finding"),
    [
        (61_000, ("ok", "highest: 61 °C (soc)")),
        (81_000, ("note", "soc is at 81 °C; the machine will throttle from 85 °C")),
        (86_000, ("warning", "soc is at 86 °C; the machine throttles from 85 °C")),
        (111_000, ("error", "soc is at 111 °C; the machine shuts down at 115 °C")),
    ],
)
def test_temperatures_near_their_trip_points(tmp_path: Path, temp: int, finding: tuple[str, str]) -> None:
    """Of several passive ones the last one slows down."""
    files = zone(0, "soc", temp, passive1=75_000, passive2=85_000, critical=115_000)
    assert hot(tmp_path, files | zone(1, "gpu", 40_000, critical=115_000)) == [finding]


def test_trip_points_that_nobody_meant(tmp_path: Path) -> None:
    """Zero, negative and boundless ones, as x86 firmware has them, and sensors that sleep or freeze."""
    files = zone(0, "acpitz", 50_000, passive=0, critical=-274_000, hot=255_000)
    files |= zone(1, "iwlwifi", 0) | zone(2, "outside", -5_000)
    assert hot(tmp_path, files) == [("ok", "highest: 50 °C (acpitz)")]


def test_a_cpu_that_is_slowed_down(tmp_path: Path) -> None:
    """Fans that turn are no trouble."""
    folder = "sys/class/thermal/cooling_device"
    files = zone(0, "soc", 80_000)
    for number, (name, state) in enumerate({"thermal-cpufreq-0": 3, "pwm-fan": 4, "Processor": 0}.items()):
        texts = {"type": name, "cur_state": str(state), "max_state": "7"}
        files |= {f"{folder}{number}/{file}": text for file, text in texts.items()}
    text = "the CPU is throttled because of heat, step 3 of 7 (thermal-cpufreq-0)"
    assert hot(tmp_path, files) == [("warning", text)]
    assert hot(tmp_path / "nowhere", {}) == []


def governed(tmp_path: Path, governor: str, driver: str, allowed: int = 1_800_000) -> list[Finding]:
    files: dict[str, str] = {}
    for number in range(2):
        folder = f"sys/devices/system/cpu/cpu{number}/cpufreq"
        texts = {"governor": governor, "driver": driver, "max_freq": str(allowed)}
        files |= {f"{folder}/scaling_{name}": text for name, text in texts.items()}
        files[f"{folder}/cpuinfo_max_freq"] = "1800000"
    return frequency.check_frequency(frequency.cpu_frequencies(write(tmp_path, files)))


def test_a_governor_that_keeps_the_board_slow(tmp_path: Path) -> None:
    """powersave means that, but for the drivers of PCs."""
    [finding] = governed(tmp_path, "powersave", "cpufreq-dt")
    assert (finding.level, finding.text) == (
        "warning",
        "the governor powersave keeps CPUs 0, 1 at the lowest frequency",
    )
    assert "schedutil" in (finding.fix or "")
    assert brief(governed(tmp_path, "powersave", "intel_pstate")) == [("ok", "governor powersave")]
    assert brief(governed(tmp_path, "schedutil", "cpufreq-dt")) == [("ok", "governor schedutil")]
    assert frequency.check_frequency(frequency.cpu_frequencies(tmp_path / "nowhere")) == []


def test_a_limit_below_what_the_cpu_can(tmp_path: Path) -> None:
    """It is the user's to know."""
    [finding] = governed(tmp_path, "ondemand", "cpufreq-dt", 1_200_000)
    assert finding.level == "note"
    assert finding.text == "CPUs 0, 1 may run at no more than 1,200,000 of 1,800,000 kHz"


def gpus(machine: HardwareProfile, **settings: Any) -> list[tuple[str, str]]:
    return brief(gpu.check_gpu(machine, Settings(**settings), "rebuild"))


def test_a_gpu_that_computes_or_need_not() -> None:
    """A card with its driver; a VideoCore, which is slower than the CPU; a machine without."""
    desktop = detect(TREES / "rtx-3060-desktop")
    [finding] = gpus(desktop)
    assert finding[0] == "ok"
    assert finding[1].endswith("through cuda")
    assert gpus(desktop, gpu_layers=0)[0][1].endswith("not used, as gpu_layers is 0")
    assert gpus(detect(TREES / "pi5-8gb")) == [("ok", "VideoCore VII: the CPU is faster")]
    assert gpus(detect(TREES / "container-2cpu-2gb")) == []


def test_a_build_without_the_gpus_api() -> None:
    """The card is idle, and nobody else would tell."""
    machine = replace(detect(TREES / "rtx-3060-desktop"), llama=LlamaBuild("0.3.36", ("avx2",)))
    [finding] = gpu.check_gpu(machine, Settings(), "rebuild")
    assert finding.level == "warning"
    assert "llama.cpp was built without cuda" in finding.text
    assert finding.fix == "install NVIDIA's CUDA toolkit, then rebuild"


def test_gpus_without_a_driver() -> None:
    """Missing, of no use, or not passed into the container."""
    machine = detect(TREES / "pi5-8gb")
    card = Gpu("nvidia", "NVIDIA RTX 3060")
    assert gpus(replace(machine, gpus=(card,))) == [
        ("warning", "the NVIDIA RTX 3060 is not used: it has no driver")
    ]
    nouveau = replace(machine, gpus=(replace(card, driver="nouveau"),))
    assert gpus(nouveau)[0][1].endswith("llama.cpp cannot use its driver nouveau")
    inside = replace(machine, gpus=(card,), system=System(container="docker"))
    [finding] = gpu.check_gpu(inside, Settings(), "rebuild")
    assert (finding.level, finding.fix) == ("note", "pass it into the container: docker run --gpus all")


def test_a_gpu_that_was_lost() -> None:
    """The driver is loaded, and its tool does not reach the card."""
    machine = replace(detect(TREES / "pi5-8gb"), gpus=(Gpu("nvidia", "RTX", "cuda", driver="550.54"),))
    [finding] = gpu.check_gpu(machine, Settings(), "rebuild")
    assert finding.level == "error"
    assert "modprobe" in (finding.fix or "")


def test_layers_for_a_gpu_that_is_not_there() -> None:
    """The setting is at fault."""
    machine = detect(TREES / "container-2cpu-2gb")
    assert gpus(machine, gpu_layers=-1) == [("error", "gpu_layers is -1, but there is no GPU")]


def test_measurements_that_no_longer_count(tmp_path: Path) -> None:
    """Of another llama.cpp; none at all; those of here and now."""
    machine = replace(detect(TREES / "pi5-8gb"), llama=LlamaBuild("0.3.36"))
    assert "has not been measured" in check_calibration(None, tmp_path)[0].text
    calibration.save(tmp_path, Calibration(fingerprint(machine), "0.3.35", "2026-01-02T03:04:05"))
    assert "another llama.cpp" in check_calibration(calibration.load(tmp_path, machine), tmp_path)[0].text
    calibration.save(tmp_path, Calibration(fingerprint(machine), "0.3.36", "2026-01-02T03:04:05"))
    assert brief(check_calibration(calibration.load(tmp_path, machine), tmp_path)) == [
        ("ok", "measured 2026-01-02")
    ]


def test_the_recorded_boards_have_nothing_against_them() -> None:
    """Builds and GPUs of all trees, taken as they are."""
    for tree in sorted(path for path in TREES.iterdir() if path.is_dir()):
        machine = detect(tree)
        assert build_note(LlamaBuild("1", machine.cpus[0].isa or ()), machine.cpus) is None, tree
        assert "error" not in {level for level, _ in gpus(machine)}, tree
