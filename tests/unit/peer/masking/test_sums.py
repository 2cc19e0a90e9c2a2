"""A member's part in masked sums: whatever is lost, killed or forged, no vector is out in two totals that differ."""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from builders import SWARM, identity
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from machine import ticked
from sums_rig import HORIZON, Numbers, Summer, Swarm

from learnae.errors import LearnaeError, NotWrittenError
from learnae.peer.masking.standing import Answer, Standing, Total
from learnae.privacy.masking.masks import Group, public_of
from learnae.privacy.masking.noise_share import BOUND, conspirators
from learnae.protocol.sum_bodies import MOST_VALUES, MaskedVector, MaskOpen, MaskReady, SumBody

TRY = 400  # seconds: one try, and what comes before it
KINDS = [MaskReady, MaskedVector, MaskOpen]


class Watched(Swarm):
    """A swarm in which all that was ever said is checked, as one who hears everything would."""

    def __init__(self, count: int, *, sources: Callable[[int], Numbers | None] = Numbers) -> None:
        super().__init__(count, sources=sources)
        self.vectors: dict[tuple[bytes, bytes], bytes] = {}
        self.openers: dict[bytes, dict[bytes, Answer]] = {}  # by sum and author
        self.since: dict[bytes, int] = {}

    def spread(self, summer: Summer, body: SumBody) -> None:
        super().spread(summer, body)
        if isinstance(body, MaskedVector):
            name = Group(summer.sums.heard._swarm, len(body.vector) // 4, body.authors, body.keys).name
            assert self.vectors.setdefault((summer.author, name), body.vector) == body.vector
        if isinstance(body, MaskOpen) and summer.sums.standing.opened:
            self.openers.setdefault(body.name, {})[summer.author] = summer.sums.standing.opened
            self.since.setdefault(body.name, self.now)
            self.check()

    def check(self) -> None:
        """As many as may conspire know the totals that the others have opened: what is in these of one member?"""
        outs: dict[bytes, list[tuple[int, tuple[int, ...], tuple[bytes, ...]]]] = {}
        for name, answers in self.openers.items():
            authors = next(iter(answers.values())).group.authors
            if len(answers) >= len(authors) - conspirators(len(authors)):
                for author, answer in answers.items():
                    out = self.since[name], tuple(answer.addend.tolist()), authors
                    outs.setdefault(author, []).append(out)
        for known in outs.values():
            for (time, addend, authors), (later, other, others) in itertools.combinations(sorted(known), 2):
                if addend == other:
                    assert authors == others, "one vector in two totals of different members"
                else:
                    assert later - time >= HORIZON, "two draws of one release"


def of(kind: type[SumBody], number: int) -> Callable[[int, int, SumBody], bool]:
    """Lose for all what one member says of a kind, until told otherwise."""
    return lambda sender, _, body: isinstance(body, kind) and sender == number


# -- it works


@pytest.mark.parametrize("count", [5, 8, 12, 13, 16, 21])
def test_groups_of_five_to_twelve_find_each_other_and_all_see_the_totals(count: int) -> None:
    swarm = Watched(count)
    assert swarm.run(2 * TRY, swarm.is_done)
    sizes = [total[1] for total in swarm.totals()]
    assert all(5 <= size <= 12 for size in sizes)
    for summer in swarm.summers:
        assert sum(len(total.authors) for total in summer.sums.totals) == count
        assert sum(int(total.values[0]) for total in summer.sums.totals) == count * (count + 1) // 2
        assert summer.kinds == ["mask-ready", "masked", "mask-open"]


def test_fewer_than_five_wait_for_more_and_who_has_nothing_to_add_sees_totals() -> None:
    swarm = Watched(6, sources=lambda number: Numbers(number) if number != 5 else None)
    swarm.gone = {0}
    assert not swarm.run(3 * TRY, swarm.is_done)
    assert not swarm.totals()
    swarm.gone = set()
    assert swarm.run(TRY, swarm.is_done)
    assert swarm.summers[5].sums.totals[0].values[:2].tolist() == [15, 5]
    assert swarm.summers[5].said == []


def test_who_would_sum_another_number_of_values_is_not_heard() -> None:
    swarm = Watched(6, sources=lambda number: Numbers(number, 4 if number == 3 else 6))
    others = [summer for summer in swarm.summers if summer.number != 3]
    assert swarm.run(TRY, lambda: all(each.sums.standing.is_done for each in others))
    assert {total[:2] for total in swarm.totals()} == {(21 - 4, 5)}
    assert all(summer.errors.counts.keys() == {"MaskError"} for summer in others)


def test_the_largest_standing_is_read_as_it_was_written() -> None:
    values = np.full(MOST_VALUES, -BOUND)
    authors = tuple(sorted(identity(number).author for number in range(16)))
    group = Group(SWARM, MOST_VALUES, authors, authors)
    answers = [Answer(group, bytes(32), values, bytes(4 * MOST_VALUES), 1, 2, 3) for _ in range(4)]
    totals = [Total(bytes(32), authors, 7, 16 * values) for _ in range(4)]
    standing = Standing(bytes(32), 5, answers[1:], answers[0], 6, True, False, 1, 2, 3, 4, [bytes(32)] * 64, totals)
    data = standing.to_bytes()
    assert Standing.from_bytes(data, SWARM).to_bytes() == data
    for damaged in (b"", data[:-1], data + b"1", Standing().to_bytes().replace(b"pause", b"pauze")):
        with pytest.raises(LearnaeError):
            Standing.from_bytes(damaged, SWARM)


# -- who falls silent


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_vanishes_at_any_phase_makes_the_sum_dead_and_the_others_begin_anew(kind: type[SumBody]) -> None:
    swarm = Watched(6)

    def vanish(summer: Summer, body: SumBody) -> None:
        if summer.number == 3 and isinstance(body, kind) and not summer.is_down:
            summer.is_down = True

    swarm.on_say = vanish
    swarm.loses = lambda sender, _, __: swarm.summers[sender].is_down
    others = [summer for summer in swarm.summers if summer.number != 3]
    done = swarm.run(4 * TRY, lambda: all(each.sums.standing.is_done for each in others))
    if kind is MaskOpen:  # their vectors are out: they are summed again with that one alone, or not at all
        assert not done
        assert not swarm.totals()
        assert {summer.sums.standing.releases for summer in others} == {1}
    else:
        assert done
        assert {total[:2] for total in swarm.totals()} == {(21 - 4, 5)}


def test_what_was_opened_is_summed_again_with_the_same_members_and_the_same_noise() -> None:
    """One has missed a vector, and does not open: the vectors of all others are out."""
    swarm = Watched(7)
    swarm.loses = lambda sender, receiver, body: isinstance(body, MaskedVector) and (sender, receiver) == (2, 4)
    swarm.run(300)
    assert not swarm.totals()
    assert [summer.sums.standing.releases for summer in swarm.summers] == [1, 1, 1, 1, 0, 1, 1]
    swarm.loses = lambda *_: False
    assert swarm.run(2 * TRY, swarm.is_done)
    assert {total[:3] for total in swarm.totals()} == {(28, 7, 49)}
    assert [summer.source.draws for summer in swarm.summers if summer.source] == [1, 1, 1, 1, 2, 1, 1]


def test_what_most_have_given_up_is_taken_back_and_no_release_is_spent() -> None:
    """One alone has had all vectors, and has opened: the total of that sum can never be seen."""
    swarm = Watched(6)
    swarm.loses = of(MaskedVector, 2)
    swarm.run(60)
    opened = swarm.summers[2].sums.standing
    assert [summer.sums.standing.releases for summer in swarm.summers] == [0, 0, 1, 0, 0, 0]
    before = opened.opened
    swarm.loses = lambda *_: False
    swarm.gone = {0}  # so that no sum of the same members can be
    others = [summer for summer in swarm.summers if summer.number != 0]
    assert swarm.run(2 * TRY, lambda: all(each.sums.standing.is_done for each in others))
    assert {total[:2] for total in swarm.totals()} == {(21 - 1, 5)}
    assert opened.opened is not before
    assert {summer.sums.standing.releases for summer in others} == {1}


def test_what_few_have_given_up_binds_those_who_have_opened_it() -> None:
    """Two of six, as many as may conspire, could know the total."""
    swarm = Watched(6)
    swarm.loses = lambda sender, receiver, body: isinstance(body, MaskedVector) and sender == 2 and receiver in {4, 5}
    swarm.run(60)
    assert [summer.sums.standing.releases for summer in swarm.summers] == [1, 1, 1, 1, 0, 0]
    swarm.loses = lambda *_: False
    swarm.gone = {5}
    swarm.run(3 * TRY)
    assert not swarm.totals()
    assert [summer.sums.standing.releases for summer in swarm.summers] == [1, 1, 1, 1, 0, 0]


def test_who_has_missed_a_seed_asks_and_is_told_again() -> None:
    swarm = Watched(7)
    swarm.loses = lambda sender, receiver, body: isinstance(body, MaskOpen) and (sender, receiver) in {(2, 4), (4, 2)}
    swarm.run(200)
    assert not swarm.is_done()
    swarm.loses = lambda *_: False
    assert swarm.run(TRY, swarm.is_done)
    assert {total[:4] for total in swarm.totals()} == {(28, 7, 49, 7)}


def test_after_the_phase_a_late_vector_opens_nothing() -> None:
    swarm = Watched(5)
    held: list[SumBody] = []
    swarm.on_say = lambda summer, body: (
        held.append(body) if summer.number == 1 and isinstance(body, MaskedVector) else None
    )
    swarm.loses = of(MaskedVector, 1)
    swarm.run(TRY, lambda: bool(held))
    swarm.run(301)
    swarm.loses = lambda *_: False
    swarm.spread(swarm.summers[1], held[0])
    swarm.run(10)
    assert ["mask-open" in summer.kinds for summer in swarm.summers] == [False, True, False, False, False]  # it had all
    assert swarm.run(TRY, swarm.is_done)
    assert {total[1] for total in swarm.totals()} == {5}


def test_a_horizon_later_other_members_get_a_new_vector_if_the_budget_has_one() -> None:
    swarm = Watched(7, sources=lambda number: Numbers(number, most_releases=2))
    swarm.loses = of(MaskOpen, 2)
    swarm.run(TRY)
    swarm.summers[2].is_down = True
    others = [summer for summer in swarm.summers if summer.number != 2]
    assert not swarm.run(2 * TRY, lambda: any(each.sums.standing.is_done for each in others))
    swarm.now += HORIZON
    swarm.loses = lambda *_: False
    assert swarm.run(2 * TRY, lambda: all(each.sums.standing.is_done for each in others))
    assert {total[:4] for total in swarm.totals()} == {(25, 6, 36, 12)}  # second draws
    swarm.now += HORIZON
    assert not swarm.run(100, lambda: any(each.sums.standing.releases > 2 for each in others))


def test_a_member_that_is_ready_and_then_silent_is_not_chosen_for_ever() -> None:
    swarm = Watched(6)
    swarm.loses = of(MaskedVector, 4)
    others = [summer for summer in swarm.summers if summer.number != 4]
    assert swarm.run(4 * TRY, lambda: all(each.sums.standing.is_done for each in others))
    assert {total[:2] for total in swarm.totals()} == {(21 - 5, 5)}


def test_a_removed_member_is_in_no_sum_that_is_opened() -> None:
    swarm = Watched(6)

    def remove(summer: Summer, body: SumBody) -> None:
        if isinstance(body, MaskedVector):
            swarm.gone = {3}

    swarm.on_say = remove
    others = [summer for summer in swarm.summers if summer.number != 3]
    assert swarm.run(3 * TRY, lambda: all(each.sums.standing.is_done for each in others))
    assert {total[:2] for total in swarm.totals()} == {(21 - 4, 5)}


# -- two that choose at the same time


def test_two_that_choose_at_once_end_with_one_sum() -> None:
    """Neither has heard of two that the other has: their groups differ, and overlap."""
    swarm = Watched(8)
    swarm.loses = lambda sender, receiver, body: isinstance(body, MaskReady) and abs(sender - receiver) == 4
    assert swarm.run(4 * TRY, lambda: len(swarm.totals()) > 0)
    swarm.run(2 * TRY)
    assert all(total[1] >= 5 for total in swarm.totals())


# -- losses and restarts


def chances(rng: random.Random, share: float) -> Callable[[int, int, SumBody], bool]:
    return lambda *_: rng.random() < share


@pytest.mark.parametrize("seed", range(12))
def test_losses_and_kills_at_any_phase_never_show_a_vector_in_two_totals(seed: int) -> None:
    """Each tick a machine may be killed after it has saved and before it is heard; a tenth of all packets is lost."""
    rng = random.Random(seed)
    swarm = Watched(rng.choice([5, 7, 9]))
    swarm.loses = chances(rng, 0.01)

    def kill(summer: Summer, body: SumBody) -> None:
        if rng.random() < 0.05:
            summer.is_down = True

    swarm.on_say = kill
    for _ in range(40):
        swarm.run(60)
        for summer in swarm.summers:
            if summer.is_down or rng.random() < 0.02:
                summer.is_down = False
                summer.boot(swarm.now)
                heard_again(swarm, summer)
    swarm.on_say, swarm.loses = (lambda *_: None), (lambda *_: False)
    swarm.run(6 * TRY, swarm.is_done)
    whole = sum(range(1, len(swarm.summers) + 1))
    for total in swarm.totals():
        assert total[0] <= whole
        assert total[2] == total[1] ** 2  # each has drawn for as many as there are


def heard_again(swarm: Swarm, summer: Summer) -> None:
    """The chains of all are here again after a restart, the own one included."""
    for other in swarm.summers:
        for seq, body in enumerate(other.said, 1):
            summer.sums.note(other.author, seq, body, swarm.now)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_it_has_saved_it_says_the_same_or_nothing(kind: type[SumBody]) -> None:
    swarm = Watched(5)
    killed: list[SumBody] = []

    def kill(summer: Summer, body: SumBody) -> None:
        if summer.number == 1 and isinstance(body, kind) and not killed:
            killed.append(body)
            raise NotWrittenError("the power goes")

    swarm.on_say = kill
    swarm.run(TRY, lambda: bool(killed))
    summer = swarm.summers[1]
    summer.boot(swarm.now)
    heard_again(swarm, summer)
    swarm.spread(summer, killed[0])  # the saved message is shown at the next start
    summer.said.append(killed[0])
    assert swarm.run(2 * TRY, swarm.is_done)
    assert {total[:4] for total in swarm.totals()} == {(15, 5, 25, 5)}


@pytest.mark.parametrize("kind", KINDS)
def test_while_the_disk_is_full_nothing_is_said_and_nothing_else_is_said_later(kind: type[SumBody]) -> None:
    swarm = Watched(5)
    refused: list[SumBody] = []

    def refuse(summer: Summer, body: SumBody) -> None:
        if summer.number == 1 and isinstance(body, kind) and len(refused) < 3:
            refused.append(body)
            raise NotWrittenError("no space left")

    swarm.on_say = refuse
    assert swarm.run(2 * TRY, swarm.is_done)
    assert len({body.to_fields()["kind"] for body in refused}) == 1
    assert refused[0] == refused[1] == refused[2] or kind is MaskReady


def test_a_restored_backup_adds_nothing_to_what_is_out() -> None:
    """The state is of before the sum; its own messages, which others hold, tell that its vector is out."""
    swarm = Watched(5)
    swarm.run(TRY, lambda: any("masked" in summer.kinds for summer in swarm.summers))
    backup = [Standing().to_bytes(), swarm.summers[2].disk]
    assert swarm.run(TRY, swarm.is_done)
    for disk in backup:
        summer = swarm.summers[2]
        summer.disk = disk
        summer.boot(swarm.now)
        heard_again(swarm, summer)
        before = len(summer.said)
        swarm.run(2 * TRY)
        assert summer.said[before:] == []
        assert summer.sums.standing.releases == 1


# -- checkpoints


def test_what_a_checkpoint_replaces_is_said_again_as_it_was() -> None:
    swarm = Watched(5)
    swarm.loses = of(MaskedVector, 1)
    swarm.run(TRY, lambda: "masked" in swarm.summers[1].kinds)
    swarm.loses = lambda *_: False
    swarm.now += 1000
    swarm.summers[1].checkpointed = swarm.now
    assert swarm.run(100, swarm.is_done)
    said = [body for body in swarm.summers[1].said if isinstance(body, MaskedVector)]
    assert len(said) == 2
    assert said[0] == said[1]


def test_a_newcomer_hears_a_sum_that_is_done_again_but_not_often() -> None:
    swarm = Watched(5)
    assert swarm.run(TRY, swarm.is_done)
    swarm.run(TRY)
    for summer in swarm.summers:
        summer.checkpointed = swarm.now
    newcomer = Summer(9, None)
    swarm.summers.append(newcomer)
    swarm.run(2 * TRY)
    assert not newcomer.sums.totals
    swarm.now += HORIZON // 3
    swarm.run(10)
    assert newcomer.sums.totals[0].values[:2].tolist() == [15, 5]
    assert {len(summer.said) for summer in swarm.summers[:5]} == {5}


# -- what is refused, and counted


def forged() -> Iterator[tuple[str, Callable[[Swarm], tuple[Summer, SumBody]]]]:
    """What a member may say that does not fit; each is counted by all who hear it."""

    def vector(swarm: Swarm) -> MaskedVector:
        return next(body for body in swarm.summers[1].said if isinstance(body, MaskedVector))

    def opening(swarm: Swarm) -> MaskOpen:
        return next(body for body in swarm.summers[1].said if isinstance(body, MaskOpen))

    yield "another vector", lambda swarm: (swarm.summers[1], replace(vector(swarm), vector=bytes(24)))
    yield "another's vector", lambda swarm: (Summer(77, None), vector(swarm))
    yield "another seed", lambda swarm: (swarm.summers[1], replace(opening(swarm), seed=bytes(32)))
    yield "another's seed", lambda swarm: (Summer(77, None), opening(swarm))
    yield "a foreign sum", lambda swarm: (swarm.summers[1], MaskOpen(bytes(32), bytes(32)))
    yield "no key", lambda swarm: (swarm.summers[1], MaskReady(bytes(32), 6))


@pytest.mark.parametrize(("name", "make"), list(forged()), ids=[name for name, _ in forged()])
def test_what_does_not_fit_is_counted_and_changes_nothing(
    name: str, make: Callable[[Swarm], tuple[Summer, SumBody]]
) -> None:
    swarm = Swarm(5)
    assert swarm.run(TRY, swarm.is_done)
    before = swarm.totals()
    liar, body = make(swarm)
    hearer = swarm.summers[0]
    hearer.sums.note(liar.author, 99, body, swarm.now)
    assert hearer.errors.counts == {"MaskError": 1}
    swarm.run(20)
    assert swarm.totals() == before


def test_the_same_again_is_no_error() -> None:
    swarm = Swarm(5)
    assert swarm.run(TRY, swarm.is_done)
    for summer in swarm.summers:
        heard_again(swarm, summer)
    assert not any(summer.errors.counts for summer in swarm.summers)


def test_a_vector_of_another_length_is_for_another_sum_and_makes_this_one_dead() -> None:
    swarm = Watched(6)

    def lie(summer: Summer, body: SumBody) -> None:
        if summer.number == 3 and isinstance(body, MaskedVector):
            summer.is_down = True
            swarm.spread(summer, replace(body, vector=body.vector[:-4]))

    swarm.on_say = lie
    swarm.loses = lambda sender, _, body: sender == 3 and isinstance(body, MaskedVector) and len(body.vector) == 24
    others = [summer for summer in swarm.summers if summer.number != 3]
    assert swarm.run(4 * TRY, lambda: all(each.sums.standing.is_done for each in others))
    assert {total[:2] for total in swarm.totals()} == {(21 - 4, 5)}


def test_a_list_with_a_wrong_key_for_a_member_is_never_opened() -> None:
    """Who chooses names a key of its own for another member: that one says nothing, and no seed is told."""
    swarm = Watched(5)
    swarm.run(3)
    liar, ready = swarm.summers[0], {each.author: each.said[0] for each in swarm.summers}
    keys = {author: body.key for author, body in ready.items() if isinstance(body, MaskReady)}
    keys[swarm.summers[4].author] = public_of(X25519PrivateKey.from_private_bytes(b"m" * 32))
    authors = tuple(sorted(keys))
    body = MaskedVector(authors, tuple(keys[author] for author in authors), np.zeros(6, "<u4").tobytes())
    liar.is_down = True
    swarm.spread(liar, body)
    swarm.run(20)
    assert [summer.kinds.count("masked") for summer in swarm.summers[1:]] == [1, 1, 1, 0]
    assert not any("mask-open" in summer.kinds for summer in swarm.summers)


def test_keys_of_strangers_choose_nobody() -> None:
    swarm = Watched(5)
    swarm.run(3)
    ready = {each.author: each.said[0] for each in swarm.summers}
    keys = {author: body.key for author, body in ready.items() if isinstance(body, MaskReady)}
    keys[identity(77).author] = public_of(X25519PrivateKey.from_private_bytes(b"m" * 32))
    authors = tuple(sorted(keys))
    swarm.spread(
        swarm.summers[0], MaskedVector(authors, tuple(keys[author] for author in authors), np.zeros(6, "<u4").tobytes())
    )
    swarm.run(10)
    assert not any("masked" in summer.kinds for summer in swarm.summers)


def test_what_is_said_of_sums_in_a_new_key_epoch_is_no_checkpoint_that_newcomers_can_read() -> None:
    machine = ticked(2)
    view, last = machine.peer.view, machine.said()[-1]
    for body in (MaskReady(bytes(32), 1), MaskOpen(bytes(32), bytes(32))):
        view.note_own(replace(last, seq=last.seq + 1, checkpoint=False, body=body, epoch=b"the next"))
        assert view.epoch == b""
