#!/usr/bin/env bash
# Pre-train on a Cloud TPU pod slice: ask for it, start the same command on all its hosts, and begin again after a
# preemption. Runs on your own machine, with gcloud. Edit the four lines below, then:
#
#   bash launch/pretrain-tpu-pod.sh bert-base.toml --data /data/shards --output /data/runs/base
#
# The hosts need a file system that all of them mount at /data (Filestore, or a bucket with gcsfuse), and bert_jax:
# SETUP is what a new slice runs first. Exit code 75 is "stopped and saved"; a preempted slice is deleted and asked for
# again, and the run goes on from its newest checkpoint.
set -uo pipefail
NAME=${NAME:-bert-jax}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-16}
SETUP=${SETUP:-'sudo mkdir -p /data && sudo mount -o rw 10.0.0.2:/share /data; pip install -q "bert_jax[tpu]"'}

on_all_hosts() {
  gcloud compute tpus tpu-vm ssh "$NAME" --zone "$ZONE" --worker=all --command "$1"
}
state() {
  gcloud compute tpus queued-resources describe "$NAME" --zone "$ZONE" --format='value(state.state)' 2>/dev/null
}

command=$(printf '%q ' bert-jax pretrain "$@")
while :; do
  if [ "$(state)" != ACTIVE ]; then
    gcloud compute tpus queued-resources delete "$NAME" --zone "$ZONE" --force --quiet 2>/dev/null
    gcloud compute tpus queued-resources create "$NAME" --node-id "$NAME" --zone "$ZONE" --spot \
      --accelerator-type "$TYPE" --runtime-version v2-alpha-tpuv5-lite || exit
    until [ "$(state)" = ACTIVE ]; do sleep 30; done
    on_all_hosts "$SETUP" || exit
  fi
  on_all_hosts "$command"
  code=$?
  case $code in
    0) break ;;
    1 | 2) exit "$code" ;; # an error of the input would come again
  esac
  sleep 30 # 75, or the connection broke: the slice may be gone
done
echo "finished; delete the slice with: gcloud compute tpus queued-resources delete $NAME --zone $ZONE --force"
