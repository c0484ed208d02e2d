"""The versions of what a result depends on."""

from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("picojoule", "torch", "numpy", "scipy", "safetensors", "hydra-core")


def versions() -> dict[str, str]:
    """Package -> version, "source tree" where it is not installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "source tree"
    return found
