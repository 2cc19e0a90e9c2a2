"""What an agent costs its board: memory, CPU between two updates, and the time until the first reading.

The agent is the real program with all that it has: TFLite, the sample buffer, the MQTT monitor, and one sensor
of six channels at 50 Hz, asked through files as those of Linux IIO; its bytecode is there as after an installation, and
its environment is the one that its unit gives it. Where the agents' own environment exists (build/venv-agent:
tflite-runtime), it is measured too.

Resident memory (RSS) counts every page that is mapped, also those of libraries, which the kernel can drop at any time
and other processes may share: "private" is what this process alone has, "anonymous" what it has written.
"""

import os
import re
import signal
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
from bench.harness import AT_MOST, Race
from bench.rigs.processes import broker, cpu_seconds, memory_bytes, read_status, rig, wait_until
from learnae.swarm.directory import create_swarm
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import STATUS_FILE

CHANNELS, RATE = ("ax", "ay", "az", "wx", "wy", "wz"), 50.0
_OWN_PYTHON = Path("build/venv-agent/bin/python")
_SOURCE = Path(__file__).parents[1]
_UNIT = _SOURCE / "systemd/learnae-agent@.service"
_TIMEOUT_SECONDS = 180.0
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
            compile_all(python)
            found = measure(python, race.quick)
        report(race, runtime, memory, found)


def report(race: Race, runtime: str, memory: float, found: dict[str, float]) -> None:
    """Report the checks and figures of one runtime."""
    note = f"{len(CHANNELS)} channels at {RATE:g} Hz, SQLite, " + ("MQTT" if found["mqtt"] else "no Mosquitto here")
    race.check(f"{runtime}: memory (RSS) after training", found["rss"], memory, AT_MOST, "MB", note)
    race.check(f"{runtime}: CPU between two updates", found["cpu"], 5.0, AT_MOST, "% of one core", note)
    race.check(f"{runtime}: start to first reading", found["first"], 2.0, AT_MOST, "s", note)
    for name in ("peak", *_KINDS):
        race.figure(f"{runtime}: {name} memory", found[name], "MB")
    race.figure(f"{runtime}: windows judged", found["judged"])
    race.figure(f"{runtime}: disk", found["disk"], "B a reading")


def compile_all(python: str) -> None:
    """Write the bytecode that is there after an installation: to compile at the start costs megabytes."""
    packages = ("agent", "learnae", "firmware_bridge")
    subprocess.run([python, "-m", "compileall", "-q", *packages], cwd=_SOURCE, check=False)


def measure(python: str, quick: bool) -> dict[str, float]:
    """Run one agent; memory in MB, CPU in percent of one core, seconds to the first reading."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        is_here = rig("mosquitto").is_here()
        url = f"mqtt://127.0.0.1:{stack.enter_context(broker(root / 'broker')).port}" if is_here else ""
        stack.enter_context(sensor(root / "sys"))
        config, state = configure(root, url, every=0.2), root / "state"
        begun = time.time()
        agent = stack.enter_context(running(python, root, config))
        updates = 5 if quick else 100
        wait_for(agent, lambda: status(state).get("steps", 0) >= updates and judged(state), "it to train")
        configure(root, url, every=3600.0)
        agent.send_signal(signal.SIGHUP)
        wait_for(agent, lambda: is_idle(state), "it to pause")
        cpu = cpu_share(agent.pid, 2.0 if quick else 20.0)
        memory = resident(agent.pid)
        count = judged(state)
        agent.send_signal(signal.SIGTERM)
        agent.wait(_TIMEOUT_SECONDS)
        buffer = SampleBuffer(state / FILE, len(CHANNELS), 10**7, 10**9)
        first = float(buffer.after(0, 1)[0].samples.time[0]) - begun
        disk = int(buffer.status()["bytes"]) / int(buffer.status()["readings"])
        buffer.close()
    return {**memory, "cpu": cpu, "first": first, "judged": count, "disk": disk, "mqtt": float(bool(url))}


# -- the agent


def configure(root: Path, broker_url: str, every: float) -> Path:
    """Write the agent's configuration; the swarm is made the first time."""
    width = 5 * len(CHANNELS)
    features = WindowStatistics(CHANNELS, RATE, 100, 50, (5e4,) * width, (3e4,) * width)
    model = dense_config(width, (64, 64), width, "linear")
    manifest = Manifest("bench", model, "mean_squared_error", features=features)
    swarm = create_swarm(manifest, root / "swarm").directory
    channels = ", ".join(f'{name} = "in_{name}"' for name in CHANNELS)
    config = root / "agent.toml"
    config.write_text(
        f'[peer]\nstate = "{root / "state"}"\n[swarm]\nid = "{swarm}"\n[train]\nengine = "tflite"\n'
        f"[publish]\nevery = {every}\n"
        f'[source]\nkind = "iio"\nroot = "{root / "sys"}"\nholdout = 0.0\nchannels = {{ {channels} }}\n'
        + (f'[mqtt]\nbroker = "{broker_url}"\n' if broker_url else "")
    )
    return config


@contextmanager
def running(python: str, root: Path, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent."""
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
    """Wait until ``condition`` holds; raises RuntimeError if the agent ends before, or TimeoutError."""

    def holds_while_it_runs() -> object:
        if agent.poll() is not None:
            raise RuntimeError(f"waited for {what}, and the agent has ended with {agent.poll()}")
        return condition()

    wait_until(holds_while_it_runs, _TIMEOUT_SECONDS, what)


def status(state: Path) -> dict[str, Any]:
    """Return the agent's newest status."""
    return read_status(state / STATUS_FILE)


def judged(state: Path) -> int:
    """Return how many windows the model has been applied to."""
    return int(status(state).get("inference", {}).get("count", 0))


def is_idle(state: Path) -> bool:
    """Return True if no update has come for three seconds."""
    seq = status(state).get("seq")
    time.sleep(3.0)
    return seq == status(state).get("seq")


def cpu_share(pid: int, seconds: float) -> float:
    """Measure how many percent of one core a process uses for ``seconds``."""
    before, begun = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - begun)


def unit_environment() -> dict[str, str]:
    """Return the environment in the agent's unit, without values that systemd would fill in."""
    lines = re.findall(r"^Environment=(.*)$", _UNIT.read_text(), re.MULTILINE)
    pairs = [word.split("=", 1) for line in lines for word in line.split()]
    return {name: value for name, value in pairs if "%" not in value}


def resident(pid: int) -> dict[str, float]:
    """Return a process's memory in MB: ``rss``, its ``peak``, and of which kind it is."""
    kinds = {"rss": ("Rss",), **_KINDS}
    found = {kind: sum(memory_bytes("smaps_rollup", name, pid) for name in names) for kind, names in kinds.items()}
    return {kind: size / 1e6 for kind, size in {**found, "peak": memory_bytes("status", "VmHWM", pid)}.items()}


# -- what it talks to


@contextmanager
def sensor(root: Path) -> Iterator[None]:
    """Write files as those of an IIO device, which change 50 times a second."""
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
