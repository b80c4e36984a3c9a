from pathlib import Path

from typer.main import get_command

from modfile_cmd.main import app
from modfile_cmd.manual import manual

ROOT = Path(__file__).parent.parent.parent


def test_the_page_of_commands_is_what_the_commands_say():
    page = (ROOT / "docs/cli.md").read_text()
    assert page == manual(), "stale: python -m modfile_cmd.manual > docs/cli.md"


def test_every_option_says_what_it_is_for_and_what_it_takes():
    for name, command in get_command(app).commands.items():
        for option in command.params:
            if option.param_type_name == "option" and option.name != "help":
                assert option.help, f"{name} {option.name}"
                assert option.is_flag or option.metavar, f"{name} {option.name}"
