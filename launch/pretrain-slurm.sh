#!/usr/bin/env bash
# Pre-train on Slurm nodes with GPUs: one task a node, which uses all its GPUs. Edit the #SBATCH lines below, then:
#
#   sbatch launch/pretrain-slurm.sh bert-base.toml --data /data/shards --output /data/runs/base
#
# Both paths must be on a file system that every node mounts at the same place. Before the time limit, and when the job
# is preempted, Slurm sends SIGTERM to the tasks: they save and end with code 75, and the job is queued again. The same
# happens after the loss of a node. An error of the input (code 1 or 2) ends the job.
#
# One task a GPU works, too: --ntasks-per-node=8 and --cpus-per-task=8. Each task then takes one GPU of its node.
#SBATCH --job-name=bert-jax-pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

code=0
srun --kill-on-bad-exit=0 bert-jax pretrain "$@" || code=$?
# srun gives the largest exit code of the tasks; one that was killed by a signal counts as more than 128.
if [ "$code" -eq 75 ] || [ "$code" -gt 128 ]; then
  if [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ]; then
    exec scontrol requeue "$SLURM_JOB_ID"
  fi
  echo "restarted 100 times: not queued again. Submit the same command to go on" >&2
fi
exit "$code"
