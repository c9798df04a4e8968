"""Run a function over many tasks on a Dask cluster: an existing one, or one started by Slurm or Kubernetes."""

import contextlib
import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from bert_jax.errors import UserError
from bert_jax.version import __version__
from bert_jax.wording import counted
from data_prep.job.engines import ResultT, TaskT, run_task
from data_prep.job.task_cost import TaskCost, TaskReporter

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 15
JOIN_SECONDS = 60  # until the first worker of an existing cluster


def run_on_dask(
    function: Callable[[TaskT, TaskReporter], ResultT],
    tasks: Sequence[TaskT],
    *,
    cluster: str,
    workers: int | None,
    on_progress: Callable[[int, float], None],
    on_done: Callable[[int, ResultT, TaskCost], None],
    say: Callable[[str], None],
) -> None:
    """Run tasks on Dask workers (an `Engine`). All workers must see the same files under the same names.

    Relative paths are from the directory of this process. If a worker dies, Dask gives its task to another, up to four
    times.
    """
    distributed = _import("distributed", "dask", "pip install 'bert_jax[dask]'")
    remote = _RemoteFunction(function, str(Path.cwd()), versions())
    with _connect(distributed, cluster, workers, say) as client:
        futures = dict(zip(client.map(remote, tasks, pure=False, key="bert-jax-part"), range(len(tasks)), strict=True))
        lost: dict[int, str] = {}
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                index = futures[future]
                try:
                    kind, value = _result(future, distributed)
                except distributed.KilledWorker:
                    lost[index] = "its workers died, perhaps because memory ran out"
                    continue
                if kind == "user error":
                    raise UserError(value)
                on_done(index, *value)
                future.release()
        finally:
            client.cancel(list(futures), force=True)
    if lost:
        reasons = "; ".join(f"{tasks[index]}: {reason}" for index, reason in sorted(lost.items())[:3])
        raise UserError(
            f"{len(lost)} of {counted(len(tasks), 'part')} failed ({reasons}). Start the job again to retry them"
        )


def _listing(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def versions() -> dict[str, str]:
    """Return the versions that the bytes of a shard may depend on."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "bert_jax": __version__,
        "numpy": np.__version__,
    }


class _RemoteFunction(Generic[TaskT, ResultT]):
    """The function that Dask workers call. It runs in the job's directory, and returns a UserError as a value."""

    def __init__(
        self, function: Callable[[TaskT, TaskReporter], ResultT], directory: str, expected: dict[str, str]
    ) -> None:
        self.function = function
        self.directory = directory
        self.expected = expected

    def __call__(self, task: TaskT) -> tuple[str, Any]:
        report = TaskReporter()
        try:
            self._prepare_worker()
            result = run_task(self.function, task, report)
        except UserError as error:
            return "user error", str(error)
        return "done", (result, report.cost())

    def _prepare_worker(self) -> None:
        """Compare versions, and change to the job's directory."""
        host = platform.node()
        if (installed := versions()) != self.expected:
            raise UserError(
                f"the Dask worker on {host} has {_listing(installed)}, this job {_listing(self.expected)}. "
                "Install the same versions"
            )
        try:
            os.chdir(self.directory)
        except OSError:
            raise UserError(
                f"the Dask worker on {host} does not see {self.directory}. Input, tokenizer and output must be on a "
                "file system that all machines share"
            ) from None


def _result(future: "Future", distributed: Any) -> tuple[str, Any]:
    """Return the result of a task, with errors of the cluster as UserError."""
    try:
        return future.result()
    except ImportError as error:
        raise UserError(f"a Dask worker cannot run this: {error}. Install bert_jax where the workers run") from None
    except (distributed.client.FutureCancelledError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"the Dask cluster went away ({reason}). Start the job again: it goes on") from None


@contextlib.contextmanager
def _connect(distributed: Any, cluster: str, workers: int | None, say: Callable[[str], None]) -> Iterator["Client"]:
    """Yield a client of a cluster with at least one worker."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its tracebacks add nothing to our error messages
    if workers is not None and cluster not in CLUSTERS:
        raise UserError(f"--workers {workers}: the cluster at {cluster} has its own workers. Leave --workers out")
    with contextlib.ExitStack() as stack:
        address = cluster if cluster not in CLUSTERS else stack.enter_context(CLUSTERS[cluster](workers))
        try:
            client = stack.enter_context(distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False))
        except (OSError, TimeoutError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"--dask {cluster}: no Dask scheduler answers there ({reason})") from None
        if cluster in CLUSTERS:
            say(f"waiting for a first worker from {cluster}")
        try:
            client.wait_for_workers(1, timeout=None if cluster in CLUSTERS else JOIN_SECONDS)  # a queue may take long
        except TimeoutError:
            raise UserError(
                f"--dask {cluster}: no worker within {JOIN_SECONDS} s. Start workers, then this command again"
            ) from None
        threads = [worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
        say(f"Dask workers: {len(threads)}, dashboard {client.dashboard_link}")
        if max(threads) > 1:
            say("some workers have several threads, which a part cannot use: --nthreads 1 --nworkers CORES is faster")
        yield client


def _slurm(workers: int | None) -> Any:
    jobqueue = _import("dask_jobqueue", "dask-jobqueue", "pip install dask-jobqueue")
    # One process a Slurm job; partition, account, time and memory come from ~/.config/dask/jobqueue.yaml.
    return _start_cluster("slurm", workers, partial(jobqueue.SLURMCluster, cores=1, processes=1))


def _kubernetes(workers: int | None) -> Any:
    operator = _import("dask_kubernetes.operator", "dask-kubernetes", "pip install dask-kubernetes")
    # The image and the volumes come from ~/.config/dask/kubernetes.yaml, custom-cluster-spec.
    return _start_cluster("kubernetes", workers, operator.KubeCluster)


def _start_cluster(name: str, workers: int | None, make: Callable[[], Any]) -> Any:
    if workers is None:
        raise UserError(f"--dask {name} needs --workers, the number of workers to start")
    try:
        cluster = make()
        cluster.scale(workers)
    except Exception as error:  # any error of the libraries is about the cluster's settings
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"--dask {name}: the cluster cannot be started ({reason})") from None
    return cluster


CLUSTERS: dict[str, Callable[[int | None], Any]] = {"slurm": _slurm, "kubernetes": _kubernetes}


def _import(module: str, package: str, way_out: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"--dask needs {package}: {way_out}") from None
