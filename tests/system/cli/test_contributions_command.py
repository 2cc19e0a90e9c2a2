"""``learnae contributions`` as people and machines meet it."""

from pathlib import Path

import pytest
from builders import Author
from programs import Programs, assert_refused

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.cli import output
from learnae.ipld.cid import DAG_CBOR
from learnae.peer.contributions.book import ContributionBook
from learnae.privacy.policy import NONE, PrivacyPolicy, SummaryPrivacy
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import KEY, Contributions, FrameHeader, Join, Profile, Update
from learnae.protocol.identity import peer_name
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from learnae.weights.merge import MEAN, MergePolicy

CONFIGURATION, TRY_AGAIN = 78, 75
WRIST = preset("wrist", 1)
NAMES = ["ann", "bob", "[red]x", "cho"]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def people(programs: Programs, manifest: Manifest = WRIST) -> list[bytes]:
    """Four authors who have published weights, and one who has only said its name."""
    store_at = programs.add_swarm(manifest)
    store, gossip, said = LocalBlockStore(store_at), LocalGossip(store_at, "all"), []
    header = FrameHeader(KEY, "q8", manifest.model.count, None)
    for number, name in enumerate([*NAMES, "stranger"]):
        profile = Profile(name, "agent", "1")
        update = Update(header, 100, 400, None, (), 0, 0, peer=profile)
        body = (Join(profile) if name == "stranger" else update).to_fields()
        said.append(Author(number, manifest.swarm).say(body=body, checkpoint=True))
        store.put(DAG_CBOR, said[-1].data)
    gossip.announce(Announcement(tuple(Entry(m.author[:PREFIX_BYTES], m.seq, m.cid, m.cid) for m in said)))
    store.close()
    return [message.author for message in said]


def keep(programs: Programs, authors: list[bytes], manifest: Manifest = WRIST, name: str = "ann") -> Path:
    """A peer's directory, with a book in which the second and the third say what the others are worth."""
    book = ContributionBook(manifest.swarm, authors[0], manifest.limits.horizon)
    for rater, percents in ((authors[1], (120, -300, 0)), (authors[2], (80, -500, 10))):
        voices = dict(zip((authors[0], authors[3], authors[4]), percents, strict=True))
        names = sorted(author[:PREFIX_BYTES] for author in voices)
        by_name = {author[:PREFIX_BYTES]: percent for author, percent in voices.items()}
        book.hear(rater, 1_700_000_000_000, Contributions(tuple(names), tuple(by_name[each] for each in names)))
    book.admit(authors[1:3])
    for number in range(4):
        book.note_gains({authors[1]: 0.2, authors[3]: -0.4}, 1_700_000_000_000 + number)
    directory = programs.home / "peers" / name
    directory.mkdir(parents=True)
    (directory / "contributions").write_bytes(book.to_bytes())
    return directory


def test_contributions_are_listed_for_people_and_machines(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    authors = people(programs)
    keep(programs, authors)
    found = programs.answer("learnae", "contributions")
    assert found["of"] == "ann"
    assert [one["name"] for one in found["peers"]] == ["bob", "ann", "cho", "[red]x"], "the unrated last"
    ann, cho = found["peers"][1], found["peers"][2]
    assert ann == {
        "peer": peer_name(authors[0]), "name": "ann", "usefulness": 1.0, "raters": 2, "low": 0.9, "high": 1.1,
        "own": None,
    }  # fmt: skip
    assert (cho["usefulness"], cho["raters"], cho["own"]) == (-4.0, 3, -4.0)
    assert "stranger" not in str(found), "it has published no weights"
    assert programs.answer("learnae", "contributions", "--peer", "ann") == found
    said = programs.run("learnae", "contributions").stdout
    for word in (*NAMES, "useful", "raters", "1.00", "-4.00", "no reward"):
        assert word in said
    monkeypatch.setattr(output.console, "width", 44)
    narrow = programs.run("learnae", "contributions").stdout
    assert all(len(line) <= 44 for line in narrow.splitlines())
    assert "-4.00" in narrow


@pytest.mark.modules("matplotlib")
def test_a_picture_is_drawn(programs: Programs, tmp_path: Path) -> None:
    keep(programs, people(programs))
    programs.answer("learnae", "contributions", "--picture", tmp_path / "useful.png")
    assert (tmp_path / "useful.png").read_bytes().startswith(b"\x89PNG")
    done = programs.run("learnae", "contributions", "--picture", tmp_path / "useful.gif")
    assert_refused(done, CONFIGURATION, "useful.gif", ".png")


def test_a_swarm_without_summaries_says_that_it_has_none(programs: Programs) -> None:
    none = PrivacyPolicy(summary=SummaryPrivacy(form=NONE))
    people(programs, Manifest("quiet", WRIST.config, WRIST.loss, privacy=none, merge=MergePolicy(rule=MEAN)))
    done = programs.run("learnae", "contributions", "--swarm", "quiet")
    assert_refused(done, CONFIGURATION, "swarm 'quiet' has no contributions", "no summaries", "asks for none")


def test_what_is_not_known_yet_or_damaged_is_said(programs: Programs) -> None:
    authors = people(programs)
    done = programs.run("learnae", "contributions")
    assert_refused(done, CONFIGURATION, "any peer here", "3 others who tell of their rows")
    directory = keep(programs, authors)
    (directory / "contributions").write_bytes(b"\0" * 100)
    assert_refused(programs.run("learnae", "contributions"), TRY_AGAIN, f"{directory / 'contributions'}: ")
