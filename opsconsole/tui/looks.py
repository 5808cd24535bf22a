"""The five looks: which colour a meaning has in each, and terminal styles made once a look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.style import Style

RAISED_GROUNDS = frozenset(("chosen", "crit_ground", "warn_ground", "info_ground"))
"""Grounds that must stand out where there is no colour."""
_STRONG_INKS = frozenset(("crit", "warn", "strong"))


@dataclass(frozen=True, eq=False)
class Look:
    """A palette by meaning: inks and grounds by name, and a ramp of 16 steps from idle to full. Empty colours: mono."""

    name: str
    colours: Mapping[str, str]
    ramp: tuple[str, ...] = ()
    """Empty: shade characters instead of half blocks."""
    _styles: dict[tuple[str, str, bool], Style] = field(default_factory=dict, repr=False)

    @property
    def is_mono(self) -> bool:
        return not self.colours

    @property
    def is_native(self) -> bool:
        """Whether only the terminal's own colours are used."""
        return not self.ramp

    def style(self, ink: str = "text", ground: str = "ground", bold: bool = False) -> Style:
        key = (ink, ground, bold)
        found = self._styles.get(key)
        if found is None:
            found = self._styles[key] = self._make(ink, ground, bold)
        return found

    def _make(self, ink: str, ground: str, bold: bool) -> Style:
        if self.is_mono:
            strong = bold or ink in _STRONG_INKS
            return Style(bold=strong or None, reverse=ground in RAISED_GROUNDS or None, dim=(ink == "faint" and not strong) or None)
        back = self._colour(ground)
        front = self._colour(ink)
        if self.is_native and ground in RAISED_GROUNDS:
            front = "black" if ground == "warn_ground" else "bright_white"
        return Style(color=front, bgcolor=back, bold=bold or None)

    def _colour(self, name: str) -> str:
        return self.ramp[int(name[4:])] if name.startswith("ramp") else self.colours[name]


NIGHT = Look("night", dict(
    ground="#0e1116", panel="#141920", head="#1a212b", line="#2b3542", text="#c5ced8", dim="#76828f", faint="#465260", strong="#f2f5f8",
    chosen="#17384f", band="#1b2836", accent="#4c9be6", ok="#c3d5da", bar="#4f7d92", warn="#ffce3a", crit="#f0566c", crit_ground="#6a1628",
    warn_ground="#4a3a08", info="#d9b8ff", info_ground="#3a2a5c", lost="#3a434e"), (
    "#131a24", "#15212f", "#17283b", "#193047", "#1b3853", "#1d4160", "#204a6d", "#24547a",
    "#2a5f87", "#326b94", "#3d78a0", "#4b86ab", "#5d95b5", "#73a5bf", "#8db6c9", "#abc8d4"))
DAY = Look("day", dict(
    ground="#f7f8fa", panel="#eef1f4", head="#dfe5ea", line="#b9c3cd", text="#25303b", dim="#5f6c79", faint="#9aa6b2", strong="#05080b",
    chosen="#c9e2f4", band="#dfe9f1", accent="#0a2f80", ok="#5f7280", bar="#7aa3b5", warn="#8a7000", crit="#8c1235", crit_ground="#f6cdd8",
    warn_ground="#fff0b3", info="#5b3fb0", info_ground="#e4dcfb", lost="#a9b0b8"), (
    "#eef3f7", "#e2ebf2", "#d6e4ee", "#cadcea", "#bdd4e5", "#b0cce1", "#a2c3dc", "#94bad7",
    "#85b0d1", "#76a6cb", "#669bc4", "#5690bc", "#4684b3", "#3777a8", "#296a9c", "#1b5c8e"))
CONTRAST = Look("contrast", dict(
    ground="#000000", panel="#000000", head="#1c1c1c", line="#8a8a8a", text="#ffffff", dim="#c6c6c6", faint="#8a8a8a", strong="#ffffff",
    chosen="#004a80", band="#26313b", accent="#4db2ff", ok="#ffffff", bar="#7fb4cc", warn="#ffe14d", crit="#ff6b86", crit_ground="#80102c",
    warn_ground="#5c4c00", info="#d2bcff", info_ground="#3c2a78", lost="#6a6a6a"), (
    "#101820", "#132433", "#173046", "#1b3d5a", "#204a6d", "#265881", "#2d6694", "#3674a7",
    "#4183b9", "#4f92c9", "#60a2d7", "#74b1e2", "#8bc1eb", "#a4d0f2", "#c0dff7", "#ddeefb"))
SIXTEEN = Look("16-colour", dict(
    ground="default", panel="default", head="black", line="bright_black", text="default", dim="bright_black", faint="bright_black",
    strong="bright_white", chosen="blue", band="bright_black", accent="bright_cyan", ok="cyan", bar="cyan", warn="bright_yellow",
    crit="bright_red", crit_ground="red", warn_ground="yellow", info="bright_magenta", info_ground="magenta", lost="bright_black"))
MONO = Look("mono", {})

LOOKS = {look.name: look for look in (NIGHT, DAY, CONTRAST, SIXTEEN, MONO)}


def choose_look(theme: str, environ: Mapping[str, str]) -> Look:
    """NO_COLOR wins, then the configured name; a terminal that only knows 16 colours gets those."""
    if environ.get("NO_COLOR"):
        return MONO
    if theme in LOOKS:
        return LOOKS[theme]
    term = environ.get("TERM", "")
    few = term in ("linux", "vt100", "ansi", "xterm", "screen") and environ.get("COLORTERM", "") not in ("truecolor", "24bit")
    return SIXTEEN if few else NIGHT
