"""Which step follows which, told by a device that only writes down what it is asked; and real tokens, whoever sits beside."""

import threading
from collections import deque

import pytest

pytest.importorskip("jax")

import numpy as np  # noqa: E402

from opsconsole.worker.admission import Admission, QueueFull  # noqa: E402
from opsconsole.worker.engine import Engine  # noqa: E402
from opsconsole.worker.outcome import COLUMNS  # noqa: E402
from opsconsole.worker.programs import Shapes  # noqa: E402
from opsconsole.worker.request import Request, Sampling  # noqa: E402

EOS = 9


class NotingRunner:
    """Says token 5 for ever, or what its script says next; notes each step."""

    shapes = Shapes(slots=2, max_len=40, prefill_lengths=(4, 8), attention_lengths=(40,), widths=(1, 2))
    packs, cold = True, None

    def __init__(self):
        self.steps = []
        self.script = deque()

    def prefill(self, pieces):
        self.steps.append(("prefill", [(piece.slot, piece.start, piece.stop) for piece in pieces]))
        return self._tokens()

    def prefill_chunk(self, piece):
        self.steps.append(("chunk", piece.slot, piece.start, piece.stop))
        return self._tokens()

    def decode(self, width, reach):
        self.steps.append(("decode", width, reach))
        return self._tokens()

    def _tokens(self):
        return np.full((2, COLUMNS), self.script.popleft() if self.script else 5, np.int32)

    def prepare_rest(self, on_ready):
        self.steps.append("the rest")

    def stop(self):
        self.steps.append("stopped")


class Bench:
    """An engine turned by hand."""

    def __init__(self, queue_limit=2):
        self.runner, self.delivered = NotingRunner(), []
        self.engine = Engine(self.runner, (EOS,), Admission(queue_limit, 1000), self.delivered.extend)

    def submit(self, length, max_tokens=3, **settings):
        request = Request([1] * length, max_tokens, Sampling(), **settings)
        self.engine.submit(request)
        return request

    def run_dry(self):
        while self.engine.running or self.engine.waiting:
            self.engine.step()
        return self.delivered

    def reasons(self):
        return {delivery.request: delivery.finish_reason for delivery in self.delivered if delivery.finish_reason}


def test_short_prompts_share_a_step_and_the_next_waits_for_a_slot():
    bench = Bench()
    requests = [bench.submit(3), bench.submit(5), bench.submit(2)]
    bench.run_dry()
    assert bench.runner.steps[0] == ("prefill", [(0, 0, 3), (1, 0, 5)])
    assert [step for step in bench.runner.steps if step[0] == "prefill"][1] == ("prefill", [(0, 0, 2)])
    assert bench.reasons() == dict.fromkeys(requests, "length")
    assert [sum(delivery.request is request for delivery in bench.delivered) for request in requests] == [3, 3, 3]


def test_prompts_that_do_not_fit_one_step_take_two():
    bench = Bench()
    bench.submit(6), bench.submit(6)
    bench.run_dry()
    assert [step for step in bench.runner.steps if step[0] == "prefill"] == [("prefill", [(0, 0, 6)]), ("prefill", [(1, 0, 6)])]


def test_a_long_prompt_comes_in_chunks_between_the_steps_of_others():
    bench = Bench()
    bench.submit(2, max_tokens=6), bench.submit(20)
    bench.run_dry()
    chunks = [index for index, step in enumerate(bench.runner.steps) if step[0] == "chunk"]
    assert [bench.runner.steps[index] for index in chunks] == [("chunk", 1, 0, 8), ("chunk", 1, 8, 16), ("chunk", 1, 16, 20)]
    assert all(bench.runner.steps[index + 1][0] == "decode" for index in chunks)


def test_an_end_token_frees_the_slot_unless_it_is_to_be_ignored():
    bench = Bench()
    ended = bench.submit(2, max_tokens=9)
    bench.runner.script.extend([5, EOS])
    bench.run_dry()
    assert bench.reasons() == {ended: "stop"} and ended.generated == 2
    stubborn = bench.submit(2, max_tokens=4, ignore_eos=True)
    bench.runner.script.extend([EOS] * 9)
    bench.run_dry()
    assert bench.reasons()[stubborn] == "length" and stubborn.generated == 4


def test_one_step_is_in_flight_and_none_is_made_for_nobody():
    bench = Bench()
    bench.submit(2, max_tokens=4)
    bench.engine.step()
    assert len(bench.delivered) == 1 and len(bench.runner.steps) == 2
    bench.run_dry()
    assert [step[0] for step in bench.runner.steps] == ["prefill", "decode", "decode", "decode"]


def test_a_cancelled_request_leaves_the_queue_or_its_slot():
    bench = Bench()
    first, second, third = bench.submit(2, max_tokens=20), bench.submit(20, max_tokens=20), bench.submit(2)
    bench.engine.step(), bench.engine.step()
    bench.engine.cancel(third)
    assert (bench.engine.running, bench.engine.waiting) == (2, 0)
    bench.engine.cancel(first), bench.engine.cancel(second)
    bench.engine.step()
    assert bench.engine.running == 0 and bench.engine.cache_used == 0
    later = bench.submit(3)
    bench.run_dry()
    assert bench.reasons() == {later: "length"}


def test_the_queue_is_bounded_and_what_cannot_fit_is_refused():
    bench = Bench(queue_limit=1)
    for _ in range(3):
        bench.submit(2)
    with pytest.raises(QueueFull):
        bench.submit(2)
    with pytest.raises(ValueError):
        Bench().submit(39, max_tokens=2)


def test_cancelling_wakes_and_stopping_ends_the_loop():
    bench = Bench()
    thread = threading.Thread(target=bench.engine.run)
    thread.start()
    bench.engine.cancel(Request([1], 1))
    bench.engine.stop()
    thread.join(5)
    assert not thread.is_alive()


def prompts(count):
    generator = np.random.default_rng(4)
    return [generator.integers(3, 1000, int(length)).tolist() for length in generator.integers(3, 60, count)]


def requests_of(texts, temperature, max_tokens=24):
    sampling = [Sampling(temperature, 0.95, 50, seed) for seed in range(len(texts))]
    return [Request(text, max_tokens, each, ignore_eos=True) for text, each in zip(texts, sampling, strict=True)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_depends_neither_on_its_slot_nor_on_its_neighbours(demo_engine, temperature):
    texts = [*prompts(9), prompts(12)[-1] * 8]  # the last one is long enough for chunks
    assert 128 < len(texts[-1]) < 232
    alone = [demo_engine.answers([request])[0] for request in requests_of(texts, temperature)]
    together = demo_engine.answers(requests_of(texts, temperature))
    assert together == alone
    assert demo_engine.answers(list(reversed(requests_of(texts, temperature))))[::-1] == alone


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_cut_answer_continues_with_the_same_tokens(demo_engine, temperature):
    texts = prompts(12)
    whole = demo_engine.answers(requests_of(texts, temperature))
    cuts = np.random.default_rng(5).integers(1, 23, len(texts)).tolist()
    rest = [
        Request(request.prompt_ids + tokens[:cut], request.max_tokens - cut, request.sampling, ignore_eos=True)
        for request, tokens, cut in zip(requests_of(texts, temperature), whole, cuts, strict=True)
    ]
    assert demo_engine.answers(rest) == [tokens[cut:] for tokens, cut in zip(whole, cuts, strict=True)]


def test_no_end_token_comes_before_the_least_number_of_tokens(demo_engine):
    texts = prompts(6)

    def lengths(**settings):
        return [len(tokens) for tokens in demo_engine.answers([Request(text, 60, Sampling(0.0), **settings) for text in texts])]

    free, held = lengths(), lengths(min_tokens=40)
    assert min(free) < 40 <= min(held)
    assert [length for length in free if length >= 40] == [held[index] for index, length in enumerate(free) if length >= 40]


def test_scores_are_those_of_the_chosen_tokens_and_change_nothing(demo_engine):
    texts = prompts(4)
    plain = demo_engine.answers(requests_of(texts, 1.0, max_tokens=12))
    asked = requests_of(texts, 1.0, max_tokens=12)
    for request, count in zip(asked, (0, 1, 5, 20), strict=True):
        request.logprobs = count
    assert demo_engine.answers(asked) == plain
    for request, tokens in zip(asked, plain, strict=True):
        scores = demo_engine.scores[request]
        assert len(scores) == len(tokens) and all(len(score.likeliest) == request.logprobs for score in scores)
        for token, score in zip(tokens, scores, strict=True):
            told = dict(score.likeliest)
            assert list(told.values()) == sorted(told.values(), reverse=True)
            assert told.get(token, score.logprob) == pytest.approx(score.logprob)
            assert score.logprob <= 0 and sum(np.exp(list(told.values()))) <= 1.0001


def test_the_best_score_of_a_greedy_answer_is_its_own(demo_engine):
    request = Request(prompts(1)[0], 16, Sampling(0.0), ignore_eos=True, logprobs=2)
    tokens = demo_engine.answers([request])[0]
    assert [score.likeliest[0][0] for score in demo_engine.scores[request]] == tokens
