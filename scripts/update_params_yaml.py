"""Writes `params.yaml`: every parameter with its default and its meaning, from the config classes.

python -m scripts.update_params_yaml
"""

from mggtalk.cli.params import group_docs, yaml_lines
from mggtalk.config import plain_values
from mggtalk.fingerprint import PROJECT_ROOT
from mggtalk.params import GROUPS, config_class

PARAMS_FILE = PROJECT_ROOT / "params.yaml"
_HEAD = """\
# Every parameter with its default. A key that is left out takes its default; an unknown key is an error.
# `python -m scripts.update_params_yaml` writes this file anew; docs/configuration.md shows how to keep changes apart.
"""


def written() -> str:
    """Return the content of `params.yaml` that the config classes give."""
    return _HEAD + "".join(f"\n{_group(name)}\n" for name in GROUPS)


def _group(name: str) -> str:
    cls = config_class(name)
    head = {name: f"{cls.__module__.replace('.', '/')}.py: {cls.__name__}"}
    return "\n".join(yaml_lines({name: plain_values(cls())}, head | group_docs(name), {}))


if __name__ == "__main__":
    PARAMS_FILE.write_text(written())
