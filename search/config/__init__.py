"""The configuration: from YAML files and overrides to the settings of a run, and to its folder and back."""

from search.config.overridden import overridden
from search.config.parse import composed, parse
from search.config.refusals import explained
from search.config.register import register
from search.config.run_config import CONFIG_FILE, ConfigError, read_config, recorded, write_config
from search.config.schemas import CONF, CONFIG

__all__ = [
    "CONF",
    "CONFIG",
    "CONFIG_FILE",
    "ConfigError",
    "composed",
    "explained",
    "overridden",
    "parse",
    "read_config",
    "recorded",
    "register",
    "write_config",
]
