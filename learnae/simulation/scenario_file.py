"""What a scenario file says of a simulated swarm: sections of declared keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from learnae.config.keys import Range, check_keys, setting
from learnae.config.loading import load_config
from learnae.errors import ConfigurationError
from learnae.simulation.attacks import LATE, LIES, SYBIL
from learnae.weights.merge import RULES

MOST_PEERS = 10_000
MOST_PROCESSES = 64
LYING = tuple(kind for kind, lie in LIES.items() if lie.does not in (LATE, SYBIL))  # these have keys of their own here
_SECOND, _MINUTE = 1000, 60_000
_PRESETS = ("wrist",)  # whose rows come with the library


@dataclass(frozen=True, slots=True)
class SwarmSection:
    """``[swarm]``: what is trained, and by how many."""

    preset: str = setting(
        "wrist", "the model and its rows: windows of the demo's people, drawn anew for each peer", choices=_PRESETS
    )
    peers: int = setting(8, "how many there are, liars and newcomers among them", Range(2, MOST_PEERS, "peers"))
    archives: int = setting(
        0, "how many of them keep all that is said, from the first on", Range(0, MOST_PEERS, "peers")
    )
    follow: int = setting(8, "whose frames each fetches", Range(1, 64, "others"))
    rule: str = setting("", "of merging", choices=("", *RULES), stands_for="the preset's own")
    steps: int = setting(0, "of the optimiser between two merges", Range(1, 100_000, "steps", zero="the preset's own"))
    rows: int = setting(64, "of each peer to train on", Range(1, 100_000, "rows"))
    held_out: int = setting(20, "of each peer to measure by", Range(1, 100_000, "rows"))


@dataclass(frozen=True, slots=True)
class RolesSection:
    """``[roles]``: honest peers that are no agents that train; archives may be among them."""

    trainers: int = setting(0, "how many train for longer, on more rows, the first ones", Range(0, MOST_PEERS, "peers"))
    steps: int = setting(260, "of the optimiser between two merges of a trainer", Range(1, 100_000, "steps"))
    rows: int = setting(512, "of a trainer to train on, or of a sender to tell of", Range(1, 100_000, "rows"))
    follow: int = setting(64, "whose frames a trainer fetches", Range(1, 64, "others"))
    senders: int = setting(
        0, "how many never train, and send summaries of their rows alone, those after the trainers",
        Range(0, MOST_PEERS, "peers"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimeSection:
    """``[time]``: virtual time, and the seed that all chance follows from."""

    minutes: float = setting(2.0, "how long it lasts", Range(0, 100_000, "minutes", above=True))
    period: float = setting(
        1.0, "between two ticks of a peer, each up to a quarter early or late", Range(0.1, 86_400, "seconds")
    )
    listen: float = setting(
        0.0, "between two looks at what is new, within a period", Range(0.05, 86_400, "seconds", zero="none")
    )
    seed: int = setting(0, "of all chance: the same one replays byte for byte", Range(0, 2**53))
    together: bool = setting(
        True, "let ticks within a twentieth of a period be taken at once, so that learners train together: faster"
    )
    processes: int = setting(
        1, "that play it together, on as many cores; what happens follows from the seed and from this",
        Range(1, MOST_PROCESSES, "processes"),
    )  # fmt: skip
    samples: int = setting(40, "how often it is measured on the way", Range(1, 10_000, "times"))


@dataclass(frozen=True, slots=True)
class WeatherSection:
    """``[weather]``: what the network does to packets."""

    least: int = setting(10, "one-way delay at the least", Range(0, 600_000, "milliseconds"))
    most: int = setting(100, "one-way delay at the most", Range(0, 600_000, "milliseconds"))
    lost: float = setting(0.0, "which share of packets is lost", Range(0, 1, "a share", below=True))
    doubled: float = setting(0.0, "which share of packets arrives twice", Range(0, 1, "a share"))
    cut_from: float = setting(
        0.0, "when the network is cut into `parts`", Range(0, 100_000, "minutes", zero="at the begin")
    )
    cut_until: float = setting(0.0, "when it is whole again", Range(0, 100_000, "minutes", zero="it is never cut"))
    parts: int = setting(2, "how many, as large as each other", Range(2, MOST_PEERS, "parts"))


@dataclass(frozen=True, slots=True)
class ChurnSection:
    """``[churn]``: machines that stop as `kill -9` does, and come back from their disks; and those that come late."""

    away: float = setting(
        0.0, "which share of honest peers is away at any time, in the mean", Range(0, 0.95, "a share")
    )
    seconds: float = setting(30.0, "for how long one is away, in the mean", Range(1, 86_400, "seconds"))
    newcomers: int = setting(
        0, "how many honest peers are not there at first, the last ones", Range(0, MOST_PEERS, "peers")
    )
    minute: float = setting(1.0, "when these come", Range(0, 100_000, "minutes"))


@dataclass(frozen=True, slots=True)
class LiarsSection:
    """``[liars]``: peers that do not do what the others do."""

    kind: str = setting("sign-flip", "what they do, as `learnae simulate --attack` has it", choices=LYING)
    peers: int = setting(0, "how many", Range(0, MOST_PEERS, "peers"))
    adaptive: bool = setting(False, "lie only as much as judges let through")


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A whole scenario; every section, and every key of one, may be left out."""

    swarm: SwarmSection
    roles: RolesSection
    time: TimeSection
    weather: WeatherSection
    churn: ChurnSection
    liars: LiarsSection

    def __post_init__(self) -> None:
        for name in self.__slots__:
            check_keys(getattr(self, name), name)
        swarm, roles, weather, churn, liars = self.swarm, self.roles, self.weather, self.churn, self.liars
        honest = swarm.peers - liars.peers
        if honest < 2:
            raise ConfigurationError(f"liars.peers is {liars.peers} of {swarm.peers}", "leave two honest ones")
        if churn.newcomers > honest - 2:
            problem = f"churn.newcomers is {churn.newcomers} of {honest} honest peers"
            raise ConfigurationError(problem, "let two be there from the first on")
        if swarm.archives > honest:
            raise ConfigurationError(f"swarm.archives is {swarm.archives} of {honest} honest peers", "use fewer")
        if roles.trainers + roles.senders > honest:
            problem = f"roles.trainers and roles.senders are {roles.trainers + roles.senders} of {honest} honest peers"
            raise ConfigurationError(problem, "use fewer")
        if roles.senders > honest - 2:
            raise ConfigurationError(f"roles.senders is {roles.senders} of {honest} honest peers", "let two train")
        if weather.least > weather.most:
            raise ConfigurationError(f"weather.least is {weather.least}, most {weather.most}", "use no more than most")
        if self.time.processes > 1 and (liars.peers or not weather.least):
            found = f"time.processes is {self.time.processes}, liars.peers {liars.peers}, weather.least {weather.least}"
            raise ConfigurationError(found, "let one process play liars, who act together, and packets without delay")
        if weather.cut_until and weather.cut_until <= weather.cut_from:
            problem = f"weather.cut_until is {weather.cut_until:g}, cut_from {weather.cut_from:g}"
            raise ConfigurationError(problem, "let a cut end after it begins; 0: it is never cut")
        if weather.cut_until and weather.parts > swarm.peers:
            raise ConfigurationError(f"weather.parts is {weather.parts} of {swarm.peers} peers", "use fewer")
        if churn.newcomers and churn.minute >= self.time.minutes:
            problem = f"churn.minute is {churn.minute:g} of {self.time.minutes:g} minutes"
            raise ConfigurationError(problem, "let newcomers come before the end")


def read_scenario(path: Path) -> ScenarioFile:
    """Read a scenario; raises ConfigurationError, which names file, section and key."""
    return load_config(ScenarioFile, "simulation", path, environment={})
