"""The one command: a table of verbs, each imported only when asked for."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence

from bert_jax.errors import Stopped, UserError
from bert_jax.terminal import clipped, escape_unencodable, one_line, say

VERBS = {
    "demo": ("bert_jax.verbs.demo", "text to a model that answers, on this machine, in minutes; writes demo/"),
    "prep": ("data_prep.command", "vocab, report, shards, check: turn text into masked pre-training shards"),
    "pretrain": ("bert_jax.verbs.pretrain", "train an encoder on shards; the same command resumes"),
    "finetune": ("bert_jax.verbs.finetune", "train a task from a checkpoint: GLUE, or your own CSV, TSV, JSONL"),
    "evaluate": ("bert_jax.verbs.evaluate", "score a fine-tuned run on labelled rows"),
    "predict": ("bert_jax.verbs.predict", "label a file of texts: JSONL with label and probabilities"),
    "embed": ("bert_jax.verbs.embed", "a file of texts to an array of vectors"),
    "fill-mask": ("bert_jax.verbs.fill_mask", "what a pre-trained model expects at a [MASK]"),
    "convert": ("bert_jax.verbs.convert", "to and from Hugging Face and TensorFlow 1, with proof of equal numbers"),
    "inspect": ("bert_jax.verbs.inspect", "what a folder is, and what can be done with it"),
}
DONE, MISTAKE, USAGE, STOPPED = 0, 1, 2, 75  # 75 is EX_TEMPFAIL: start it again
UNREAD = 141  # as of a program that SIGPIPE ends


def usage() -> str:
    lines = [f"  {verb:10} {text}" for verb, (_, text) in VERBS.items()]
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
    """Runs one verb and returns its exit code; a user's mistake is one line on standard error."""
    escape_unencodable()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(usage())
        return DONE if arguments else USAGE
    verb, rest = arguments[0], arguments[1:]
    if verb == "--version":
        from bert_jax import __version__

        say(__version__)
        return DONE
    if verb not in VERBS:
        import difflib

        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        say(f"bert-jax: unknown verb {verb!r}{hint}\n\n{usage()}", to_stderr=True)
        return USAGE
    try:
        return importlib.import_module(VERBS[verb][0]).main(rest)
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
