"""One editable line of text, because a prompt of ours draws through our own clean lines."""

from __future__ import annotations

from textual import events

LENGTH_LIMIT = 400


class Editor:
    def __init__(self, text: str = "") -> None:
        self.text = text
        self.place = len(text)

    def press(self, event: events.Key) -> bool:
        """Take one key; False when it is none for a line of text."""
        act = _KEYS.get(event.key)
        if act is not None:
            act(self)
        elif event.is_printable and event.character:
            self.insert(event.character)
        else:
            return False
        return True

    def insert(self, text: str) -> None:
        text = "".join(character for character in text if character.isprintable())[: LENGTH_LIMIT - len(self.text)]
        self.text = self.text[: self.place] + text + self.text[self.place:]
        self.place += len(text)

    def replace(self, text: str) -> None:
        self.text, self.place = text, len(text)

    def _erase_left(self) -> None:
        if self.place:
            self.text = self.text[: self.place - 1] + self.text[self.place:]
            self.place -= 1

    def _erase_word(self) -> None:
        kept = self.text[: self.place].rstrip()
        kept = kept[: kept.rfind(" ") + 1]
        self.text, self.place = kept + self.text[self.place:], len(kept)

    def _erase_all(self) -> None:
        self.text, self.place = self.text[self.place:], 0

    def _go(self, place: int) -> None:
        self.place = max(0, min(len(self.text), place))


_KEYS = {
    "backspace": Editor._erase_left, "ctrl+h": Editor._erase_left, "ctrl+w": Editor._erase_word, "ctrl+u": Editor._erase_all,
    "left": lambda editor: editor._go(editor.place - 1), "right": lambda editor: editor._go(editor.place + 1),
    "home": lambda editor: editor._go(0), "end": lambda editor: editor._go(len(editor.text)),
    "ctrl+a": lambda editor: editor._go(0), "ctrl+e": lambda editor: editor._go(len(editor.text)),
}
