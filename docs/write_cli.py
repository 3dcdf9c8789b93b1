"""Every verb and option of the command line as a page, from the parsers themselves: python docs/write_cli.py"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from rwkv_music.switchboard import VERBS, parser_of

# A bar that ends no cell of a table.
ESCAPED = "\\|"
PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

    rwkv-music VERB ...
    rwkv-music VERB --help

Results go to standard output or to the files that are named; talk goes to standard error. Nothing is overwritten
without `--force`. Exit codes: 0, 1 for what went wrong, 2 for options that cannot be, 130 after Ctrl-C (what was made
until then is kept). What the verbs are for stands in [musicians.md](musicians.md).

<!-- Made by docs/write_cli.py, as a test sees to. -->
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"\n{part}" for verb in VERBS for part in section(parser_of(verb), "##"))


def section(parser: argparse.ArgumentParser, mark: str) -> Iterator[str]:
    """A verb, and the actions below it."""
    told = " ".join((parser.description or "").split())
    yield f"{mark} {parser.prog}\n" + (f"\n{told}\n" if told else "")
    for group in parser._action_groups:
        rows = [line for action in group._group_actions if action.dest != "help" for line in rows_of(action)]
        if rows:
            yield f"| {group.title} | |\n|---|---|\n" + "".join(rows)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from section(below, f"{mark}#")


def rows_of(action: argparse.Action) -> Iterator[str]:
    """One argument or option, or the actions that one may choose from."""
    if isinstance(action, argparse._SubParsersAction):
        yield from (f"| `{choice.dest}` | {text(choice)} |\n" for choice in action._choices_actions)
        return
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    if action.option_strings and action.nargs != 0:
        choices = "|".join(map(str, action.choices or ()))
        names += f" {action.metavar or choices or action.dest.upper()}"
    yield f"| `{names.replace('|', ESCAPED)}` | {text(action)} |\n"


def text(action: argparse.Action) -> str:
    """What is told of an argument."""
    return ((action.help or "") % {"default": action.default}).replace("|", ESCAPED)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
