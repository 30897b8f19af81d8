"""What disturbs a pair is seen: stolen time, waiting threads, falling clocks, a slowed card, and who comes to it."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from convzoo.bench.nvml import Card, CardWatch
from convzoo.bench.watch import ProcessorWatch


class System:
    """The files of a system, and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ticks, self.stolen, self.waited = 1000, 0, 0

    def read(self, path: str) -> str:
        if path == "/proc/stat":
            return f"cpu  {self.ticks} 0 0 0 0 0 0 {self.stolen} 0 0\ncpu0 1"
        return f"1 {self.waited} 2\n" if path == "task" else ""

    def watch(self) -> ProcessorWatch:
        return ProcessorWatch(2, clock=lambda: self.now, read=self.read, tasks=lambda: ["task"])

    def pass_by(self, seconds: float, stolen: int = 0, waited: float = 0.0) -> None:
        self.now += seconds
        self.ticks += int(200 * seconds) - stolen
        self.stolen += stolen
        self.waited += int(1e9 * waited)


def said(stolen: int = 0, waited: float = 0.0) -> str:
    system = System()
    watch = system.watch()
    watch.begin()
    system.pass_by(1.0, stolen, waited)
    return watch.end()


def test_a_quiet_pair_is_not_disturbed() -> None:
    assert said() == ""
    assert said(stolen=1, waited=0.05) == "", "one tick is as fine as the system's clock is"


def test_stolen_time_and_waiting_threads_disturb() -> None:
    assert said(stolen=20) == "10% of the cores' time was stolen by other machines"
    assert said(waited=0.5) == "threads waited 25% of the time for a core"
    assert "stolen" in (both := said(20, 0.5))
    assert "waited" in both


def test_the_summary_has_shares_over_all_pairs() -> None:
    system = System()
    watch = system.watch()
    for stolen in (0, 20):
        watch.begin()
        system.pass_by(1.0, stolen, 0.2)
        watch.end()
    summary = watch.summary()
    assert summary["watched"] == ["steal", "waiting"]
    assert round(summary["stolen"], 3) == 0.05
    assert round(summary["waited"], 3) == 0.1


def test_what_the_system_does_not_tell_is_not_watched() -> None:
    watch = ProcessorWatch(1, read=lambda path: "", tasks=lambda: [])
    watch.begin()
    assert watch.end() == ""
    assert watch.summary()["watched"] == []


class Driver:
    """The driver's library, as far as it is called."""

    def __init__(self) -> None:
        self.clock, self.mask, self.pids, self.used = 1500, 0, [7], 2**30

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        return 0 if uuid == b"GPU-1" else 6

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int, out: Any) -> int:
        out._obj.value = self.clock
        return 0

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any, out: Any) -> int:
        out._obj.value = self.mask
        return 0

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, found: Any) -> int:
        assert count._obj.value == len(found)
        count._obj.value = len(self.pids)
        for place, pid in zip(found, self.pids, strict=False):
            place.pid, place.memory = ctypes.c_uint(pid), self.used * pid
        return 0


def on_card(own: int, **changes: Any) -> tuple[str, dict[str, Any]]:
    """What is said of a pair after which the driver tells something else."""
    driver, system = Driver(), System()
    watch = CardWatch(Card("GPU-1", driver), system.watch(), own=lambda: own)
    for change in ({}, changes):
        for name, value in change.items():
            setattr(driver, name, value)
        watch.begin()
        system.pass_by(1.0)
        why = watch.end()
    return why, watch.summary()


def test_a_card_is_disturbed_by_heat_a_falling_clock_and_newcomers() -> None:
    assert on_card(7)[0] == ""
    assert on_card(7, mask=0x40)[0] == "the card is slowed by its temperature (hardware)"
    assert on_card(7, clock=1200)[0] == "the card's clock fell from 1500 to 1200 MHz"
    assert on_card(7, pids=[7, 9])[0] == "1 other process came to the card"
    assert on_card(99, pids=[7, 9])[0] == "1 other process came to the card", "a container numbers processes otherwise"


def test_a_power_cap_is_counted_and_disturbs_nothing_by_itself() -> None:
    why, summary = on_card(7, mask=0x04)
    assert why == ""
    assert summary["card"] == {"clock": [1.5e9, 1.5e9], "power_capped": 0.5, "others": 0}


def test_a_threads_waiting_is_no_disturbance_of_a_card() -> None:
    system = System()
    watch = CardWatch(None, system.watch())
    watch.begin()
    system.pass_by(1.0, 0, 1.0)
    assert watch.end() == ""
    assert "was not watched" in watch.summary()["card"]


@pytest.mark.parametrize(
    ("pids", "used", "expected"),
    [
        ([7], 2**30, 7 * 2**30),
        ([7, 9], 2**30, 7 * 2**30),
        ([9], 2**30, 9 * 2**30),  # alone, under the number that it has outside of its container
        ([8, 9], 2**30, None),
        ([], 2**30, None),
        ([1], 2**64 - 1, None),
    ],
)
def test_memory_on_a_card_is_that_of_this_process_or_unknown(pids: list[int], used: int, expected: int | None) -> None:
    driver = Driver()
    driver.pids, driver.used = pids, used
    assert Card("GPU-1", driver).memory_of(7) == expected
