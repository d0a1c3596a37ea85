"""``diarist completion``."""

from __future__ import annotations

import click

from batch.cli.command import command


@command(
    ('eval "$(diarist completion bash)"', "in ~/.bashrc: commands, flags, profiles, formats and keys by Tab"),
    ('eval "$(diarist completion zsh)"', "in ~/.zshrc"),
    ("diarist completion fish > ~/.config/fish/completions/diarist.fish", "once"),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Write what a shell needs to complete commands, flags and values."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "diarist", "_DIARIST_COMPLETE").source())
