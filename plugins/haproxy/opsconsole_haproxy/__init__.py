"""A plugin of opsconsole that gives the router `haproxy`: a HAProxy, 2.6 or newer, driven through its runtime socket."""

from opsconsole.hooks import RouterKind, hookimpl
from opsconsole_haproxy.router import open_router

OPSCONSOLE_API = 1


@hookimpl
def opsconsole_routers() -> list[RouterKind]:
    return [RouterKind("haproxy", open_router)]
