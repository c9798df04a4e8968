"""Find the job of several processes that a launcher started this process in.

A job is named by flags, by the environment variables of JAX, or by a cluster that JAX recognises: Slurm, Open MPI, a
TPU pod, an indexed job of Kubernetes.
"""

import dataclasses
import os
import re
from collections.abc import Mapping

from jax._src import clusters  # JAX has no public way to ask for the job without joining it

from bert_jax.config import HostsConfig
from bert_jax.errors import UserError, first_line

COORDINATOR, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
DEVICES = "JAX_LOCAL_DEVICE_IDS"
SLURM_TASKS = "SLURM_STEP_NUM_TASKS"  # set by srun alone; SLURM_NTASKS is set in a batch script of one process, too


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job of several processes.

    coordinator    host:port, where the first process answers
    count, index   number of processes, and number of this process
    local_devices  indices of the visible GPUs that this process takes; None for all of them
    """

    coordinator: str
    count: int
    index: int
    local_devices: list[int] | None = None


def find_job(config: HostsConfig) -> Job | None:
    """Return the job of this process, or None where it is a job of one process.

    Flags take precedence over JAX's variables, which take precedence over the cluster. Raises UserError where a job is
    named in part, or its numbers do not fit.
    """
    coordinator = config.coordinator or os.environ.get(COORDINATOR)
    count = _number(config.count, COUNT)
    index = _number(config.index, INDEX)
    cluster = _find_cluster()
    if cluster is not None:
        try:
            coordinator = coordinator or cluster.get_coordinator_address(
                timeout_secs=config.timeout, override_coordinator_port=os.environ.get("JAX_COORDINATOR_PORT")
            )
            count = cluster.get_process_count() if count is None else count
            index = cluster.get_process_id() if index is None else index
        except (KeyError, ValueError, RuntimeError, OSError) as error:
            raise UserError(
                f"the job of several processes could not be read from {cluster.__name__}: {first_line(error)}. "
                "Give --hosts.coordinator, --hosts.count and --hosts.index"
            ) from None
    values = {
        f"--hosts.coordinator (or {COORDINATOR})": coordinator,
        f"--hosts.count (or {COUNT})": count,
        f"--hosts.index (or {INDEX})": index,
    }
    missing = [name for name, value in values.items() if value is None]
    if len(missing) == len(values) or count == 1:
        return None
    if missing:
        raise UserError(f"a job of several processes needs {' and '.join(missing)}, too")
    assert coordinator is not None and count is not None and index is not None
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UserError(f"coordinator {coordinator!r}: host:port is expected, for example node0:1234")
    if count < 1 or not 0 <= index < count:
        raise UserError(f"process {index} of {count}: the index must lie between 0 and the count minus 1")
    return Job(coordinator=coordinator, count=count, index=index, local_devices=_local_devices(os.environ))


def _number(flag: int | None, variable: str) -> int | None:
    text = os.environ.get(variable)
    if flag is not None or text is None:
        return flag
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{variable} is {text!r}, a number is expected") from None


def _find_cluster() -> type[clusters.ClusterEnv] | None:
    """Return the cluster that JAX recognises, if it started several processes."""
    if "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" not in os.environ:
        return None  # a pod that is not of an indexed job; JAX would ask the Kubernetes API
    for cluster in clusters.ClusterEnv._cluster_types:
        if cluster.opt_in_only_method or not cluster.is_env_present():
            continue
        is_slurm = cluster.name == "slurm"
        return None if is_slurm and int(os.environ.get(SLURM_TASKS, "1")) < 2 else cluster
    return None


def _local_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Return which of the visible GPUs this process takes, where several processes share a node.

    One process on a node takes all of them, as does a process that sees a single GPU. JAX itself gives each Slurm task
    one GPU, so that one task on a node of eight would leave seven idle.
    """
    if environment.get(DEVICES):
        return [int(device) for device in environment[DEVICES].split(",")]
    on_node = _processes_on_node(environment)
    local = environment.get("SLURM_LOCALID") or environment.get("OMPI_COMM_WORLD_LOCAL_RANK")
    if on_node < 2 or local is None:
        return None
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    count = on_node if visible is None else len(visible.split(","))
    share = count // on_node
    return list(range(int(local) * share, (int(local) + 1) * share)) if share else None


def _processes_on_node(environment: Mapping[str, str]) -> int:
    if size := environment.get("OMPI_COMM_WORLD_LOCAL_SIZE"):
        return int(size)
    counts = []  # of each node, from "2(x3),1"
    for part in filter(None, environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(",")):
        tasks, _, repeat = part.rstrip(")").partition("(x")
        counts += [int(tasks)] * int(repeat or 1)
    node = int(environment.get("SLURM_NODEID", "0"))
    return counts[node] if node < len(counts) else 1
