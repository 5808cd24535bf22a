"""The fleet file that the demo writes is one that the console reads, for any number of nodes."""

import json

import pytest

from opsconsole.config import read_config
from opsconsole.sim.fleetfile import fleet_file, read_fleet
from opsconsole.sim.world import World


def written(tmp_path, fleet, url=None):
    path = tmp_path / "fleet.toml"
    path.write_text(fleet_file(fleet, tmp_path, {name: 2000 + row for row, name in enumerate(fleet.names)}, url))
    return read_config(path)


@pytest.mark.parametrize(("nodes", "gpus"), [(None, None), (1, None), (7, 3), (12, 8)])
def test_real_nodes(tmp_path, nodes, gpus):
    fleet = read_fleet(nodes, gpus, seed=1)
    config = written(tmp_path, fleet, "http://127.0.0.1:8080")
    assert [spec.name for spec in config.nodes] == list(fleet.names) and len(set(fleet.names)) == (nodes or 4)
    assert [spec.port for spec in config.nodes] == [2000 + row for row in range(len(config.nodes))]
    assert all(spec.link == "ssh" and spec.gpus == "sim:~/gpus.json" for spec in config.nodes)
    assert config.ssh_config is None and config.router.url == "http://127.0.0.1:8080"
    assert {model for model, _ in fleet.workers} <= {model.name for model in config.models}
    assert all(gpus is None or about["gpus"] == gpus for about in fleet.plan()["nodes"])
    json.dumps(fleet.plan())


def test_many_nodes_are_simulated(tmp_path):
    fleet = read_fleet(100, None, seed=5)
    config = written(tmp_path, fleet)
    assert not fleet.is_real and len(config.nodes) == 100
    assert all(spec.link == "sim" for spec in config.nodes)
    world = World(config.nodes, config.models)
    assert world.seed == 5 and len(world.gpus.chips) == 800
    assert len({worker.model for worker in world.crew.workers}) == len(config.models)


def test_prices_and_objectives_survive(tmp_path):
    config = written(tmp_path, read_fleet(None, None, 1))
    assert config.sites[1].price_per_gpu_hour["L40S"] == 0.85
    assert config.models[0].ttft_p95_ms == 800
    assert config.models[0].checkpoint.endswith("/model")
