"""bert-jax completion: a script that completes verbs and flags in bash and zsh. Does not import JAX."""

import importlib
import typing
from collections.abc import Callable, Mapping, Sequence

import tyro

from bert_jax import cli
from bert_jax.errors import UserError
from bert_jax.settings.command_line import boolean_flags, flag_form
from bert_jax.terminal import say

HELP = "--help"
COMPLETION_HELP = """\
usage: bert-jax completion

Print a script that completes verbs and flags in bash and zsh. To use it, add this line to ~/.bashrc or ~/.zshrc:

    eval "$(bert-jax completion)"
"""
SCRIPT = """\
# bash and zsh: eval "$(bert-jax completion)" in ~/.bashrc or ~/.zshrc
[ -n "$ZSH_VERSION" ] && autoload -U +X bashcompinit && bashcompinit
_bert_jax() {{
  local words="" line="${{COMP_WORDS[1]}}" place=2
  if [ "$line" = prep ]; then line="prep ${{COMP_WORDS[2]}}"; place=3; fi
  if [ "$COMP_CWORD" -lt $place ]; then
    [ "$COMP_CWORD" = 1 ] && words="{verbs}" || words="{jobs}"
  else
    case "$line" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _bert_jax bert-jax
"""


def script() -> str:
    """Return the script. Words that are not verbs or flags are completed as files."""
    flags = {name: flags_of(verb.settings_class()) for name, verb in cli.VERBS.items() if verb.settings}
    jobs: Mapping[str, Callable[..., int]] = importlib.import_module(cli.VERBS["prep"].module).COMMANDS
    flags |= {f"prep {name}": flags_of(job) for name, job in jobs.items()}
    cases = "\n".join(f'      "{line}") words="{" ".join(names)}" ;;' for line, names in flags.items())
    return SCRIPT.format(verbs=" ".join(cli.VERBS), jobs=" ".join(jobs), cases=cases)


def flags_of(reader: Callable[..., object]) -> list[str]:
    """Return the flags of a settings class, or of a function whose parameter `config` is one, in order."""
    settings = reader if isinstance(reader, type) else typing.get_type_hints(reader).get("config", reader)
    parser = tyro.extras.get_parser(flag_form(settings) if isinstance(settings, type) else settings)
    names = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    optional_booleans = boolean_flags(settings) if isinstance(settings, type) else {}
    others = [name for name in optional_booleans if name not in names]
    return [*(name for name in names if name != HELP), *others, HELP]


def main(arguments: Sequence[str]) -> int:
    """Print the script or the help; return the exit code."""
    if arguments in ([HELP], ["-h"]):
        say(COMPLETION_HELP)
    elif arguments:
        raise UserError(f"{' '.join(arguments)}: completion takes no arguments. It prints a script for bash and zsh")
    else:
        say(script().rstrip())
    return 0
