"""The mark of tests that take long and guard what others guard in part. BERT_JAX_ALL_CHECKS=1 runs them."""

import os

import pytest

ALL_CHECKS = bool(os.environ.get("BERT_JAX_ALL_CHECKS"))
COSTLY = pytest.mark.skipif(not ALL_CHECKS, reason="costly; BERT_JAX_ALL_CHECKS=1 runs it")
