"""``avtomatika completion``: completion of commands and options in shells."""

from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

#: Shell -> click's class, its script in the home folder, and the file in which a line loads it; fish loads a folder.
_SCRIPTS: dict[str, tuple[type[ShellComplete], str, str | None]] = {
    "bash": (BashComplete, ".local/share/avtomatika/completion.bash", ".bashrc"),
    "zsh": (ZshComplete, ".local/share/avtomatika/completion.zsh", ".zshrc"),
    "fish": (FishComplete, ".config/fish/completions/avtomatika.fish", None),
}
#: With it set, the program prints completions.
_VARIABLE = "_AVTOMATIKA_COMPLETE"
#: zsh defines the function that registers a completion only after this.
_ZSH_START = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }\n"
_shell_argument = click.argument("shell", type=click.Choice(list(_SCRIPTS)))


@click.group("completion")
def command() -> None:
    """Install completion of commands and options in bash, zsh or fish."""


@command.command()
@_shell_argument
def show(shell: str) -> None:
    """Print the script that completes in SHELL."""
    click.echo(_script(shell), nl=False)


@command.command()
@_shell_argument
def install(shell: str) -> None:
    """Install completion for this user; new shells have it.

    Writes the script, and in bash and zsh one line in .bashrc or .zshrc that loads it. A second call updates the
    script.
    """
    _, name, startup_name = _SCRIPTS[shell]
    path = Path.home() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_script(shell))
    if startup_name is not None:
        startup, line = Path.home() / startup_name, f'. "$HOME/{name}"'
        text = startup.read_text() if startup.exists() else ""
        if line not in text.splitlines():
            startup.write_text(f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n")
    click.echo(f"installed {path}; start a new {shell} to use it", err=True)


def _script(shell: str) -> str:
    script = _SCRIPTS[shell][0](click.get_current_context().find_root().command, {}, "avtomatika", _VARIABLE).source()
    return _ZSH_START + script if shell == "zsh" else script
