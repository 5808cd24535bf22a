"""What the fleet consists of, kept up to date: a node that tells new facts gets its rows laid anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from opsconsole.core.events import Linked
from opsconsole.core.fleet import Fleet, Roster
from opsconsole.core.ingest import Facts


def with_facts(fleet: Fleet, linked: Sequence[Linked]) -> Fleet:
    """The fleet with the facts that nodes told; of several by one node the last counts."""
    known = fleet.roster.node_row
    news = {known[event.node]: event.facts for event in linked if event.node in known}
    return _relaid(fleet, news) if news else fleet


def _relaid(fleet: Fleet, news: dict[int, Facts]) -> Fleet:
    roster = fleet.roster
    nodes, uuids, names, indexes, facts, values, counts = [], [], [], [], [], [], []
    for row, node in enumerate(roster.nodes):
        old = roster.gpus_of(row)
        new = news.get(row)
        if new is None:
            nodes.append(node)
            uuids.extend(roster.gpu_uuid[old])
            names.extend(roster.gpu_name[old])
            indexes.append(roster.gpu_index[old])
            facts.append(roster.gpu_facts[:, old])
            values.append(fleet.gpu_values[:, old])
            counts.append(old.stop - old.start)
            continue
        nodes.append(replace(
            node, hostname=new.hostname, driver=new.driver, python=new.python, boot_id=new.boot_id, cpu_count=new.cpu_count,
            mem_total_mib=new.mem_total_mib, gpu_source=new.gpu_source, gpu_error=new.gpu_error,
        ))
        uuids.extend(new.gpu_uuid)
        names.extend(new.gpu_name)
        indexes.append(np.array(new.gpu_index, dtype=np.int64))
        facts.append(new.gpu_facts)
        same = new.gpu_uuid == roster.gpu_uuid[old]
        values.append(fleet.gpu_values[:, old] if same else np.full((fleet.gpu_values.shape[0], len(new.gpu_uuid)), np.nan))
        counts.append(len(new.gpu_uuid))
    relaid = replace(
        roster, nodes=tuple(nodes), gpu_uuid=tuple(uuids), gpu_name=tuple(names), gpu_index=np.concatenate(indexes),
        gpu_facts=np.concatenate(facts, axis=1), gpu_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
    return replace(
        fleet, roster=relaid, gpu_values=np.concatenate(values, axis=1), gpu_errors=_moved(fleet.gpu_errors, roster, relaid, news),
    )


def _moved(errors: dict[int, str], old: Roster, new: Roster, news: dict[int, Facts]) -> dict[int, str]:
    """Errors of single GPUs at their new rows; those of relaid nodes wait for the next sample."""
    moved = {}
    for gpu, text in errors.items():
        node = int(old.gpu_node[gpu])
        if node not in news:
            moved[int(new.gpu_start[node] + gpu - old.gpu_start[node])] = text
    return moved
