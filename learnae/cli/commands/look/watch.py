"""``learnae peers``, ``log`` and ``watch``: looking at a swarm on this machine."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from learnae.adapters.local.clock import SystemClock
from learnae.cli.commands.look import watch_broker as remote
from learnae.cli.output import console, fitting, human_time, peer_table, print_json, shedding, short_cid, table
from learnae.cli.refresh import look
from learnae.cli.swarm_choice import choose_swarm
from learnae.runtime.observer import Observer, PeerView, describe
from learnae.text import counted


def peers(options: argparse.Namespace) -> int:
    """Everybody in the swarm, once."""
    observer = _observer(options)
    if options.json:
        print_json([dataclasses.asdict(view) for view in observer.peers()])
    else:
        console.print(_table(observer, observer.peers()))
    return 0


def log(options: argparse.Namespace) -> int:
    """The tangle, newest first."""
    observer = _observer(options)
    found = [describe(message) for message in observer.messages(options.count)]
    if options.json:
        print_json(found)
        return 0
    names = {view.peer: view.name for view in observer.peers()}
    rows = [
        [
            human_time(item["time"]),
            names[item["author"]],
            str(item["seq"]),
            item["body"]["kind"],
            _content(item["body"]),
            " ".join(map(short_cid, item["parents"])),
            item["cid"],
        ]
        for item in found
    ]
    title = f"{observer.manifest.name}: {counted(len(observer.tangle), 'message')}"
    columns = ["time", "peer", ">seq", "kind", "content", "parents", "cid"]
    short = [[*row[:-1], short_cid(row[-1])] for row in rows]  # as parents are named
    console.print(
        fitting([table(title, columns, rows), *shedding(title, columns, short, ["parents", "cid", "content", "time"])])
    )
    return 0


def _content(body: Mapping[str, Any]) -> str:
    if body["kind"] == "summary":
        return f"~{body['rows']:,} rows, {counted(body['columns'], 'column')}"
    return str(body.get("frame", ""))


def watch(options: argparse.Namespace) -> int:
    """A live table until interrupted; one JSON line an interval with --json."""
    if options.broker:
        return remote.watch(options)
    observer = _observer(options)

    def peers() -> list[PeerView]:
        observer.refresh()
        return observer.peers()

    return look(options, peers, lambda: _table(observer, peers()))


def _observer(options: argparse.Namespace) -> Observer:
    observer = Observer(choose_swarm(options.swarm))
    observer.refresh()
    return observer


def _table(observer: Observer, peers: Sequence[PeerView]) -> Table:
    title = f"{observer.manifest.name}, {counted(len(observer.tangle), 'message')}, {observer.swarm}"
    return peer_table(title, peers, SystemClock().now())
