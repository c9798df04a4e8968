"""Runs a function over many tasks on a Dask cluster: one that is there, or one that Slurm or Kubernetes starts."""

import contextlib
import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from bert_jax.errors import UserError
from bert_jax.version import __version__
from bert_jax.wording import counted
from data_prep.job.effort import Effort, Report
from data_prep.job.engines import attempt

if TYPE_CHECKING:
    from distributed import Client, Future

Task = TypeVar("Task")
Result = TypeVar("Result")

CONNECT_SECONDS = 15
JOIN_SECONDS = 60  # until the first worker is there


def run_on_dask(
    function: Callable[[Task, Report], Result],
    tasks: Sequence[Task],
    *,
    cluster: str,
    workers: int | None,
    on_progress: Callable[[int, float], None],
    on_done: Callable[[int, Result, Effort], None],
    say: Callable[[str], None],
) -> None:
    """An `Engine` of Dask workers that see the same files under the same names, relative ones from this directory.

    A worker that dies costs the task it had: Dask gives it to another, and gives up on a task that killed four.
    """
    distributed = _import("distributed", "dask", "pip install 'bert_jax[dask]'")
    there = _Remotely(function, str(Path.cwd()), versions())
    with _connect(distributed, cluster, workers, say) as client:
        futures = dict(zip(client.map(there, tasks, pure=False, key="bert-jax-part"), range(len(tasks)), strict=True))
        lost: dict[int, str] = {}
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                index = futures[future]
                try:
                    kind, value = _result(future, distributed)
                except distributed.KilledWorker:
                    lost[index] = "its workers died, perhaps for want of memory"
                    continue
                if kind == "user error":
                    raise UserError(value)
                on_done(index, *value)
                future.release()
        finally:
            client.cancel(list(futures), force=True)
    if lost:
        told = "; ".join(f"{tasks[index]}: {why}" for index, why in sorted(lost.items())[:3])
        raise UserError(
            f"{len(lost)} of {counted(len(tasks), 'part')} failed ({told}). Start the job again for these alone"
        )


def _told(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def versions() -> dict[str, str]:
    """What the bytes of a shard may depend on beside the job."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "bert_jax": __version__,
        "numpy": np.__version__,
    }


class _Remotely(Generic[Task, Result]):
    """The function as a worker runs it: where this process is, with the same libraries, a UserError as a value."""

    def __init__(self, function: Callable[[Task, Report], Result], directory: str, expected: dict[str, str]) -> None:
        self.function = function
        self.directory = directory
        self.expected = expected

    def __call__(self, task: Task) -> tuple[str, Any]:
        report = Report()
        try:
            self._settle()
            result = attempt(self.function, task, report)
        except UserError as error:
            return "user error", str(error)
        return "done", (result, report.effort())

    def _settle(self) -> None:
        here = platform.node()
        if (mine := versions()) != self.expected:
            raise UserError(
                f"the Dask worker on {here} has {_told(mine)}, this job {_told(self.expected)}. Make them one"
            )
        try:
            os.chdir(self.directory)
        except OSError:
            raise UserError(
                f"the Dask worker on {here} does not see {self.directory}. Input, tokenizer and output must lie on a "
                "file system that all machines share"
            ) from None


def _result(future: "Future", distributed: Any) -> tuple[str, Any]:
    try:
        return future.result()
    except ImportError as error:
        raise UserError(f"a Dask worker cannot run this: {error}. Install bert_jax where the workers run") from None
    except (distributed.client.FutureCancelledError, OSError) as error:
        said = getattr(error, "reason", None) or error
        raise UserError(f"the Dask cluster went away ({said}). Start the job again: it goes on") from None


@contextlib.contextmanager
def _connect(distributed: Any, cluster: str, workers: int | None, say: Callable[[str], None]) -> Iterator["Client"]:
    """A client with at least one worker."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its tracebacks tell no more than our one line
    if workers is not None and cluster not in CLUSTERS:
        raise UserError(f"--workers {workers}: the cluster at {cluster} has its own. Leave --workers out")
    with contextlib.ExitStack() as stack:
        address = cluster if cluster not in CLUSTERS else stack.enter_context(CLUSTERS[cluster](workers))
        try:
            client = stack.enter_context(distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False))
        except (OSError, TimeoutError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise UserError(f"--dask {cluster}: no Dask scheduler answers there ({said})") from None
        if cluster in CLUSTERS:
            say(f"waiting for a first worker from {cluster}")
        try:
            client.wait_for_workers(1, timeout=None if cluster in CLUSTERS else JOIN_SECONDS)  # queues have their time
        except TimeoutError:
            raise UserError(
                f"--dask {cluster}: no worker within {JOIN_SECONDS} s. Start some, then this again"
            ) from None
        threads = [worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
        say(f"Dask workers: {len(threads)}, dashboard {client.dashboard_link}")
        if max(threads) > 1:
            say("some have several threads, which a part cannot use: --nthreads 1 --nworkers CORES is faster")
        yield client


def _slurm(workers: int | None) -> Any:
    jobqueue = _import("dask_jobqueue", "dask-jobqueue", "pip install dask-jobqueue")
    # One process a Slurm job; partition, account, time and memory come from ~/.config/dask/jobqueue.yaml.
    return _started("slurm", workers, partial(jobqueue.SLURMCluster, cores=1, processes=1))


def _kubernetes(workers: int | None) -> Any:
    operator = _import("dask_kubernetes.operator", "dask-kubernetes", "pip install dask-kubernetes")
    # The image and the volumes come from ~/.config/dask/kubernetes.yaml, custom-cluster-spec.
    return _started("kubernetes", workers, operator.KubeCluster)


def _started(name: str, workers: int | None, make: Callable[[], Any]) -> Any:
    if workers is None:
        raise UserError(f"--dask {name} needs --workers: how many it shall start")
    try:
        cluster = make()
        cluster.scale(workers)
    except Exception as error:  # of any library below: it is the cluster's settings, told in one line
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"--dask {name}: the cluster cannot be started ({said})") from None
    return cluster


CLUSTERS: dict[str, Callable[[int | None], Any]] = {"slurm": _slurm, "kubernetes": _kubernetes}


def _import(module: str, package: str, way_out: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"--dask needs {package}: {way_out}") from None
