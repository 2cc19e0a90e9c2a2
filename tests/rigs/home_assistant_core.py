"""Runs in an environment with Home Assistant: its core and its MQTT integration, at the broker of a port.

    python home_assistant_core.py DIRECTORY PORT

Each line of standard input asks for one of standard output: devices and entities as Home Assistant has them.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from homeassistant import bootstrap, config_entries, loader
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry, entity_registry

_ENTRY = {"title": "", "domain": "mqtt", "source": "user", "version": 1, "minor_version": 2}
_REST = {"options": {}, "unique_id": None, "discovery_keys": {}, "subentries_data": None}


async def main(directory: Path, port: int) -> None:
    """Answer until standard input ends."""
    (directory / "configuration.yaml").touch()
    home = HomeAssistant(str(directory))
    home.config.skip_pip = True
    home.config_entries = config_entries.ConfigEntries(home, {})
    loader.async_setup(home)
    await bootstrap.async_load_base_functionality(home)
    home.config.components |= {"http", "file_upload"}  # pages for people, which MQTT depends on
    await home.async_start()
    entries = home.config_entries.async_entries("mqtt")
    if entries:  # known from an earlier start
        await home.config_entries.async_setup(entries[0].entry_id)
    else:
        entry = config_entries.ConfigEntry(data={"broker": "127.0.0.1", "port": port}, **_ENTRY, **_REST)
        await home.config_entries.async_add(entry)
    while await asyncio.to_thread(sys.stdin.readline):
        await home.async_block_till_done()
        print(json.dumps(look(home), default=str), flush=True)
    await home.async_stop()


def look(home: HomeAssistant) -> dict[str, Any]:
    """Return the devices, and the entities that have a state, by their unique ids."""
    devices, entities = device_registry.async_get(home).devices, entity_registry.async_get(home).entities
    states = {entity.unique_id: home.states.get(entity.entity_id) for entity in entities.values()}
    return {
        "devices": [device.dict_repr for device in devices.values()],
        "entities": {name: state.as_dict() for name, state in states.items() if state},
    }


logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
