"""``learnae join`` with a swarm's id or manifest and an address, where members vouch: what stands in for a code."""

import argparse
from contextlib import closing

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.errors import ConfigurationError, ManifestError
from learnae.ipld.cid import Cid
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.policy import VOUCHED
from learnae.membership.rendezvous import vouch_seed
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import Swarm, find_swarm, is_swarm_id
from learnae.system.atomic_files import is_there
from learnae.system.paths import MANIFEST_FILE, home


def code_to_ask(options: argparse.Namespace) -> InviteCode | None:
    """Return what members are asked with over a network; None where a peer of this machine joins without.

    Raises ConfigurationError or ManifestError, as for a swarm that is not known here and no address to ask for it.
    """
    is_known = not is_swarm_id(options.swarm) or is_there(home() / "swarms" / options.swarm / MANIFEST_FILE)
    if not (options.broker or options.member):
        if not is_known:
            remedy = "where its members vouch give --broker or --member, too; else ask one for: learnae invite"
            raise ManifestError(f"swarm {options.swarm} is not known on this machine", remedy)
        return None
    if options.broker and options.member:
        raise ConfigurationError("--broker and --member ask the same", "leave one out")
    if not is_known:
        return _code(Cid.parse(options.swarm))
    swarm = find_swarm(options.swarm)
    policy, cid = swarm.manifest.membership, swarm.manifest.swarm
    is_at_home = swarm.directory.absolute() == home().absolute() / "swarms" / str(cid)
    if policy and policy.kind == VOUCHED and is_at_home and not _has_member(swarm):
        return _code(cid)
    if options.member:
        problem = "--member is for a machine without a member, where members vouch"
        raise ConfigurationError(problem, "leave it out; members that serve are named in lan.peers")
    return None


def _code(swarm: Cid) -> InviteCode:
    return InviteCode(swarm, vouch_seed(swarm))


def _has_member(swarm: Swarm) -> bool:
    with closing(LocalBlockStore(swarm.directory)) as store:
        return bool(Registrar(swarm.directory, swarm.manifest, store).members_here())
