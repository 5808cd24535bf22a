"""Where a collector lives: private, and found by every front."""

import os

import pytest

from opsconsole.control.places import SOCKET_PATH_LIMIT, StateDirError, prepare, socket_path


def test_made_private(tmp_path):
    assert prepare(tmp_path / "a" / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707])
def test_what_others_may_open_is_refused_with_the_mend(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(StateDirError, match=f"chmod 700 {tmp_path}"):
        prepare(tmp_path)


def test_a_file_and_a_link_are_no_directory(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(StateDirError, match="is not a directory"):
            prepare(tmp_path / name)


def test_a_long_path_has_a_short_socket_that_does_not_depend_on_the_environment(tmp_path, monkeypatch):
    long = tmp_path / ("x" * SOCKET_PATH_LIMIT)
    first = socket_path(long)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert socket_path(long) == first != socket_path(tmp_path / ("y" * SOCKET_PATH_LIMIT))
    assert len(os.fsencode(first)) <= SOCKET_PATH_LIMIT and first.parent.stat().st_mode & 0o777 == 0o700
