"""Private keys: what is offered, and what is refused with which words."""

import subprocess

import asyncssh
import pytest

from opsconsole.ssh.hosts import Target
from opsconsole.ssh.keys import EncryptedKey, Keyring, KeyTrouble
from tests.ssh.sshd import HAS_SSHD


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path / "operator key"


def write(path, mode=0o600, **options):
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(path), **options)
    path.chmod(mode)
    return key


def target(*paths, **given):
    return Target("gpu01", "gpu01", 22, "ops", tuple(map(str, paths)), **given)


async def test_a_key_is_read_once_until_it_changes(path):
    write(path)
    ring = Keyring()
    first, again = await ring.credentials(target(path)), await ring.credentials(target(path))
    assert first[0] is again[0]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
async def test_others_may_not_read_it(path, mode):
    write(path, mode)
    with pytest.raises(KeyTrouble, match=f"mode {mode:04o}.*chmod 600 '{path}'"):
        await Keyring().credentials(target(path))


@pytest.mark.parametrize("kind", ["openssh", "pkcs8"])
async def test_an_encrypted_key_needs_an_agent(path, kind):
    if kind == "pkcs8":
        write(path, format_name="pkcs8-pem", passphrase="secret")
    elif HAS_SSHD:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", path], check=True)
    else:
        pytest.skip("needs ssh-keygen")
    with pytest.raises(EncryptedKey, match="ssh-add"):
        await Keyring().credentials(target(path))


async def test_a_missing_key_and_no_key(path, monkeypatch, tmp_path):
    with pytest.raises(KeyTrouble, match="cannot be read"):
        await Keyring().credentials(target(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KeyTrouble, match="no private key to log in with as ops"):
        await Keyring().credentials(target())


async def test_garbage_is_no_key(path):
    path.write_text("not a key")
    path.chmod(0o600)
    with pytest.raises(KeyTrouble, match="cannot be used"):
        await Keyring().credentials(target(path))


async def test_one_bad_key_does_not_hide_a_good_one(path, tmp_path):
    write(path)
    assert len(await Keyring().credentials(target(tmp_path / "missing", path))) == 1


async def test_a_dead_agent_is_named(path):
    with pytest.raises(KeyTrouble, match="SSH agent .* does not answer"):
        await Keyring().credentials(target(agent_path=str(path)))
