"""Whether a remembered fleet hangs together: screens rely on it, and a damaged or a stranger's file need not."""

from __future__ import annotations

import numpy as np

from opsconsole.core.fleet import GPU_FACT_COLUMNS, REACH_WORDS, Fleet, Roster


def check_roster(roster: Roster) -> None:
    """Raises ValueError when its parts are not of one fleet."""
    gpus, start = len(roster.gpu_uuid), roster.gpu_start
    whole = (
        len(roster.node_row) == len(roster.nodes) and start.shape == (len(roster.nodes) + 1,) and start[0] == 0 and start[-1] == gpus
        and (np.diff(start) >= 0).all() and len(roster.gpu_name) == gpus and roster.gpu_index.shape == (gpus,)
        and roster.gpu_facts.ndim == 2 and len(roster.gpu_facts) == len(GPU_FACT_COLUMNS) and roster.gpu_facts.shape[1] in (0, gpus)
    )
    if not whole:
        raise ValueError("its nodes and GPUs do not fit together")


def check_fleet(fleet: Fleet) -> None:
    """Raises ValueError when what is said of nodes, GPUs and workers is not of those in its roster."""
    nodes, gpus = len(fleet.roster.nodes), len(fleet.roster.gpu_uuid)
    if len(fleet.reach) != nodes or not ((fleet.reach >= 0) & (fleet.reach < len(REACH_WORDS))).all():
        raise ValueError("it is of other nodes than its fleet has")
    rows = {*fleet.processes, *fleet.cordons}
    if not rows <= set(range(nodes)) or not fleet.gpu_errors.keys() <= set(range(gpus)):
        raise ValueError("it tells of nodes or GPUs that its fleet does not have")
    if strangers := {worker.node for worker in fleet.workers} - fleet.roster.node_row.keys():
        raise ValueError(f"it tells of workers on {min(strangers)}, which its fleet does not have")
