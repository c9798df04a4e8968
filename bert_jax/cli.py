"""The one command: a table of verbs, each imported only when its command line has been read."""

import dataclasses
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from bert_jax import process
from bert_jax.errors import Stopped, UserError
from bert_jax.terminal import clipped, escape_unencodable, honour_no_color, one_line, say


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb by names, so that nothing is imported for those that are not asked for.

    about     its line in the usage
    settings  the class of what its flags say, in bert_jax.settings; None where the module reads its own command line
    module    whose `main` takes the settings: imported when they are read, because it brings JAX
    """

    about: str
    settings: str | None
    module: str

    def settings_class(self) -> Any:
        """Return the class of the settings, which is imported."""
        module, _, name = (self.settings or "").partition(":")
        return getattr(importlib.import_module(f"bert_jax.settings.{module}"), name)

    def run(self, name: str, arguments: Sequence[str]) -> int:
        """Read the command line and do what it says; return the exit code."""
        if self.settings is None:
            return importlib.import_module(self.module).main(arguments)
        from bert_jax.settings.command_line import parse

        config = parse(self.settings_class(), arguments, prog=f"bert-jax {name}")
        return importlib.import_module(self.module).main(config)


VERBS = {
    "demo": Verb(
        "text to a model that answers, on this machine, in minutes; writes demo/",
        "demo:DemoConfig",
        "bert_jax.verbs.demo",
    ),
    "prep": Verb("vocab, report, shards, check: turn text into masked pre-training shards", None, "data_prep.command"),
    "pretrain": Verb(
        "train an encoder on shards; the same command resumes", "pretrain:PretrainConfig", "bert_jax.verbs.pretrain"
    ),
    "finetune": Verb(
        "train a task from a checkpoint: GLUE, or your own CSV, TSV, JSONL",
        "finetune:FinetuneConfig",
        "bert_jax.verbs.finetune",
    ),
    "evaluate": Verb("score a fine-tuned run on labelled rows", "evaluate:EvaluateConfig", "bert_jax.verbs.evaluate"),
    "predict": Verb(
        "answer a text, or a file of rows: labels, entities, answers, as CSV, JSONL or Parquet",
        "predict:PredictConfig",
        "bert_jax.verbs.predict",
    ),
    "embed": Verb("a file of texts to an array of vectors", "embed:EmbedConfig", "bert_jax.verbs.embed"),
    "fill-mask": Verb(
        "what a pre-trained model expects at a [MASK]", "fill_mask:FillMaskConfig", "bert_jax.verbs.fill_mask"
    ),
    "convert": Verb(
        "to and from Hugging Face and TensorFlow 1, with proof of equal numbers",
        "convert:ConvertConfig",
        "bert_jax.verbs.convert",
    ),
    "inspect": Verb(
        "what a folder is, and what can be done with it", "inspect:InspectConfig", "bert_jax.verbs.inspect"
    ),
    "completion": Verb("a script that has bash and zsh complete verbs and flags", None, "bert_jax.completion"),
}
DONE, MISTAKE, USAGE, STOPPED = 0, 1, 2, 75  # 75 is EX_TEMPFAIL: start it again
UNREAD = 141  # as of a program that SIGPIPE ends


def usage() -> str:
    lines = [f"  {name:10} {verb.about}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: bert-jax VERB ...        bert-jax VERB --help shows a complete example",
            "",
            *lines,
            "",
            "Start with `bert-jax demo`.",
            "Exit codes: 0 done, 1 your input, 2 usage, 75 stopped and saved (start it again).",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; a user's mistake is one line on standard error.

    Without `arguments` they are those of the process, which is a command then, and ours to end.
    """
    escape_unencodable()
    honour_no_color()
    if arguments is not None:
        return run(list(arguments))
    process.is_command = True
    code = run(sys.argv[1:])
    if process.is_left_computing:  # a step of a run that was saved and stopped; nobody waits for it
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    return code


def run(arguments: list[str]) -> int:
    """Run one verb and return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(usage())
        return DONE if arguments else USAGE
    verb, rest = arguments[0], arguments[1:]
    if verb == "--version":
        from bert_jax.version import __version__

        say(__version__)
        return DONE
    if verb not in VERBS:
        import difflib

        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        say(f"bert-jax: unknown verb {verb!r}{hint}\n\n{usage()}", to_stderr=True)
        return USAGE
    try:
        return VERBS[verb].run(verb, rest)
    except UserError as error:
        say(f"bert-jax {verb}: {clipped(one_line(error))}", to_stderr=True)
        return MISTAKE
    except BrokenPipeError:  # whoever read the output has enough: no mistake, and nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        hint = ". Make room and start the same command again" if error.errno == errno.ENOSPC else ""
        say(f"bert-jax {verb}: {where}{os.strerror(error.errno)}{hint}", to_stderr=True)
        return MISTAKE
    except Stopped as stopped:
        say(f"bert-jax {verb}: {stopped}", to_stderr=True)
        return STOPPED
    except KeyboardInterrupt:
        say(f"bert-jax {verb}: interrupted", to_stderr=True)
        return 130


if __name__ == "__main__":
    sys.exit(main())
