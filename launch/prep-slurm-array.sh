#!/usr/bin/env bash
# Make shards of a corpus with 20 Slurm tasks of 8 cores. Each makes a share; the last to finish writes the manifest.
#
#   INPUT=/data/corpus TOKENIZER=/data/vocab OUTPUT=/data/shards sbatch launch/prep-slurm-array.sh
#
# All three paths must be on a file system that every node mounts at the same place. Submitting the array again resumes
# it. To run one share only, add --part 7 to the last command.
#SBATCH --job-name=bert-jax-prep
#SBATCH --array=0-19
#SBATCH --cpus-per-task=8
#SBATCH --mem=9G
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
set -euo pipefail
: "${INPUT:?a folder of .txt or .jsonl files}" "${TOKENIZER:?a tokenizer folder}" "${OUTPUT:?a folder for the shards}"

# --mem is 1 GB for each worker. --parts is the number of tasks; Slurm's environment gives --part. srun passes SIGTERM on.
exec srun --ntasks=1 bert-jax prep shards \
  --input "$INPUT" --tokenizer "$TOKENIZER" --output "$OUTPUT" \
  --length 128 --parts "$SLURM_ARRAY_TASK_COUNT" --workers "$SLURM_CPUS_PER_TASK"
