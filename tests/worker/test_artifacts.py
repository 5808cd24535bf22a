"""Stored programs are used when they are ours and whole, and otherwise compiled as if they were absent."""

import os
import shutil
import stat
import threading
import time
from pathlib import Path

import pytest

jax = pytest.importorskip("jax")

import numpy as np  # noqa: E402

from opsconsole.worker.artifacts import DIGEST_BYTES, ArtifactStore, UnsafeFolder, digest  # noqa: E402
from opsconsole.worker.compiling import Programs, identity  # noqa: E402
from opsconsole.worker.config import ModelConfig, Rope  # noqa: E402
from opsconsole.worker.model import empty_cache  # noqa: E402
from opsconsole.worker.programs import Shapes, idle_state  # noqa: E402
from opsconsole.worker.weights import numpy_draw, random_params  # noqa: E402

CONFIG = ModelConfig("llama", 32, 16, 1, 2, 1, 8, 24, 1e-5, Rope(), 32, tied_embeddings=True)
SHAPES = Shapes(slots=1, max_len=8, prefill_lengths=(8,), attention_lengths=(8,), widths=(1,))
LEADING = (random_params(CONFIG, numpy_draw(0, np.float32)), empty_cache(CONFIG, 1, 8, np.float32), idle_state(1))


def build(store):
    programs = Programs(CONFIG, SHAPES, LEADING, store)
    programs.prepare(programs.names)
    cache, state, result = programs["decode-1x8"](*jax.device_put(LEADING))
    assert np.asarray(result)[:, 0].tolist() == [-1]  # it runs, and an idle slot makes nothing
    return programs.artifacts


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "programs"


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A folder in which everything is stored; copy it, do not change it."""
    folder = tmp_path_factory.mktemp("stocked") / "programs"
    assert build(ArtifactStore(folder)) == "compiled"
    return folder


@pytest.fixture
def stock(stocked, folder):
    return Path(shutil.copytree(stocked, folder))


def test_the_second_start_compiles_nothing(stock):
    assert [build(ArtifactStore(stock)) for _ in range(2)] == ["hit", "hit"]


def test_without_a_store_everything_is_compiled():
    assert build(None) == "compiled"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_program_is_compiled_again(stock, damage, tmp_path):
    path = next(stock.glob("*decode*.program"))
    content = path.read_bytes()
    foreign = ArtifactStore(tmp_path / "elsewhere")._sign(content[DIGEST_BYTES:]) + content[DIGEST_BYTES:]
    damaged = {"cut": content[:-9], "flipped": content[:-1] + bytes([content[-1] ^ 1]), "empty": b"", "foreign": foreign}
    path.write_bytes(damaged[damage])
    store = ArtifactStore(stock)
    assert build(store) == "compiled"
    assert "signature" in store.rejected[0]
    assert build(ArtifactStore(stock)) == "hit"


def test_a_signed_program_that_does_not_load_is_compiled_again(stock):
    path = next(stock.glob("*decode*.program"))
    path.write_bytes(ArtifactStore(stock)._sign(b"no pickle") + b"no pickle")
    assert build(ArtifactStore(stock)) == "compiled"


def test_only_the_owner_may_read_and_write(stocked):
    assert stat.S_IMODE(stocked.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in stocked.iterdir()} == {0o600}


def test_a_wider_folder_is_narrowed_and_a_link_is_refused(folder, tmp_path):
    folder.mkdir(mode=0o755)
    ArtifactStore(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UnsafeFolder):
        ArtifactStore(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_strangers_folder_is_refused(folder):
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(UnsafeFolder, match="65534"):
        ArtifactStore(folder)


def test_a_key_that_others_could_read_proves_nothing(stock):
    before = (stock / "key").read_bytes()
    (stock / "key").chmod(0o644)
    assert ArtifactStore(stock).load(*next(stock.glob("*.program")).stem.split("-", 1)) is None
    assert stat.S_IMODE((stock / "key").stat().st_mode) == 0o600 and (stock / "key").read_bytes() != before


def wait_until(holds):
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_who_waits_for_the_lock_finds_the_program_there(folder, stocked):
    key = digest(identity(CONFIG, SHAPES, LEADING))
    store, heard = ArtifactStore(folder), []
    waits = threading.Event()

    def tell(text):
        heard.append(text)
        waits.set()

    late = Programs(CONFIG, SHAPES, LEADING, ArtifactStore(folder), tell)
    second = threading.Thread(target=late.prepare, args=(["decode-1x8"],))
    with store.lock(f"{key}-decode-1x8", waiting=lambda: None):
        second.start()
        assert waits.wait(30)
        store.save(key, "decode-1x8", ArtifactStore(stocked).load(key, "decode-1x8"))
    second.join(60)
    assert (late.ready, late.artifacts) == (["decode-1x8"], "hit")
    assert "waiting for another worker" in heard[0] and heard[-1] is None


def test_a_cold_start_needs_the_programs_that_can_do_everything_and_a_warm_one_the_cheapest(folder, stocked):
    shapes = Shapes(slots=4, max_len=8, prefill_lengths=(4, 8), attention_lengths=(4, 8), widths=(1, 4))
    leading = (LEADING[0], empty_cache(CONFIG, 4, 8, np.float32), idle_state(4))
    assert Programs(CONFIG, shapes, leading, ArtifactStore(folder)).first() == ["chunk-8", "decode-4x8"]
    assert Programs(CONFIG, SHAPES, LEADING, ArtifactStore(stocked)).first() == ["prefill-8", "decode-1x8"]


def test_who_needs_a_program_takes_the_cheapest_there_is_or_waits(stock):
    programs, ready = Programs(CONFIG, SHAPES, LEADING, ArtifactStore(stock)), []
    programs.prepare(["chunk-8"])
    assert programs.pick(["prefill-8", "chunk-8"]) == "chunk-8"
    programs.prepare_rest(lambda: ready.append(len(programs.ready)))
    assert programs.pick(["decode-1x8"]) == "decode-1x8"
    wait_until(lambda: ready == [2, 3])
    assert programs.pick(["prefill-8", "chunk-8"]) == "prefill-8"
    programs.stop()


def test_a_warm_start_gets_what_serves_everything_and_the_rest_when_it_is_wished_for(folder):
    shapes = Shapes(slots=4, max_len=8, prefill_lengths=(4, 8), attention_lengths=(4, 8), widths=(1, 4))
    leading = (LEADING[0], empty_cache(CONFIG, 4, 8, np.float32), idle_state(4))
    cold = Programs(CONFIG, shapes, leading, ArtifactStore(folder))
    cold.prepare(cold.first())
    cold.prepare_rest(lambda: None)
    wait_until(lambda: cold.all_stored)
    cold.stop()
    assert sorted(cold.ready) == sorted(cold.names)

    warm = Programs(CONFIG, shapes, leading, ArtifactStore(folder))
    warm.prepare(warm.first())
    warm.prepare_rest(lambda: None)
    serving = ["prefill-4", "decode-1x4", "chunk-8", "decode-4x8", "prefill-8"]
    wait_until(lambda: warm.ready == serving)
    assert warm.pick(["decode-1x8", "decode-4x8"]) == "decode-4x8"
    wait_until(lambda: warm.ready == [*serving, "decode-1x8"])
    assert warm.pick(["decode-1x8", "decode-4x8"]) == "decode-1x8"
    warm.stop()
    assert "decode-4x4" not in warm.ready and warm.artifacts == "hit"


def test_a_failure_beside_is_told_to_who_waits(stock, monkeypatch):
    programs = Programs(CONFIG, SHAPES, LEADING, ArtifactStore(stock))
    monkeypatch.setattr(programs, "_fetch", lambda program: 1 / 0)
    programs.prepare_rest(lambda: None)
    with pytest.raises(ZeroDivisionError):
        programs.pick(["decode-1x8"])


def test_programs_that_no_start_uses_are_forgotten(stock):
    store, month_ago_s = ArtifactStore(stock), time.time() - 31 * 24 * 3600
    for path in stock.iterdir():
        os.utime(path, (month_ago_s, month_ago_s))
    used = next(stock.glob("*prefill*.program"))
    assert store.load(*used.stem.split("-", 1)) is not None
    store.forget_unused()
    assert {path.name for path in stock.iterdir()} == {"key", used.name}


def test_another_shape_is_another_program():
    assert digest(identity(CONFIG, SHAPES, LEADING)) == digest(identity(CONFIG, SHAPES, LEADING))
    wider = Shapes(1, 8, (4, 8), (8,), (1,))
    assert digest(identity(CONFIG, SHAPES, LEADING)) != digest(identity(CONFIG, wider, LEADING))
