"""A plugin of opsconsole that gives the engine `vllm`: how a node starts a vLLM server, and which of its metrics mean what."""

from opsconsole.hooks import Engine, hookimpl
from opsconsole_vllm.engine import spec_of

OPSCONSOLE_API = 1


@hookimpl
def opsconsole_engines() -> list[Engine]:
    return [Engine("vllm", spec_of)]
