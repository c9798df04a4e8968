"""Fine-tuning gives the losses and gradient norms of a plain loop of transformers and torch, step by step."""

import numpy as np
import pytest
from foreign import write_tiny_bert

from bert_jax.config import MeshConfig
from bert_jax.data.batches import Batches
from bert_jax.finetuning.single_run import learning_rate_of, read_inputs
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.tasks.initial_state import start_from

torch = pytest.importorskip("torch", reason="fine-tuning is compared with a loop of torch")
transformers = pytest.importorskip("transformers", reason="fine-tuning is compared with transformers' models")

ROWS, BATCH, EPOCHS, RATE = 41, 5, 6, 1e-2


def their_model(folder, head):
    """Return the checkpoint in transformers with this head, without dropout."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor(np.asarray(head["kernel"]).T.copy()))
        model.classifier.bias.copy_(torch.tensor(np.asarray(head["bias"])))
    return model.train()


def their_inputs(batch):
    """Return the rows of a batch as tensors, without those that only fill it up."""
    real = batch["weight"] > 0
    position, length, second = np.arange(batch["tokens"].shape[1]), batch["length"][real], batch["segment_b"][real]
    mask = position < length[:, None]
    return {
        "input_ids": torch.tensor(batch["tokens"][real], dtype=torch.long),
        "attention_mask": torch.tensor(mask, dtype=torch.long),
        "token_type_ids": torch.tensor((position >= second[:, None]) & mask, dtype=torch.long),
        "labels": torch.tensor(batch["label"][real], dtype=torch.long),
    }


def test_losses_and_gradient_norms_equal_those_of_a_plain_loop(tmp_path):
    rng = np.random.default_rng(3)
    lines = [
        f"{' '.join(f'word{i + 15 * half}' for i in rng.integers(0, 15, size))},{('no', 'yes')[half]}"
        for size, half in zip(rng.integers(1, 14, ROWS), rng.integers(0, 2, ROWS), strict=True)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    write_tiny_bert(tmp_path / "hf", "encoder")
    config = FinetuneConfig(
        tmp_path / "hf",
        tmp_path / "rows.csv",
        tmp_path / "run",
        dev_share=0.2,
        learning_rate=RATE,
        dropout=0.0,
        max_length=17,
        mesh=MeshConfig(data=1),
    )
    prepared = read_inputs(config)
    batches = Batches(prepared.task.train.encoded, BATCH, seed=1)
    steps = EPOCHS * batches.steps_per_epoch
    assert len(prepared.task.train.encoded) % BATCH  # the last batch of an epoch is filled up
    program, learning_rate = prepared.program, learning_rate_of(config, RATE, steps)
    state = start_from(program, prepared.pretrained, ("encoder",), seed=1)

    model = their_model(tmp_path / "hf", state.params["classifier"])
    decayed = [[p for p in model.parameters() if (p.ndim > 1) == matrix] for matrix in (True, False)]
    groups = [{"params": decayed[0], "weight_decay": 0.01}, {"params": decayed[1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-6)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)

    ours, theirs = [], []
    for step in range(steps):
        batch = batches.batch(step)
        state, means = program.step(state, program.place(batch), seed=1, learning_rate=learning_rate.at(step))
        ours.append([float(means["loss"]), float(means["gradient_norm"])])
        loss = model(**their_inputs(batch)).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        theirs.append([loss.item(), norm.item()])
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-4)
    losses = np.array(ours)[:, 0].reshape(EPOCHS, -1).mean(axis=1)
    assert losses[-1] < 0.8 * losses[0]  # so that the updates are compared, too
