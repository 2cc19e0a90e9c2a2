import hmac
import stat
import threading
from pathlib import Path

import pytest
from builders import damaged, escaped
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from learnae.errors import SignatureError, StateError
from learnae.protocol.identity import Identity, peer_name, verify

# RFC 8032, section 7.1, test 2
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the curve's group


def test_signatures_are_those_of_the_standard() -> None:
    me = Identity.from_seed(SECRET)
    assert me.author == PUBLIC
    assert me.sign(b"\x72") == SIGNATURE
    verify(PUBLIC, SIGNATURE, b"\x72")


def test_a_changed_signature_author_or_text_is_refused() -> None:
    flipped = bytes([SIGNATURE[0] ^ 1]) + SIGNATURE[1:]
    for author, signature, data in (
        (PUBLIC, SIGNATURE, b"\x73"),
        (PUBLIC, flipped, b"\x72"),
        (PUBLIC, b"", b"\x72"),
        (Identity.from_seed(bytes(32)).author, SIGNATURE, b"\x72"),
        (PUBLIC[:-1], SIGNATURE, b"\x72"),
        (b"\xff" * 32, SIGNATURE, b"\x72"),
    ):
        with pytest.raises(SignatureError):
            verify(author, signature, data)


def test_nobody_can_make_a_second_signature_of_the_same_text() -> None:
    """Else anybody could make two messages of one, and its author look like an equivocator."""
    scalar = int.from_bytes(SIGNATURE[32:], "little") + ORDER
    with pytest.raises(SignatureError):
        verify(PUBLIC, SIGNATURE[:32] + scalar.to_bytes(32, "little"), b"\x72")


def test_a_name_is_52_characters_for_file_and_topic_names() -> None:
    assert len(peer_name(PUBLIC)) == 52
    assert peer_name(PUBLIC).isalnum()
    assert peer_name(PUBLIC).islower()


def test_a_key_is_created_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key.pem"
    created = Identity.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert Identity.load_or_create(path).author == created.author
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["key.pem"]


def test_key_files_are_those_of_openssl_and_all_that_it_reads_are_read(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    author = Identity.load_or_create(path).author
    own = path.read_bytes()
    key = serialization.load_pem_private_key(own, None)
    assert key.public_key().public_bytes_raw() == author
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert pem == own
    for other in (pem.replace(b"\n", b"\r\n"), b"of a sensor\n" + pem, pem.rstrip()):
        path.write_bytes(other)
        assert Identity.load(path).author == author
    begin, body, end = own.split(b"\n")[:3]
    for broken in (
        own[:-30],
        begin + b"\n" + body[4:] + b"\n" + end + b"\n",
        own.replace(b"MC4C", b"MC4D"),
        own.replace(b"BEGIN", b"BEGAN"),
    ):
        path.write_bytes(broken)
        with pytest.raises(StateError, match="cannot read the key"):
            Identity.load(path)


def test_racing_creators_get_the_same_key(tmp_path: Path) -> None:
    for attempt in range(5):
        path = tmp_path / str(attempt) / "key.pem"
        barrier = threading.Barrier(4)
        authors: list[bytes] = []

        def create(path: Path = path, barrier: threading.Barrier = barrier, authors: list[bytes] = authors) -> None:
            barrier.wait()
            authors.append(Identity.load_or_create(path).author)

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert authors == [Identity.load(path).author] * 4


def test_a_loser_of_the_race_takes_the_winners_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    winner = Identity.load_or_create(path)
    monkeypatch.setattr(Path, "exists", lambda _: False)  # the winner came just after the look
    assert Identity.load_or_create(path).author == winner.author


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="learnae join"):
        Identity.load(tmp_path / "key.pem")


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"-----BEGIN PRIVATE KEY-----\n", b"\xff" * 9000])
def test_a_damaged_key_is_a_state_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    with pytest.raises(StateError):
        Identity.load_or_create(path)
    assert path.read_bytes() == data


def test_keys_of_other_kinds_and_protected_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    key = generate_private_key(65537, 1024)
    path.write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
    with pytest.raises(StateError, match="not an Ed25519 key"):
        Identity.load(path)
    path.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))
    with pytest.raises(StateError):
        Identity.load(path)


def test_a_directory_in_place_of_the_key_is_a_state_error(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        Identity.load(tmp_path)


def test_every_damage_of_a_key_file_is_a_state_error(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    Identity.load_or_create(path)
    path.write_bytes(pem_of_secret())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        Identity.load(path)

    assert escaped(read, list(damaged(pem_of_secret())), StateError) == set()


def pem_of_secret() -> bytes:
    return (
        b"-----BEGIN PRIVATE KEY-----\n"
        b"MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7\n"
        b"-----END PRIVATE KEY-----\n"
    )


def test_the_agreement_key_follows_from_the_key_as_rfc_5869_has_it() -> None:
    seed = bytes(range(32))
    secret = hmac.digest(bytes(32), seed, "sha256")
    expected = X25519PrivateKey.from_private_bytes(hmac.digest(secret, b"learnae/x25519/1\x01", "sha256"))
    assert Identity.from_seed(seed).x25519 == expected.public_key().public_bytes_raw()


def test_a_saved_key_is_private_and_replaces_no_other(tmp_path: Path) -> None:
    one, other = Identity.generate(), Identity.generate()
    one.save(tmp_path / "owner.key")
    one.save(tmp_path / "owner.key")
    with pytest.raises(StateError, match="another key"):
        other.save(tmp_path / "owner.key")
    assert Identity.load(tmp_path / "owner.key").author == one.author
    assert (tmp_path / "owner.key").stat().st_mode & 0o777 == 0o600
