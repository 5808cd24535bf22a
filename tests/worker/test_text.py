"""Text that appears as tokens arrive: whole characters, nothing of a stop string, and the same in the end."""

import random

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("jinja2")

from tokenizers import Tokenizer, decoders, models  # noqa: E402

from opsconsole.worker.config import UnsupportedModel  # noqa: E402
from opsconsole.worker.text import AnswerText, TemplateRefused, TextCodec, byte_codec, read_codec  # noqa: E402
from tests.worker.conftest import DEMO_MODEL  # noqa: E402


@pytest.fixture(scope="module")
def codec():
    return byte_codec()


def stream(codec, token_ids, stops=()):
    answer = AnswerText(codec, stops)
    pieces = [answer.push([token]) for token in token_ids]
    return [*pieces, answer.finish()], answer.stopped


def test_half_characters_are_held_back(codec):
    pieces, _ = stream(codec, codec.encode("a €!"))
    assert "".join(pieces) == "a €!"
    assert pieces[2:5] == ["", "", "€"]


def test_pieces_add_up_to_the_whole(codec):
    demo, words = read_codec(DEMO_MODEL), "Drain gpu-a07: 3 streams left, 0 lost. Größe 10 µs, 漢字 🙂"
    for each in (codec, demo):
        assert "".join(stream(each, each.encode(words))[0]) == words


def test_bytes_that_are_no_text_still_flow(codec):
    tokens = [random.Random(3).randrange(259) for _ in range(400)]
    pieces, _ = stream(codec, tokens)
    assert max(len(run) for run in "".join("." if piece else " " for piece in pieces).split(".")) <= 8


@pytest.mark.parametrize("stops", [["END"], ["xEND", "END"], ["D x", "END"]])
def test_a_stop_string_ends_the_text_before_it(codec, stops):
    pieces, stopped = stream(codec, codec.encode("one EN two END x"), stops)
    assert stopped and "".join(pieces) == "one EN two "


def test_what_only_looked_like_a_stop_string_is_given_in_the_end(codec):
    pieces, stopped = stream(codec, codec.encode("one EN"), ["END"])
    assert not stopped and "".join(pieces) == "one EN" and pieces[-1] == "EN"


@pytest.mark.parametrize("seed", range(20))
def test_a_text_cut_after_any_token_goes_on_with_the_same_pieces(codec, seed):
    dice = random.Random(seed)
    token_ids = codec.encode("".join(dice.choice(["a", "ab", "b ", "€", "🙂"]) for _ in range(30)))
    stops, least = ["abab", "b a", "a€🙂"], dice.choice([0, 0, 9])
    whole = AnswerText(codec, stops, least)
    pieces = [(whole.push([token]), whole.length_chars, whole.stopped) for token in token_ids]
    last = whole.finish()
    for cut in range(len(token_ids)):
        if cut and pieces[cut - 1][2]:
            break
        rest = AnswerText(codec, stops, least)
        rest.push(token_ids[:cut])
        assert [(rest.push([token]), rest.length_chars, rest.stopped) for token in token_ids[cut:]] == pieces[cut:]
        assert rest.finish() == last


def test_a_token_stands_for_its_bytes(codec):
    demo = read_codec(DEMO_MODEL)
    words = "Größe 漢字 🙂 x<|im_end|>"
    for each in (codec, demo):
        assert b"".join(each.token_bytes(token) for token in each.encode(words, False)) == words.encode()
    assert demo.token_bytes(10**6) == b""
    pieces = models.BPE(vocab={"<unk>": 0, "\u2581hi": 1, "<0xE2>": 2, "\u2581": 3}, merges=[], unk_token="<unk>")
    tokenizer = Tokenizer(pieces)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    assert [TextCodec(tokenizer, None, {}).token_bytes(token) for token in (1, 2, 3)] == [b" hi", b"\xe2", b" "]


def test_templates_are_rendered_and_kept_in_a_sandbox():
    messages = [{"role": "user", "content": "hi"}]
    assert read_codec(DEMO_MODEL).chat_text(messages) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    tokenizer = byte_codec()._tokenizer
    for source in ("{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ raise_exception('no system role') }}", "{{ 1 / 0 }}"):
        with pytest.raises(TemplateRefused):
            TextCodec(tokenizer, source, {}).chat_text(messages)
    with pytest.raises(TemplateRefused, match="no chat template"):
        TextCodec(tokenizer, None, {}).chat_text(messages)


def test_a_checkpoint_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(UnsupportedModel, match="no tokenizer.json"):
        read_codec(tmp_path)
