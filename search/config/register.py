"""What Hydra has to know of ours: the schemas of the YAML files, and the sweeper."""

from hydra.core.config_store import ConfigStore

from search.config.schemas import ONE_SCHEMA, SCHEMAS, ConfigSchema

SWEEPER = {"_target_": "hydra_plugins.picojoule.Sweeper", "max_batch_size": None, "params": None}


def register() -> None:
    """Makes them known. Each YAML file names its schema first in `defaults`.

    Schemas stand outside the groups, so that they are in no list of a group's options.
    """
    store = ConfigStore.instance()
    store.store(name="config_schema", node=ConfigSchema)
    for group, schema in ONE_SCHEMA.items():
        store.store(name=f"{group}_schema", node=schema)
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(name=f"{group}_{name}_schema", node=schema)
    store.store(group="hydra/sweeper", name="picojoule", node=dict(SWEEPER))
