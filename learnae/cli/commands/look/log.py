"""``learnae log``: the messages of a swarm."""

import argparse
from collections.abc import Mapping
from typing import Any

from learnae.cli.output import Cell, PeerName, console, fitting, human_time, print_json, shedding, short_cid, table
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.runtime.observer import describe
from learnae.text import counted


def log(options: argparse.Namespace) -> int:
    """Show the tangle's messages, newest first."""
    observer = observe(choose_swarm(options.swarm).directory)
    found = [describe(message) for message in observer.messages(options.count)]
    if options.json:
        print_json(found)
        return 0
    names = {view.peer: view.shown for view in observer.peers()}
    rows = [_row(item, names[item["author"]]) for item in found]
    title = f"{observer.manifest.name}: {counted(len(observer.tangle), 'message')}"
    columns = ["time", "peer", ">seq", "kind", "content", "parents", "cid"]
    short = [[*row[:-1], short_cid(item["cid"])] for row, item in zip(rows, found, strict=True)]  # as parents are named
    console.print(
        fitting([table(title, columns, rows), *shedding(title, columns, short, ["parents", "cid", "content", "time"])])
    )
    return 0


def _row(item: Mapping[str, Any], author: str) -> list[Cell]:
    body = item["body"]
    content = str(body.get("frame", ""))
    if body["kind"] == "summary":
        content = f"~{body['rows']:,} rows, {counted(body['columns'], 'column')}"
    return [
        human_time(item["time"]),
        PeerName(author),
        str(item["seq"]),
        body["kind"],
        content,
        " ".join(map(short_cid, item["parents"])),
        item["cid"],
    ]
