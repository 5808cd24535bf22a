"""Between words and tokens: the tokenizer, the chat template, and text that appears piece by piece as tokens arrive."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from .config import UnsupportedModel


def _byte_letters() -> list[str]:
    """The letter for each byte: itself where it can be printed, else the next one from 256 on (OpenAI's GPT-2 encoder)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    beyond = count(256)
    return [chr(byte if byte in printable else next(beyond)) for byte in range(256)]


UNFINISHED = "\N{REPLACEMENT CHARACTER}"
LONGEST_CHARACTER_TOKENS = 8
"""After so many tokens that still form no character the bytes are simply not text, and are shown as they are."""

LETTER_BYTES = {letter: byte for byte, letter in enumerate(_byte_letters())}
"""How byte-level tokenizers write each byte."""
SPACE_LETTER = "\N{LOWER ONE EIGHTH BLOCK}"
BYTE_TOKEN = re.compile("<0x[0-9A-F]{2}>")
"""How the other ones write a space, and a byte for which they have no token."""

BYTE_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class TemplateRefused(ValueError):
    """The checkpoint's chat template does not accept these messages."""


class TextCodec:
    """One model's tokenizer and chat template."""

    def __init__(self, tokenizer: Tokenizer, chat_template: str | None, special_tokens: dict[str, str]) -> None:
        self._tokenizer = tokenizer
        self._special_tokens = special_tokens
        self._template = _compile_template(chat_template) if chat_template else None
        self._written_out = tokenizer.get_added_tokens_decoder().keys()
        """Tokens that were added to the vocabulary as plain text."""
        self._is_byte_level = "ByteLevel" in repr(tokenizer.decoder)

    @property
    def vocab_size(self) -> int:
        """Token ids below this one can be said."""
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=True)

    def token_bytes(self, token_id: int) -> bytes:
        """What one token stands for; a special token for its own name. Several may be needed for one character."""
        token = self._tokenizer.id_to_token(token_id)
        if token is None:  # checkpoints may pad their vocabulary
            return b""
        if token_id in self._written_out:
            return token.encode()
        if self._is_byte_level and all(letter in LETTER_BYTES for letter in token):
            return bytes(LETTER_BYTES[letter] for letter in token)
        if BYTE_TOKEN.fullmatch(token):
            return bytes([int(token[3:5], 16)])
        return token.replace(SPACE_LETTER, " ").encode()

    def chat_text(self, messages: list[dict[str, Any]]) -> str:
        """The prompt that the checkpoint's template makes of a conversation. Raises TemplateRefused."""
        if self._template is None:
            raise TemplateRefused("this model has no chat template; use /v1/completions")
        try:
            return self._template.render(messages=messages, add_generation_prompt=True, **self._special_tokens)
        except Exception as error:  # a template is a program: it may fail in any way on messages it was not made for
            raise TemplateRefused(f"the model's chat template refuses these messages: {error}") from error


def read_codec(checkpoint: Path) -> TextCodec:
    """The codec of a checkpoint folder. Raises UnsupportedModel."""
    path = checkpoint / "tokenizer.json"
    if not path.exists():
        raise UnsupportedModel(f"{checkpoint} has no tokenizer.json.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
        settings_path = checkpoint / "tokenizer_config.json"
        settings = json.loads(settings_path.read_text(encoding="utf-8")) if settings_path.exists() else {}
    except Exception as error:  # the tokenizers library raises bare Exception
        raise UnsupportedModel(f"The tokenizer in {checkpoint} cannot be read: {error}.") from error
    template_path = checkpoint / "chat_template.jinja"
    template = template_path.read_text(encoding="utf-8") if template_path.exists() else _default_template(settings)
    special = {name: _token_text(settings[name]) for name in ("bos_token", "eos_token", "pad_token") if settings.get(name)}
    return TextCodec(tokenizer, template, special)


def byte_codec() -> TextCodec:
    """One token for each byte: needs no file, so that `random:tiny` needs none."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate(special + letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return TextCodec(tokenizer, BYTE_CHAT_TEMPLATE, {"eos_token": "<|im_end|>"})


def _default_template(settings: dict[str, Any]) -> str | None:
    """Some checkpoints carry several named templates; the one called default is for plain chat."""
    template = settings.get("chat_template")
    if isinstance(template, list):
        return {entry["name"]: entry["template"] for entry in template}.get("default")
    return template


def _token_text(token: str | dict[str, Any]) -> str:
    return token["content"] if isinstance(token, dict) else token


def _compile_template(source: str) -> Any:
    # A template comes with a stranger's checkpoint: it runs in a sandbox, with the names that Hugging Face promises it.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals["raise_exception"] = _raise_in_template
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise UnsupportedModel(f"The chat template cannot be read: {error}.") from error


def _raise_in_template(message: str) -> None:
    raise TemplateError(message)


class AnswerText:
    """The text of one answer as it grows. It holds back what may still change: half characters, and half stop strings."""

    def __init__(self, codec: TextCodec, stops: Sequence[str] = (), min_tokens: int = 0) -> None:
        self._codec = codec
        self._stops = [stop for stop in stops if stop]
        self._min_tokens = min_tokens
        """Stop strings are looked for in the text of the tokens after these."""
        self._token_ids: list[int] = []
        self._context_start = 0
        """Some tokens look different after a space, so new ones are decoded together with those from here on."""
        self._read = 0
        self._held_back = ""
        self.stopped = False
        """Whether a stop string was met; the text ends before it."""
        self.length_chars = 0
        """Characters that the tokens so far stand for, those held back and a stop string included."""

    def push(self, token_ids: Sequence[int]) -> str:
        """Add tokens; returns the text that is now certain."""
        certain = ""
        for token in token_ids:
            if not self.stopped:
                self._token_ids.append(token)
                certain += self._hold_stops(self._new_text(at_end=False))
        return certain

    def finish(self) -> str:
        """What was held back, when no more tokens will come."""
        if self.stopped:
            return ""
        text = self._hold_stops(self._new_text(at_end=True))
        held, self._held_back = self._held_back, ""
        return text + held

    def _new_text(self, at_end: bool) -> str:
        before = self._codec.decode(self._token_ids[self._context_start : self._read])
        after = self._codec.decode(self._token_ids[self._context_start :])
        pending = len(self._token_ids) - self._read
        if after.endswith(UNFINISHED) and not at_end and pending < LONGEST_CHARACTER_TOKENS:
            return ""
        self._context_start, self._read = self._read, len(self._token_ids)
        text = after[len(before) :]
        self.length_chars += len(text)
        return text

    def _hold_stops(self, text: str) -> str:
        if not self._stops or len(self._token_ids) <= self._min_tokens:
            return text
        text = self._held_back + text
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped, self._held_back = True, ""
            return text[: min(found)]
        held = max(_overlap(text, stop) for stop in self._stops)
        self._held_back = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text could be the beginning of the stop string."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
