"""The past asked from a loop: answers are those of the history, refusals are its sentences, and the loop is never kept waiting."""

import asyncio

import pytest

from opsconsole.control.past import HistoryError, Past
from opsconsole.history.samples import Recorder
from tests.history.fleets import assert_same, fleet_at, worker

START = 1_700_000_000


@pytest.fixture
def kept(tmp_path):
    recorder = Recorder(tmp_path / "history.db")
    fleets = [fleet_at(START + n, workers=[worker()]) for n in range(20)]
    for fleet in fleets:
        recorder.record(fleet)
    recorder.note("action", "w0", "drain", "ana", at=START + 4.0)
    recorder.start()
    recorder.close()
    return recorder.path, fleets


async def test_every_question_has_its_answer(kept):
    path, fleets = kept
    past = Past(path)
    span = {"node": "node1", "gpu": 0, "since": START, "until": START + 19}
    first, then, marks, series, band = await asyncio.gather(
        past.span(), past.at(START + 7), past.marks(START, START + 20), past.series("gpu.temp_c", **span), past.peers("gpu.temp_c", **span),
    )
    assert first == (START, START + 19) and [mark.text for mark in marks] == ["drain"]
    assert_same(fleets[7].gpu("temp_c"), then.gpu("temp_c"))
    assert_same(fleets[7].workers, then.workers)
    assert series.values.tolist() == [fleet.gpu("temp_c")[2] for fleet in fleets]
    assert band.high.tolist() == [fleet.gpu("temp_c")[3] for fleet in fleets]
    with pytest.raises(HistoryError, match="before the beginning"):
        await past.at(START - 100)
    await past.close()
    assert await past.span() == (START, START + 19), "a question after the end opens it again"
    await past.close()


async def test_where_there_is_no_history_it_says_so(tmp_path):
    past = Past(tmp_path / "history.db")
    with pytest.raises(HistoryError, match="no history at"):
        await past.span()
    await past.close()
