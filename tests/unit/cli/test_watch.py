"""What ``learnae watch --broker`` waits for before it shows its first table."""

from learnae.cli.commands.look.watch import wait_for_retained


class Broker:
    """A connection and its subscriber at once: slow to confirm, then quick to tell. Only sleeping moves its clock."""

    is_connected = True

    def __init__(self, confirms_at: float) -> None:
        self.now, self.confirms_at = 0.0, confirms_at
        wait_for_retained(self, self, lambda: self.now, self.sleep)  # type: ignore[arg-type]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def is_subscribing(self) -> bool:
        return self.now < self.confirms_at

    def peers(self) -> list[str]:
        return [] if self.is_subscribing else ["alice"]


def test_a_first_look_waits_for_a_broker_that_confirms_late() -> None:
    assert Broker(confirms_at=4.0).peers() == ["alice"]


def test_a_broker_that_never_confirms_is_not_waited_for_for_ever() -> None:
    assert Broker(confirms_at=1e9).now < 60
