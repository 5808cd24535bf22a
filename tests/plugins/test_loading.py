"""Plugins are found by entry point, loaded only when the fleet file names them, and none of their faults goes further than a reason."""

import json
import sys

import pytest

from opsconsole.cli import root
from opsconsole.config import ConfigError, read_config
from opsconsole.control.elsewhere import Machines
from opsconsole.control.extensions import check, load_plugins, moves_streams, open_router, spec_for
from opsconsole.core.fleet import Model
from opsconsole.hooks import Misfit, RouterError
from opsconsole.plugins import Plugins
from opsconsole.protocol import ENGINE_SPEC

GOOD = """
from opsconsole.hooks import Engine, Misfit, RouterKind, hookimpl
OPSCONSOLE_API = 1
SPEC = {"argv": ["serve", "{port}"], "env": {}, "ready_path": "/",
        "drain_path": None, "metrics_path": "/m", "metrics": {}, "term_limit_s": 9, "notifies": False}
def spec(model):
    if model.checkpoint == "broken":
        raise KeyError("checkpoint")
    if model.gpus > 1:
        raise Misfit("gpus", "serves from one GPU only")
    return {**SPEC, "argv": [*SPEC["argv"], model.checkpoint]}
def open(settings):
    if "socket" not in settings.options:
        raise Misfit("options.socket", "is missing")
    raise OSError("no such thing")
@hookimpl
def opsconsole_engines():
    return [Engine("fast", spec)]
@hookimpl
def opsconsole_routers():
    return [RouterKind("front", open)]
"""
HEAD = "from opsconsole.hooks import Engine, RouterKind, hookimpl\nOPSCONSOLE_API = 1\n"
BROKEN = {
    "raises": ("raise RuntimeError('\\x1b[31mboom')", "RuntimeError: \N{REPLACEMENT CHARACTER}[31mboom"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "lacks": ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    "old": ("OPSCONSOLE_API = 0", "version 0 of the plugin interface (OPSCONSOLE_API), this is 1"),
    "mute": ("OPSCONSOLE_API = 1", "gives neither a router nor an engine"),
    "hook": (HEAD + "@hookimpl\ndef opsconsole_engines():\n    return 1 / 0\n", "ZeroDivisionError"),
    "kind": (HEAD + "@hookimpl\ndef opsconsole_engines():\n    return ['vllm']\n", "'vllm', not a Engine"),
    "taken": (HEAD + "@hookimpl\ndef opsconsole_engines():\n    return [Engine('jax', dict)]\n", "jax is given by another plugin"),
    "unknown": (HEAD + "@hookimpl\ndef opsconsole_rooms():\n    return []\n", "unknown hook"),
    "arguments": (HEAD + "@hookimpl\ndef opsconsole_engines(fleet):\n    return []\n", "fleet"),
}
FLEET = '[[nodes]]\nhosts = "n1"\n[[models]]\nname = "m"\ncheckpoint = "c"\n'


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "fleet.toml"
        path.write_text(text)
        return read_config(path)

    return read


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named_with_its_reason_and_the_others_work(stranger, case):
    source, words = BROKEN[case]
    stranger("good", GOOD)
    stranger(case, source)
    plugins = Plugins({"good", case})
    states = {found.name: found for found in plugins.found}
    assert states[case].state == "broken" and words in states[case].reason and states[case].adds == ()
    assert states["good"].adds == ("router front", "engine fast") and states["good"].version == "1.2"
    assert set(plugins.engines) == {"fast"} and set(plugins.routers) == {"front"}
    assert "its plugin is broken" in plugins.why_not("engine", case)


def test_what_nobody_names_is_listed_and_never_run(stranger):
    module = stranger("good", GOOD)
    [found] = Plugins().found
    assert (found.name, found.state, found.reason) == ("good", "off", "the fleet file does not name it") and module not in sys.modules


def test_an_engine_that_raises_is_switched_off_and_one_that_says_no_is_not(stranger):
    stranger("good", GOOD)
    plugins = Plugins({"good"})
    assert set(plugins.engine_spec(Model("m", "fast", "c"))) == set(ENGINE_SPEC)
    with pytest.raises(Misfit, match="one GPU only"):
        plugins.engine_spec(Model("m", "fast", "c", gpus=2))
    with pytest.raises(Misfit, match="KeyError"):
        plugins.engine_spec(Model("m", "fast", "broken"))
    with pytest.raises(Misfit, match="no engine called fast"):
        plugins.engine_spec(Model("m", "fast", "c"))
    assert [found.state for found in plugins.found] == ["broken"] and not plugins.engines


def test_a_launch_carries_the_spec_of_what_it_asks_for(stranger, read):
    stranger("good", GOOD)
    config = read(FLEET + 'engine = "fast"\n[plugins]\nload = ["good"]\n')
    more = spec_for(load_plugins(config), config.models)
    assert more({"model": "m", "engine": "fast", "checkpoint": "newer"})["engine_spec"]["argv"] == ["serve", "{port}", "newer"]
    assert more({"model": "m", "engine": "jax", "checkpoint": "c"}) == {}


REFUSED = [
    ('engine = "fast"\n', 6, "key `engine`: there is no engine called fast: no plugin that is loaded gives it; known: jax"),
    ('engine = "fast"\ngpus = 2\n[plugins]\nload = ["good"]\n', 7, "key `gpus`: serves from one GPU only"),
    ('[router]\nkind = "front"\n', 7, "key `kind`: there is no router called front"),
    ('[router]\nkind = "front"\n[plugins]\nload = ["good"]\n', 6, "key `options`: options.socket: is missing"),
    ('[router]\nkind = "front"\noptions = { socket = "x" }\n[plugins]\nload = ["good"]\n', 7, "front cannot be used: OSError"),
    ('[plugins]\nload = ["nobody"]\n', 7, "key `load`: no plugin called nobody is installed"),
    ('[plugins]\nload = ["bad"]\n', 7, "the plugin bad is broken: ZeroDivisionError"),
]


@pytest.mark.parametrize(("text", "line", "words"), REFUSED)
def test_config_check_names_what_no_plugin_gives(stranger, read, tmp_path, text, line, words):
    stranger("good", GOOD)
    stranger("bad", "1 / 0")
    config = read(FLEET + text)
    with pytest.raises(ConfigError) as caught:
        check(config, load_plugins(config), tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/fleet.toml:{line}: ") and words in str(caught.value), str(caught.value)


async def test_a_fleet_whose_router_is_missing_is_watched_all_the_same(read, tmp_path):
    config = read(FLEET + '[router]\nkind = "front"\n')
    router, name = open_router(config, load_plugins(config), tmp_path / "routes.json", Machines(config))
    assert name == "router front"
    with pytest.raises(RouterError, match="there is no router called front"):
        await router.list()


@pytest.mark.parametrize(("text", "moves"), [
    ("", True), ('[router]\nkind = "gateway"\n', True), ('[router]\nkind = "front"\n[plugins]\nload = ["good"]\n', False),
    ('[router]\nkind = "nobody"\n', False)])
def test_whether_streams_can_move_is_the_routers_to_say(stranger, read, text, moves):
    stranger("good", GOOD)
    config = read(FLEET + text)
    assert moves_streams(config, load_plugins(config)) is moves


def test_the_command_lists_them_and_says_what_is_wrong(stranger, read, tmp_path, monkeypatch, capsys):
    stranger("good", GOOD)
    stranger("bad", "1 / 0")
    read(FLEET + 'engine = "fast"\n[plugins]\nload = ["good"]\n')
    monkeypatch.setenv("OPSCONSOLE_STATE_DIR", str(tmp_path / "state"))
    options = ["--config", str(tmp_path / "fleet.toml"), "plugins"]
    assert root.run([*options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["plugins"]
    assert told == [
        {"name": "bad", "version": "1.2", "state": "off", "adds": [], "reason": "the fleet file does not name it"},
        {"name": "good", "version": "1.2", "state": "loaded", "adds": ["router front", "engine fast"], "reason": ""},
    ]
    read(FLEET + '[plugins]\nload = ["bad"]\n')
    assert root.run(options) == 1
    said = capsys.readouterr()
    assert "ZeroDivisionError" in said.out and "fleet.toml:7: key `load`" in said.err
    assert root.run(["--config", str(tmp_path / "fleet.toml"), "config", "check"]) == 2
