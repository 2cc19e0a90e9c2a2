"""``learnae-agent run``: nothing of the other verbs, which a board that runs for a year has no use for."""

from pathlib import Path

from agent.config import AgentConfig
from agent.wiring import ROLE, build
from learnae.config.loading import load_config
from learnae.system.service import Service
from learnae.system.signals import abrupt


def run_agent(file: Path | None) -> int:
    """Run an agent by the configuration in ``file``, without one by the usual ones, until a signal ends it."""
    config = load_config(AgentConfig, ROLE, file)
    with abrupt():
        service = build(config, lambda: load_config(AgentConfig, ROLE, file))
    return Service(service.work()).run()
