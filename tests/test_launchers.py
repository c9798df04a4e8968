"""Jobs of several processes: by flags, by JAX's variables, and by the variables that launchers set."""

import os

import pytest

from bert_jax.config import HostsConfig
from bert_jax.errors import UserError
from bert_jax.launchers import Job, find_job

LAUNCHERS = ("SLURM_", "JAX_COORDINATOR", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_LOCAL", "OMPI_", "CUDA_VISIBLE")
SRUN = {
    "SLURM_JOB_ID": "4096",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}


@pytest.fixture
def launched(monkeypatch):
    """Return a function that sets the variables of a launcher, and no others, and finds the job."""

    def find(variables: dict[str, str], config: HostsConfig = HostsConfig()) -> Job | None:
        for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return find_job(config)

    return find


def test_a_process_without_a_launcher_is_alone(launched):
    assert launched({}) is None
    assert launched({}, HostsConfig(count=1)) is None


def test_flags_name_a_job(launched):
    job = launched({}, HostsConfig(coordinator="node0:1234", count=4, index=3))
    assert job == Job(coordinator="node0:1234", count=4, index=3)


def test_jax_variables_name_a_job_and_flags_take_precedence(launched):
    variables = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    assert launched(variables) == Job(coordinator="a:1", count=2, index=1)
    assert launched(variables, HostsConfig(index=0)) == Job(coordinator="a:1", count=2, index=0)


@pytest.mark.parametrize(
    ("variables", "config", "message"),
    [
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, HostsConfig(), "--hosts.count (or JAX_NUM_PROCESSES) and --hosts.index"),
        ({"JAX_NUM_PROCESSES": "two"}, HostsConfig(), "JAX_NUM_PROCESSES is 'two', a number"),
        ({}, HostsConfig(coordinator="a", count=2, index=0), "coordinator 'a': host:port"),
        ({}, HostsConfig(coordinator="a:1", count=2, index=2), "process 2 of 2: the index must lie"),
    ],
)
def test_a_job_named_in_part_is_refused(launched, variables, config, message):
    with pytest.raises(UserError) as error:
        launched(variables, config)
    assert message in str(error.value)


def test_srun_names_a_job(launched):
    job = launched(SRUN)
    assert job is not None
    assert (job.count, job.index, job.coordinator.split(":")[0]) == (2, 1, "node07")


def test_one_slurm_task_on_a_node_takes_all_its_gpus(launched):
    """JAX would give it one of them."""
    assert launched(SRUN).local_devices is None


def test_slurm_tasks_on_a_node_share_its_gpus(launched):
    shared = {**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODEID": "0", "SLURM_LOCALID": "1"}
    assert launched(shared).local_devices == [1]
    assert launched({**shared, "CUDA_VISIBLE_DEVICES": "0,1,2,3"}).local_devices == [2, 3]
    assert launched({**shared, "CUDA_VISIBLE_DEVICES": "1"}).local_devices is None  # one each, by --gpus-per-task
    assert launched({**shared, "JAX_LOCAL_DEVICE_IDS": "0,3"}).local_devices == [0, 3]


def test_a_batch_script_of_slurm_is_alone(launched):
    """Only srun starts several processes; a script of a job of two tasks runs once."""
    script = {name: value for name, value in SRUN.items() if name != "SLURM_STEP_NUM_TASKS"}
    assert launched(script) is None


def test_open_mpi_names_a_job(launched):
    variables = {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "4",
        "OMPI_COMM_WORLD_RANK": "2",
        "OMPI_COMM_WORLD_LOCAL_RANK": "0",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    }
    job = launched({**variables, "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"})
    assert (job.count, job.index, job.local_devices) == (4, 2, [0, 1, 2, 3])
    assert job.coordinator.startswith("10.96.0.1:")


def test_a_cluster_that_cannot_be_read_is_one_line(launched):
    broken = {**SRUN, "SLURM_PROCID": "first"}
    with pytest.raises(UserError, match=r"could not be read from SlurmCluster: .*Give --hosts.coordinator"):
        launched(broken)
