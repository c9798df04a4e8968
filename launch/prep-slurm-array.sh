#!/usr/bin/env bash
# A corpus to shards on 20 Slurm tasks of 8 cores: each makes its share, the one that ends last writes the manifest.
#
#   INPUT=/data/corpus TOKENIZER=/data/vocab OUTPUT=/data/shards sbatch launch/prep-slurm-array.sh
#
# All three lie on a file system that every node sees under the same name. Submitted again, the array goes on where it
# was: what is done takes seconds. For one task alone, run the last command with --part 7.
#SBATCH --job-name=bert-jax-prep
#SBATCH --array=0-19
#SBATCH --cpus-per-task=8
#SBATCH --mem=9G
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
set -euo pipefail
: "${INPUT:?a folder of .txt or .jsonl files}" "${TOKENIZER:?a tokenizer folder}" "${OUTPUT:?a folder for the shards}"

# A gigabyte for each worker. --parts is the number of tasks; which of them this is, Slurm says. srun passes SIGTERM on.
exec srun --ntasks=1 bert-jax prep shards \
  --input "$INPUT" --tokenizer "$TOKENIZER" --output "$OUTPUT" \
  --length 128 --parts "$SLURM_ARRAY_TASK_COUNT" --workers "$SLURM_CPUS_PER_TASK"
