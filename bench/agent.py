"""What an agent costs its board: memory, CPU between two updates, and the time until the first reading.

The agent is the real program with all that it has: TFLite, the sample buffer, the MQTT monitor, and one sensor
of six channels at 50 Hz, asked through files as those of Linux IIO; its bytecode is there as after an installation, and
its environment is the one that its unit gives it. Where the agents' own environment exists (build/venv-agent:
tflite-runtime), it is measured too.

Resident memory (RSS) counts every page that is mapped, also those of libraries, which the kernel can drop at any time
and other processes may share: "private" is what this process alone has, "anonymous" what it has written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agent.ingestion.buffer import FILE, SampleBuffer
from bench.harness import AT_MOST, Check, Race
from learnae.swarm.directory import create_swarm
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import STATUS_FILE

CHANNELS, RATE = ("ax", "ay", "az", "wx", "wy", "wz"), 50.0
_OWN_PYTHON = Path("build/venv-agent/bin/python")
_SOURCE = Path(__file__).parents[1]
_UNIT = _SOURCE / "systemd/learnae-agent@.service"
_PATIENCE = 180.0
_TICK = os.sysconf("SC_CLK_TCK")
_KINDS = {  # of resident memory: fields of /proc/PID/smaps_rollup
    "private": ("Private_Clean", "Private_Dirty"),
    "proportional (PSS)": ("Pss",),
    "anonymous": ("Anonymous",),
}


def run(race: Race) -> None:
    """Measure the agent on every runtime that is here."""
    pythons = {"LiteRT": (sys.executable, 75.0)}
    if _OWN_PYTHON.exists() and not race.quick:
        pythons["tflite-runtime"] = (str(_OWN_PYTHON), 60.0)
    for runtime, (python, memory) in pythons.items():
        with race.step(f"an agent on {runtime}"):
            subprocess.run([python, "-m", "compileall", "-q", "agent", "learnae"], cwd=_SOURCE, check=False)
            found = measure(python, race.quick)
        report(race, runtime, memory, found)


def report(race: Race, runtime: str, memory: float, found: dict[str, float]) -> None:
    """Checks and figures of one runtime."""
    note = f"{len(CHANNELS)} channels at {RATE:g} Hz, SQLite, " + ("MQTT" if found["mqtt"] else "no Mosquitto here")
    race.check(Check(f"{runtime}: memory (RSS) after training", found["rss"], memory, AT_MOST, "MB", note))
    race.check(Check(f"{runtime}: CPU between two updates", found["cpu"], 5.0, AT_MOST, "% of one core", note))
    race.check(Check(f"{runtime}: start to first reading", found["first"], 2.0, AT_MOST, "s", note))
    for name in ("peak", *_KINDS):
        race.figure(f"{runtime}: {name} memory", found[name], "MB")
    race.figure(f"{runtime}: windows judged", found["judged"])
    race.figure(f"{runtime}: disk", found["disk"], "B a reading")


def measure(python: str, quick: bool) -> dict[str, float]:
    """Run one agent; memory in MB, CPU in percent of one core, seconds to the first reading."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(broker(root))
        stack.enter_context(sensor(root / "sys"))
        config, state = configure(root, port, pause=0.2), root / "state"
        begun = time.time()
        agent = stack.enter_context(program(python, root, config))
        updates = 5 if quick else 100
        wait_for(agent, lambda: status(state).get("steps", 0) >= updates and judged(state), "it to train")
        configure(root, port, pause=3600.0)
        agent.send_signal(signal.SIGHUP)
        wait_for(agent, lambda: is_idle(state), "it to pause")
        cpu = cpu_share(agent.pid, 2.0 if quick else 20.0)
        memory = resident(agent.pid)
        count = judged(state)
        agent.send_signal(signal.SIGTERM)
        agent.wait(_PATIENCE)
        buffer = SampleBuffer(state / FILE, len(CHANNELS), 10**7, 10**9)
        first = float(buffer.after(0, 1)[0].samples.time[0]) - begun
        disk = int(buffer.status()["bytes"]) / int(buffer.status()["readings"])
        buffer.close()
    return {
        **memory,
        "cpu": cpu,
        "first": first,
        "judged": count,
        "disk": disk,
        "mqtt": float(bool(port)),
    }


# -- the agent


def configure(root: Path, port: int, pause: float) -> Path:
    """Write its configuration; the swarm is made the first time."""
    width = 5 * len(CHANNELS)
    features = WindowStatistics(CHANNELS, RATE, 100, 50, (5e4,) * width, (3e4,) * width)
    model = dense_config(width, (64, 64), width, "linear")
    manifest = Manifest("bench", model, "mean_squared_error", features=features)
    swarm = create_swarm(manifest, root / "swarm").directory
    channels = ", ".join(f'{name} = "in_{name}"' for name in CHANNELS)
    config = root / "agent.toml"
    config.write_text(
        f'[peer]\nstate = "{root / "state"}"\n[swarm]\nid = "{swarm}"\n[train]\nengine = "tflite"\npause = {pause}\n'
        f'[source]\nkind = "iio"\nroot = "{root / "sys"}"\nholdout = 0.0\nchannels = {{ {channels} }}\n'
        + (f'[mqtt]\nbroker = "mqtt://127.0.0.1:{port}"\n' if port else "")
    )
    return config


@contextmanager
def program(python: str, root: Path, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The running agent."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEARNAE_")}
    environment = {**kept, **unit_environment(), "PYTHONPATH": str(_SOURCE)}
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "agent", "run", "--config", str(config)], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(agent: subprocess.Popen[bytes], condition: Callable[[], object], what: str) -> None:
    """Raise RuntimeError if it does not come."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline or agent.poll() is not None:
            raise RuntimeError(f"waited for {what}, and the agent is {agent.poll() or 'running'}")
        time.sleep(0.05)


def status(state: Path) -> dict[str, Any]:
    """What the agent last said of itself."""
    try:
        said: dict[str, Any] = json.loads((state / STATUS_FILE).read_text())
    except FileNotFoundError:
        return {}
    return said


def judged(state: Path) -> int:
    """Windows that the model has been applied to."""
    return int(status(state).get("inference", {}).get("count", 0))


def is_idle(state: Path) -> bool:
    """Whether no update has come for three seconds."""
    seq = status(state).get("seq")
    time.sleep(3.0)
    return seq == status(state).get("seq")


def cpu_share(pid: int, seconds: float) -> float:
    """Percent of one core that a process uses."""

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    before, begun = used(), time.monotonic()
    time.sleep(seconds)
    return 100 * (used() - before) / (time.monotonic() - begun)


def unit_environment() -> dict[str, str]:
    """What the agent's unit sets, but for what systemd would fill in."""
    lines = re.findall(r"^Environment=(.*)$", _UNIT.read_text(), re.MULTILINE)
    pairs = [word.split("=", 1) for line in lines for word in line.split()]
    return {name: value for name, value in pairs if "%" not in value}


def resident(pid: int) -> dict[str, float]:
    """A process's memory in MB: ``rss``, its ``peak``, and of which kind it is."""
    kinds = {"rss": ("Rss",), **_KINDS}
    found = {kind: sum(megabytes(pid, "smaps_rollup", name) for name in names) for kind, names in kinds.items()}
    return {**found, "peak": megabytes(pid, "status", "VmHWM")}


def megabytes(pid: int, file: str, name: str) -> float:
    """A figure of a file of /proc/PID."""
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
    return int(found[1]) * 1.024 / 1000 if found else float("nan")


# -- what it talks to


@contextmanager
def sensor(root: Path) -> Iterator[None]:
    """Files as those of an IIO device, which change 50 times a second."""
    device = root / "iio:device0"
    device.mkdir(parents=True)
    (device / "name").write_text("imu\n")
    files = [os.open(device / f"in_{name}_raw", os.O_WRONLY | os.O_CREAT) for name in CHANNELS]
    stop = threading.Event()

    def change() -> None:
        number = 0
        while True:
            number += 1
            for file in files:
                os.pwrite(file, b"%06d\n" % (number * 7919 % 100_003), 0)
            if stop.wait(1 / RATE):
                return

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for file in files:
            os.close(file)


@contextmanager
def broker(root: Path) -> Iterator[int]:
    """A Mosquitto on loopback; its port, 0 where there is none."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if found is None:
        yield 0
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    (root / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    command = [found, "-c", str(root / "mosquitto.conf")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()
