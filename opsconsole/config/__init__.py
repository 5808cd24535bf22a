"""The operator's fleet file, read once from TOML into frozen values, errors naming file, line, key and mend."""

from opsconsole.config.read import read_config
from opsconsole.config.starter import starter
from opsconsole.config.values import Config, ConfigError, NodeSpec, Router
from opsconsole.config.whereabouts import find_config, find_state_dir

__all__ = ["Config", "ConfigError", "NodeSpec", "Router", "find_config", "find_state_dir", "read_config", "starter"]
