"""``[dashboard]``: this machine alone, unless it is said that others may look."""

import pytest

from learnae.config.dashboard_section import DashboardSection
from learnae.errors import ConfigurationError


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("127.0.0.1:8088", ("127.0.0.1", 8088)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:1", ("::1", 1)),
        ("127.9.9.9:1", ("127.9.9.9", 1)),
    ],
)
def test_addresses_of_this_machine_are_taken(listen: str, place: tuple[str, int]) -> None:
    assert DashboardSection(listen).place() == place


@pytest.mark.parametrize(
    "listen",
    ["8088", ":8088", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x", "http://127.0.0.1:1", "127.0.0.1:1/", "::1:1"],
)
def test_what_is_no_place_is_refused(listen: str) -> None:
    with pytest.raises(ConfigurationError, match="use HOST:PORT"):
        DashboardSection(listen)


def test_others_see_it_only_if_that_is_said() -> None:
    for listen in ("0.0.0.0:8088", "192.0.2.7:8088", "[::]:8088", "board.local:8088"):
        with pytest.raises(ConfigurationError, match="allow_remote"):
            DashboardSection(listen)
    with pytest.raises(ConfigurationError, match=r"dashboard\.names"):
        DashboardSection("0.0.0.0:8088", allow_remote=True)
    with pytest.raises(ConfigurationError, match="HOST or HOST:PORT"):
        DashboardSection("0.0.0.0:8088", allow_remote=True, names="http://a")
    DashboardSection("0.0.0.0:8088", allow_remote=True, names="board.example board.example:443")


def test_metrics_and_others_go_not_together() -> None:
    with pytest.raises(ConfigurationError, match="metrics"):
        DashboardSection("127.0.0.1:1", names="board.example", metrics=True)
    DashboardSection("127.0.0.1:1", metrics=True)
