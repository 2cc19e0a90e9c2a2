"""Where things are kept, and how a swarm on this machine is found."""

from pathlib import Path

import pytest
from builders import linear_config, tiny_manifest

from learnae.errors import ConfigurationError, ManifestError, NotWrittenError, StateError
from learnae.ipld import dagcbor
from learnae.models.optimisers import OptimiserPolicy
from learnae.swarm.directory import Swarm, create_named, create_swarm, find_swarm, open_manifest, swarms_here
from learnae.system.paths import home, peer_directory


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))
    return tmp_path


def test_home_is_what_the_user_says_then_xdg_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", "/own")
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/user")
    assert home() == Path("/own")
    monkeypatch.delenv("LEARNAE_HOME")
    assert home() == Path("/xdg/learnae")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert home() == Path("/user/.local/share/learnae")


def test_a_peer_has_a_directory_of_its_own(root: Path) -> None:
    assert peer_directory("pump-1") == root / "peers" / "pump-1"
    assert peer_directory("x" * 64) == root / "peers" / ("x" * 64)
    assert peer_directory("Lu\u0308fter") == peer_directory("L\u00fcfter")
    assert peer_directory("泵" * 64).name == "泵" * 64


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "../../etc", "a\0b", "a\nb", " ", "a ", "x" * 65, "🐍" * 64]
)
def test_no_name_leads_out_of_the_home(root: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no name for a peer"):
        peer_directory(name)


def test_a_home_that_is_not_there_now_is_not_made_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link").symlink_to(root / "unplugged" / "learnae")
    monkeypatch.setenv("LEARNAE_HOME", str(root / "link"))
    with pytest.raises(StateError, match="unplugged/learnae, and nothing is there; mount"):
        home()


def test_a_swarm_is_here_only_with_all_that_it_begins_with(root: Path) -> None:
    def fail(directory: Path) -> None:
        raise NotWrittenError(f"cannot write {directory}: full")

    with pytest.raises(NotWrittenError):
        create_named(tiny_manifest(), fail)
    assert swarms_here() == []
    assert create_named(tiny_manifest()).directory == swarms_here()[0]


def test_a_created_swarm_is_found_by_id_by_directory_and_as_the_only_one(root: Path) -> None:
    manifest = tiny_manifest()
    swarm = create_swarm(manifest)
    assert swarm == Swarm(root / "swarms" / str(manifest.swarm), manifest)
    assert find_swarm() == find_swarm(str(manifest.swarm)) == find_swarm(str(swarm.directory)) == swarm


def test_creating_the_same_swarm_again_changes_nothing(root: Path) -> None:
    swarm = create_swarm(tiny_manifest())
    before = (swarm.directory / "manifest.cbor").stat()
    assert create_swarm(tiny_manifest()) == swarm
    assert (swarm.directory / "manifest.cbor").stat().st_ino == before.st_ino


def test_a_definition_that_nobody_would_read_is_not_written(root: Path) -> None:
    columns = tuple(f"{index:060}" for index in range(5000))
    with pytest.raises(
        ManifestError, match=r"the swarm's definition has \d+ bytes, and 262144 are read; .*shorter names"
    ):
        create_swarm(tiny_manifest(config=linear_config(5000), columns=columns))
    assert not list(root.iterdir())


def test_a_directory_belongs_to_one_swarm(tmp_path: Path) -> None:
    create_swarm(tiny_manifest(seed=1), tmp_path / "ours")
    with pytest.raises(ConfigurationError, match="belongs to another swarm"):
        create_swarm(tiny_manifest(seed=2), tmp_path / "ours")
    assert open_manifest(tmp_path / "ours").seed == 1


def test_without_a_swarm_the_remedy_is_said(root: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no swarm on this machine.*learnae swarm create"):
        find_swarm()


def test_among_several_swarms_one_must_be_named(root: Path) -> None:
    swarms = [create_swarm(tiny_manifest(seed=seed)) for seed in (1, 2)]
    with pytest.raises(ConfigurationError) as caught:
        find_swarm()
    assert "2 swarms" in str(caught.value)
    assert all(swarm.directory.name in str(caught.value) for swarm in swarms)


def test_a_swarm_is_found_by_its_name_if_no_other_has_it(root: Path) -> None:
    pump = create_swarm(tiny_manifest(name="pump"))
    create_swarm(tiny_manifest(name="fan", seed=1))
    assert find_swarm("pump") == pump
    create_swarm(tiny_manifest(name="pump", seed=2))
    with pytest.raises(ConfigurationError, match=r"2 swarms 'pump' on this machine; name one: baf\w+, baf\w+$"):
        find_swarm("pump")
    with pytest.raises(ManifestError, match="no swarm at valve, and none of that name"):
        find_swarm("valve")


def test_a_directory_that_is_no_swarm_hides_none_of_its_name(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = create_swarm(tiny_manifest(name="pump"))
    fan = create_swarm(tiny_manifest(name="fan", seed=1), tmp_path / "fan")
    monkeypatch.chdir(tmp_path)
    Path("pump").mkdir()
    assert find_swarm("pump") == pump
    assert find_swarm("fan").directory.resolve() == fan.directory


def test_a_new_swarm_has_a_name_of_its_own_here(root: Path, tmp_path: Path) -> None:
    pump = create_named(tiny_manifest(name="pump"))
    assert create_named(tiny_manifest(name="pump")) == pump  # it is this one
    remedy = rf"{pump.directory.name}; join it with: learnae join pump; .* another --name"
    with pytest.raises(ConfigurationError, match=remedy):
        create_named(tiny_manifest(name="pump", seed=1))
    assert swarms_here() == [pump.directory]
    create_named(tiny_manifest(name="fan", seed=1))
    theirs = create_swarm(tiny_manifest(name="pump", seed=2), tmp_path / "theirs").directory / "manifest.cbor"
    assert find_swarm(str(theirs)).manifest.seed == 2  # another's may be called as it likes
    assert len(swarms_here()) == 3


def test_a_swarm_that_this_version_cannot_train_hides_no_other(root: Path) -> None:
    pump = create_swarm(tiny_manifest(name="pump"))
    fields = dagcbor.decode(tiny_manifest(name="fan").to_bytes())
    (root / "swarms" / "later").mkdir()
    (root / "swarms" / "later" / "manifest.cbor").write_bytes(
        dagcbor.encode({**fields, "model": {"class_name": "Later", "config": {}}})
    )
    assert find_swarm("pump") == pump
    with pytest.raises(ConfigurationError, match=r"2 swarms on this machine; name one: pump .*, \? \(later\)"):
        find_swarm()


def test_leftovers_are_no_swarms(root: Path) -> None:
    (root / "swarms" / "half-made").mkdir(parents=True)
    only = create_swarm(tiny_manifest())
    assert find_swarm() == only


@pytest.mark.parametrize(
    "text", ["/no/such/place", "x" * 300, "bafyreihijnziutawh4542xedxy4gbzm7y4ym2biregvyl4jmgyiibprqcy"]
)
def test_a_named_swarm_that_is_not_here_is_refused(root: Path, text: str) -> None:
    with pytest.raises(ManifestError, match="no swarm at"):
        find_swarm(text)


def test_a_damaged_manifest_is_refused(root: Path) -> None:
    directory = create_swarm(tiny_manifest()).directory
    (directory / "manifest.cbor").write_bytes(b"\xff")
    with pytest.raises(ManifestError, match="not a manifest"):
        find_swarm(str(directory))


def test_a_swarm_that_nobody_could_open_is_not_created(root: Path) -> None:
    with pytest.raises(ConfigurationError):
        create_swarm(tiny_manifest(optimiser=OptimiserPolicy("sgd", learning_rate=1e9)))
    assert not list((root / "swarms").glob("*/manifest.cbor"))


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEARNAE_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 61_199)  # of a service, not in the list of users
    with pytest.raises(ConfigurationError, match="set HOME"):
        home()


def test_a_manifest_from_another_machine_names_its_swarm(root: Path, tmp_path: Path) -> None:
    manifest = tiny_manifest()
    file = tmp_path / "swarm.cbor"
    file.write_bytes(manifest.to_bytes())
    swarm = find_swarm(str(file))
    assert swarm == Swarm(root / "swarms" / str(manifest.swarm), manifest) == find_swarm(str(file))


def test_a_damaged_copy_of_a_manifest_makes_no_swarm(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "swarm.cbor"
    file.write_bytes(tiny_manifest().to_bytes()[:-1])
    with pytest.raises(ManifestError, match="not a manifest"):
        find_swarm(str(file))
    assert not (root / "swarms").exists()
