"""Several gossips at once: one that works is enough, and one that fails stops no other."""

from collections.abc import Iterable, Mapping

from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import LearnaeError
from learnae.ports import Gossip, Heard
from learnae.protocol.announcements import Announcement
from learnae.protocol.neighbourhood.interest import Interest

LOCAL = "local"  # the gossip between the peers of one machine


class Gossips(Gossip):
    """Announces in several gossips, by name, and hears all; all but ``LOCAL`` link to other machines; counts errors."""

    def __init__(self, gossips: Mapping[str, Gossip], errors: ErrorLog | None = None) -> None:
        self._gossips = gossips
        self._announcements = 0 if gossips.keys() - {LOCAL} else None
        self._errors = errors or ErrorLog()

    @property
    @override
    def announcements(self) -> int | None:
        return self._announcements

    @property
    @override
    def is_linked(self) -> bool:
        return any(gossip.is_linked for name, gossip in self._gossips.items() if name != LOCAL)

    @override
    def announce(self, announcement: Announcement) -> None:
        announcement.check()
        for gossip in self._gossips.values():
            try:
                gossip.announce(announcement)
            except LearnaeError as error:  # the others go on; it is announced again at the next tick
                self._errors.count(error)

    @override
    def attend(self, interest: Interest) -> bool:
        filters = [gossip.attend(interest) for gossip in self._gossips.values()]  # each is to be told
        return all(filters)

    @property
    @override
    def levels(self) -> int:
        return max((gossip.levels for gossip in self._gossips.values()), default=0)

    @override
    def heard(self) -> Iterable[Heard]:
        announcements: list[Heard] = []
        for name, gossip in self._gossips.items():
            try:
                heard = list(gossip.heard())
            except LearnaeError as error:
                self._errors.count(error)
                continue
            if self._announcements is not None and name != LOCAL:
                self._announcements += sum(
                    bool(each.announcement) for each in heard
                )  # an empty one is a peer that left
            announcements += heard
        return announcements
