"""Where secrets are looked for, and that nothing but a line of text is taken for one."""

from pathlib import Path

import pytest

from learnae.errors import ConfigurationError
from learnae.system.credentials import credential_path, read_credential


@pytest.fixture
def handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where systemd puts what a unit loads."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


def test_a_name_is_looked_for_among_what_systemd_hands_over(handed: Path) -> None:
    (handed / "password").write_text("one\n")
    assert read_credential("password", "mqtt.password_file") == "one"


def test_a_file_of_a_directory_that_a_unit_loads_is_found_by_its_own_name(handed: Path) -> None:
    (handed / "learnae_password").write_text("one")
    assert credential_path("password") == handed / "learnae_password"
    (handed / "password").write_text("two")
    assert read_credential("password", "mqtt.password_file") == "two"


def test_an_absolute_path_is_taken_as_it_is(handed: Path, tmp_path: Path) -> None:
    (handed / "learnae_password").write_text("one")
    assert credential_path("/etc/password") == Path("/etc/password")


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff", b"x" * 70_000])
def test_what_is_no_line_of_text_is_refused_by_the_name_of_its_key(handed: Path, data: bytes) -> None:
    (handed / "password").write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"mqtt\.password_file"):
        read_credential("password", "mqtt.password_file")


def test_a_secret_that_is_not_there_is_named(handed: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"mqtt\.password_file: cannot read .*password"):
        read_credential("password", "mqtt.password_file")
