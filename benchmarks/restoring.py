"""Restore the newest checkpoint of one run after the other in processes that have joined once.

    python benchmarks/restoring.py FLAGS     the flags of `bert-jax pretrain`, with a run that exists as --output

damage.py starts one for each process of a job, because starting the command takes most of the time of a try. It reads a
run folder a line from standard input, and restores its newest sound checkpoint as the training loop does when a run is
resumed: the first process checks the seals, sets damaged checkpoints aside and decides on the step, then all read their
arrays. Answers with the step and the sha256 of parameters and optimizer state, or the error.
"""

import dataclasses
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from process_job import END_SECONDS, Job


class RestoringProcesses:
    """The processes of a job that restore one run after the other."""

    def __init__(self, job: Job, run: Path) -> None:
        self.job, self.run = job, run
        self.processes: list[subprocess.Popen] = []

    def restore(self, run: Path) -> list[str | None]:
        """Return what each process says of the restored state; None where there is no answer in time."""
        if not self.processes:
            program, pipe = (str(Path(__file__).resolve()),), subprocess.PIPE
            self.processes = self.job.start(self.run, program=program, stdin=pipe, stdout=pipe)
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{run}\n")
            process.stdin.flush()
        end = time.monotonic() + END_SECONDS
        answers = [_answer(process, end) for process in self.processes]
        if any(answer is None or "Error" in answer for answer in answers):
            self.close()
        return answers

    def close(self) -> None:
        """End the processes; the next call starts new ones."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []


def _answer(process: subprocess.Popen, end: float) -> str | None:
    """Return the line that a process answers with, or None where it ends or `end` comes before."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
    return (process.stdout.readline().strip() or None) if readable else None


def main() -> None:
    import jax

    from bert_jax import hosts
    from bert_jax.process_setup import set_up_process
    from bert_jax.settings.command_line import parse
    from bert_jax.settings.pretrain import PretrainConfig
    from bert_jax.sharding import make_mesh
    from bert_jax.train.checkpoint import Checkpoints, parameter_hash
    from bert_jax.train.optimizer import with_defaults
    from bert_jax.train.run import RunFolder, open_run
    from bert_jax.verbs.pretraining_data import PretrainingData
    from bert_jax.verbs.pretraining_program import pretraining_program

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed goes to the log
    config = parse(PretrainConfig, sys.argv[1:], prog="restoring.py")
    config = dataclasses.replace(config, optim=with_defaults(config.optim))
    hosts.join(config.hosts)
    set_up_process(cpu_threads=config.threads)
    data = PretrainingData(config)
    program = pretraining_program(config, open_run(config.output).model(), make_mesh(config.mesh), data.pair_loss)
    for line in sys.stdin:
        run = RunFolder(Path(line.strip()))
        try:
            checkpoints = Checkpoints(run.checkpoints, owner=run.owner())
            state = checkpoints.restore_newest(program.state)
            checkpoints.close()
            assert state is not None
            leaves = {str(number): leaf for number, leaf in enumerate(jax.tree.leaves(state.opt_state))}
            answer = f"{int(state.step)} {parameter_hash({'params': state.params, 'opt_state': leaves})}"
        except Exception as error:
            answer = " ".join(f"{type(error).__name__}Error: {error}".split())
        answers.write(f"{answer}\n")
        answers.flush()


if __name__ == "__main__":
    main()
