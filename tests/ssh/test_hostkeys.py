"""known_hosts as operators really have it: plain, hashed, with ports, authorities and revoked keys, and with lines that nobody can read."""

import os

import asyncssh
import pytest

from opsconsole.ssh.hostkeys import HostKeys, fingerprint, is_changed, refusal
from tests.ssh.sshd import HAS_SSHD


def key():
    return asyncssh.generate_private_key("ssh-ed25519")


def entry(name, one, marker=""):
    return f"{marker}{name} {one.export_public_key().decode().strip()}\n"


@pytest.fixture
def read(tmp_path):
    def read(*entries):
        path = tmp_path / "known_hosts"
        path.write_text("".join(entries))
        return HostKeys((path,))

    return read


def test_a_host_and_its_port(read):
    one, other = key(), key()
    known = read(entry("gpu01", one), entry("[gpu01]:2201", other))
    assert known.find("gpu01", 22)[0] == [one.convert_to_public()]
    assert known.find("gpu01", 2201)[0] == [other.convert_to_public()]
    assert known.find("gpu01", 2202)[0] == [], "a key of another port proves nothing"
    assert known.find("gpu02", 22)[0] == []


@pytest.mark.skipif(not HAS_SSHD, reason="needs ssh-keygen")
def test_hashed_names(tmp_path):
    import subprocess

    one, other = key(), key()
    path = tmp_path / "known_hosts"
    path.write_text(entry("gpu01", one) + entry("[gpu02]:2201", other))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    assert "gpu01" not in path.read_text()
    known = HostKeys((path,))
    assert known.find("gpu01", 22)[0] == [one.convert_to_public()]
    assert known.find("gpu02", 2201)[0] == [other.convert_to_public()]
    assert known.find("gpu03", 22)[0] == []


def test_authorities_and_revoked_keys(read):
    authority, revoked = key(), key()
    known = read(entry("*.ams1", authority, "@cert-authority "), entry("*", revoked, "@revoked "))
    match = known.find("gpu01.ams1", 2201)
    assert match[1] == [authority.convert_to_public()] and match[2] == [revoked.convert_to_public()]
    assert known.find("gpu01.fra1", 22)[1] == []


def test_lines_that_cannot_be_read_are_counted_and_skipped(read):
    one = key()
    known = read("garbage\n", "@strange a b c\n", "|1|broken\n", "# comment\n", entry("gpu01", one))
    assert known.find("gpu01", 22)[0] == [one.convert_to_public()] and known.skipped >= 2


def test_the_files_are_read_again_only_when_they_change(read):
    one = key()
    known = read()
    assert known.find("gpu01", 22)[0] == [] and not known.reload()
    known.paths[0].write_text(entry("gpu01", one))
    os.utime(known.paths[0], (1, 1))
    assert known.reload() and known.find("gpu01", 22)[0] == [one.convert_to_public()]


def test_a_missing_file_knows_nobody(tmp_path):
    assert HostKeys((tmp_path / "none",)).find("gpu01", 22)[0] == []


def test_unknown_changed_and_revoked_are_three_sentences(read):
    one, other, bad = key(), key(), key()
    known = read(entry("gpu01", one), entry("*", bad, "@revoked "))
    match = known.find("gpu01", 22)
    offered = other.convert_to_public()
    said = refusal(match, offered, "gpu01", 22, known.paths)
    assert is_changed(match, offered) and "CHANGED" in said and fingerprint(one) in said and fingerprint(other) in said
    assert "REVOKED" in refusal(match, bad.convert_to_public(), "gpu01", 22, known.paths)
    nobody = HostKeys(()).find("gpu02", 2201)
    said = refusal(nobody, offered, "gpu02", 2201, known.paths)
    assert not is_changed(nobody, offered) and f"ssh-keyscan -p 2201 gpu02 >> {known.paths[0]}" in said
