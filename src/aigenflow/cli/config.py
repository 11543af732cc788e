"""``aigenflow config``: read and change the settings."""

from __future__ import annotations

import re
from gettext import gettext as _
from io import StringIO
from typing import Any

import click

from aigenflow.cli import options
from aigenflow.cli.console import current_folder, json_text, read_settings

_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")


@click.group("config", help=_("Read and change the settings."))
def command() -> None:
    pass


@command.command("show", help=_("Print the settings in force, from all layers."))
@options.as_json()
def show(as_json: bool) -> None:
    settings, _home = read_settings()
    value = _masked(settings.model_dump(mode="json"))
    click.echo(json_text(value) if as_json else _as_yaml(value))


@command.command("list", help=_("List every setting with its value in force."))
@options.as_json()
def list_settings(as_json: bool) -> None:
    from aigenflow.core.config import leaf_keys

    settings, _home = read_settings()
    everything = _masked(settings.model_dump(mode="json"))
    values = {key: _leaf(everything, key) for key in leaf_keys()}
    if as_json:
        click.echo(json_text(values))
        return
    for key, value in values.items():
        click.echo(f"{key} = {json_text(value, indent=None)}")


@command.command("set", help=_("Set one setting, by its full or unambiguous short name."))
@click.argument("key")
@click.argument("value")
def set_setting(key: str, value: str) -> None:
    from aigenflow.core.config import home_directory, user_file
    from aigenflow.core.config_file import set_value

    home = home_directory()
    name, new = set_value(home, key, value)
    click.echo(f"{name} = {json_text(_masked(new), indent=None)}")
    _warn_if_overridden(name, new)
    click.echo(_("Saved in {path}.").format(path=user_file(home)), err=True)


@command.command("unset", help=_("Take one setting out of your file; its default counts again."))
@click.argument("key")
def unset_setting(key: str) -> None:
    from aigenflow.core.config import home_directory
    from aigenflow.core.config_file import unset_value

    name = unset_value(home_directory(), key)
    settings, _home = read_settings()
    value = _leaf(_masked(settings.model_dump(mode="json")), name)
    click.echo(f"{name} = {json_text(value, indent=None)}")


@command.command("path", help=_("Print where the settings come from, strongest last."))
def path() -> None:
    from aigenflow.core.config import PROJECT_FILE, home_directory, user_file

    for file in (user_file(home_directory()), current_folder() / PROJECT_FILE):
        click.echo(f"{file}" if file.exists() else _("{file} (not there)").format(file=file))
    click.echo(_("AIGENFLOW_* environment variables"))


def _warn_if_overridden(key: str, value: Any) -> None:
    settings, _home = read_settings()
    in_force = _leaf(settings.model_dump(mode="json"), key)
    if in_force != value and str(in_force) != str(value):
        click.echo(
            _("Note: {value} is in force, from ./aigenflow.yaml or the environment.").format(
                value=json_text(_masked(in_force), indent=None)
            ),
            err=True,
        )


def _leaf(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return _PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value


def _as_yaml(value: Any) -> str:
    from ruamel.yaml import YAML

    text = StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.dump(value, text)
    return text.getvalue().rstrip()
