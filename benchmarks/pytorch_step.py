"""The pre-training step of Hugging Face BERT in PyTorch, for accelerator.py: compiled, bfloat16, AdamW, the same sizes.

It computes the logits of the masked positions only, as bert_jax does. It clips no gradients and compares no norms.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers
from accelerator_cases import CUDNN, Case
from torch import nn

from bert_jax.errors import UserError
from bert_jax.model.presets import resolve

GB, MS = 1e9, 1e3


def measure_pytorch(case: Case) -> Iterator[dict[str, Any]]:
    """Yield the time of a step. On a CPU, where only a tiny one is worth it, it is not compiled."""
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not case.tiny:
        raise UserError("PyTorch sees no GPU")
    device = "cuda" if on_gpu else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    began = time.perf_counter()
    step, loss_of = training_step(case, device)
    losses = [float(step())]  # waits
    compiled = time.perf_counter() - began
    warm_up, laps, calls = (0, 1, 1) if case.tiny else (4, 5, 5)
    for _ in range(warm_up):
        step()
    times = []
    for _ in range(laps):
        wait(device)
        began = time.perf_counter()
        for _ in range(calls):
            loss = step()
        wait(device)
        times.append((time.perf_counter() - began) / calls)
    row = {"ms": round(MS * sorted(times)[laps // 2], 3), "spread": round(max(times) / min(times), 3)}
    row |= {
        "compile_seconds": round(compiled, 1),
        "first_loss": round(losses[0], 4),
        "last_loss": round(float(loss), 4),
    }
    row["bodies"] = loss_of
    if on_gpu:
        row["peak_GB"] = round(torch.cuda.max_memory_allocated() / GB, 2)
    yield row


def training_step(case: Case, device: str) -> tuple[Callable[[], torch.Tensor], str]:
    """Return a function that makes a step and returns its loss, and what computes it."""
    shape = case.sizes
    ours = resolve(shape.preset, shape.vocab_size)
    rows, length, predictions, width, vocabulary = (
        shape.rows,
        shape.length,
        shape.predictions,
        ours.width,
        ours.vocab_size,
    )
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        num_hidden_layers=ours.depth,
        hidden_size=width,
        num_attention_heads=ours.heads,
        intermediate_size=ours.mlp_width,
        attn_implementation="sdpa",
    )
    model = transformers.BertForPreTraining(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device == "cuda")
    tokens = torch.randint(0, vocabulary, (rows, length), device=device)
    positions = torch.stack([torch.randperm(length)[:predictions] for _ in range(rows)]).to(device)
    labels, is_next = tokens.gather(1, positions).view(-1), torch.randint(0, 2, (rows,), device=device)
    segments = torch.zeros(rows, length, dtype=torch.long, device=device)
    cross_entropy = nn.CrossEntropyLoss()

    def loss_of_batch() -> torch.Tensor:
        out = model.bert(input_ids=tokens, token_type_ids=segments)
        masked = out.last_hidden_state.gather(1, positions[..., None].expand(-1, -1, width))
        logits = model.cls.predictions(masked).float().view(-1, vocabulary)
        pairs = model.cls.seq_relationship(out.pooler_output).float()
        return cross_entropy(logits, labels) + cross_entropy(pairs, is_next)

    compute = torch.compile(loss_of_batch) if device == "cuda" else loss_of_batch

    def step() -> torch.Tensor:
        with torch.autocast(device, dtype=torch.bfloat16), attention_of(case, device):
            loss = compute()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, f"torch.compile, {case.body} SDPA" if device == "cuda" else "eager, default SDPA"


def attention_of(case: Case, device: str) -> Any:
    """Return a context in which PyTorch computes attention as the case says."""
    if case.body != CUDNN or device != "cuda":
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.CUDNN_ATTENTION)


def wait(device: str) -> None:
    """Wait until the device has computed everything."""
    if device == "cuda":
        torch.cuda.synchronize()
