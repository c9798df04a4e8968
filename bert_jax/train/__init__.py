"""Task protocol, optimizer, step, loop, checkpoints, metrics. The loop knows no task."""
