"""The command `bert-jax`: a table of verbs. A verb's module is imported after its command line has been parsed."""

import dataclasses
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from bert_jax import process
from bert_jax.errors import DONE, MISTAKE, STOPPED, USAGE, Stopped, UserError, did_you_mean
from bert_jax.terminal import announce, clipped, escape_unencodable, honour_no_color, one_line, say


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb of the command. Modules are given by name, so that only the verb that runs is imported.

    about     its line in the usage message
    settings  "module:class" of its settings in bert_jax.settings; None if the verb's module parses the arguments
    module    the module whose `main` runs the verb. It imports JAX, so it is imported after the settings are parsed
    """

    about: str
    settings: str | None
    module: str

    def settings_class(self) -> Any:
        """Import and return the class of the settings."""
        module, _, name = (self.settings or "").partition(":")
        return getattr(importlib.import_module(f"bert_jax.settings.{module}"), name)

    def run(self, name: str, arguments: Sequence[str]) -> int:
        """Parse the arguments, run the verb, and return the exit code."""
        if self.settings is None:
            return importlib.import_module(self.module).main(arguments)
        from bert_jax.settings.command_line import parse

        config = parse(self.settings_class(), arguments, prog=f"bert-jax {name}")
        return importlib.import_module(self.module).main(config)


VERBS = {
    "demo": Verb(
        "train a small BERT on this machine in minutes and use it; writes demo/",
        "demo:DemoConfig",
        "bert_jax.verbs.demo",
    ),
    "prep": Verb(
        "turn text into a vocabulary and pre-training shards (prep vocab, report, shards, check)",
        None,
        "data_prep.command",
    ),
    "pretrain": Verb(
        "pre-train an encoder on shards; the same command resumes a stopped run",
        "pretrain:PretrainConfig",
        "bert_jax.verbs.pretrain",
    ),
    "plan": Verb(
        "compile the training step for TPUs or GPUs that are not here: memory, time, cost",
        "plan:PlanConfig",
        "bert_jax.verbs.plan",
    ),
    "finetune": Verb(
        "fine-tune an encoder on labelled rows (CSV, TSV, JSONL ...), GLUE, SQuAD or tagged words",
        "finetune:FinetuneConfig",
        "bert_jax.verbs.finetune",
    ),
    "evaluate": Verb(
        "score a fine-tuned model on labelled rows, or vectors on similarity and search",
        "evaluate:EvaluateConfig",
        "bert_jax.verbs.evaluate",
    ),
    "predict": Verb(
        "predict labels, entities or answers for a text or a file of rows",
        "predict:PredictConfig",
        "bert_jax.verbs.predict",
    ),
    "embed": Verb("turn a file of texts into an array of vectors", "embed:EmbedConfig", "bert_jax.verbs.embed"),
    "fill-mask": Verb(
        "show the most likely tokens at a [MASK]", "fill_mask:FillMaskConfig", "bert_jax.verbs.fill_mask"
    ),
    "convert": Verb(
        "convert a model from or to Hugging Face, TensorFlow 1, ONNX ..., and compare the outputs",
        "convert:ConvertConfig",
        "bert_jax.verbs.convert",
    ),
    "inspect": Verb(
        "describe a folder and list the verbs it works with", "inspect:InspectConfig", "bert_jax.verbs.inspect"
    ),
    "completion": Verb("print a script that completes verbs and flags in bash and zsh", None, "bert_jax.completion"),
}
UNREAD = 141  # the reader closed the pipe: the exit code of a program that SIGPIPE ends
INTERRUPTED_CODE = 130  # as after SIGINT


def usage() -> str:
    """Return the usage message."""
    lines = [f"  {name:10} {verb.about}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: bert-jax VERB ...        bert-jax VERB --help shows a complete example",
            "",
            *lines,
            "",
            "Start with `bert-jax demo`.",
            "Exit codes: 0 done, 1 error in the input, 2 wrong usage, 75 stopped and saved (run the command again).",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. Errors in the input are one line on standard error.

    Without `arguments`, use those of the process. Then this is the command itself, which may end the process.
    """
    escape_unencodable()
    honour_no_color()
    if arguments is not None:
        return run(list(arguments))
    process.is_command = True
    code = run(sys.argv[1:])
    if process.exits_at_once:  # nothing that is left is worth waiting for
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    return code


def run(arguments: list[str]) -> int:
    """Run one verb and return its exit code."""
    name = " ".join(["bert-jax", *[verb for verb in arguments[:1] if verb in VERBS]])
    try:
        return _run_verb(arguments)
    except UserError as error:
        announce(f"{name}: {clipped(one_line(error))}")
        return MISTAKE
    except BrokenPipeError:  # the reader of the output has closed the pipe, as `head` does: no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        hint = ". Make room and start the same command again" if error.errno == errno.ENOSPC else ""
        announce(f"{name}: {where}{os.strerror(error.errno)}{hint}")
        return MISTAKE
    except Stopped as stopped:
        announce(f"{name}: {stopped}")
        return STOPPED
    except KeyboardInterrupt:
        announce(f"{name}: interrupted")
        return INTERRUPTED_CODE


def _run_verb(arguments: list[str]) -> int:
    """Run one verb, or print the usage message or the version, and return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(usage())
        return DONE if arguments else USAGE
    verb, rest = arguments[0], arguments[1:]
    if verb == "--version":
        from bert_jax.version import __version__

        say(__version__)
        return DONE
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS, "")
        say(f"bert-jax: unknown verb {verb!r}{hint and f'; {hint}'}\n\n{usage()}", to_stderr=True)
        return USAGE
    return VERBS[verb].run(verb, rest)


if __name__ == "__main__":
    sys.exit(main())
