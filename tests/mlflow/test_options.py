"""The commands explain themselves."""

import pytest
from typer.main import get_command

from modfile_cmd.main import app

COMMANDS = get_command(app).commands["mlflow"].commands


def test_the_commands_are_those_of_a_model_registry():
    assert list(COMMANDS) == ["register", "list", "info", "pull", "verify", "promote"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for_and_there_are_examples(name):
    command = COMMANDS[name]
    assert f"modfile mlflow {name} " in command.help
    assert "Exit codes" in command.epilog
    assert "--tracking-uri" in [text for option in command.params for text in option.opts]
    for option in command.params:
        if option.param_type_name == "option" and option.name != "help":
            assert option.help, option.name
            assert option.is_flag or option.metavar, option.name


def test_without_a_command_the_help_is_shown(modfile):
    assert "register" in modfile("mlflow", "--help").stdout
    assert "register" in modfile("mlflow", exit_code=2).stderr
