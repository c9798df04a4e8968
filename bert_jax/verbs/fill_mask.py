"""bert-jax fill-mask: show the most likely tokens at a mask."""

from bert_jax.inference.mask_filler import load_mask_filler
from bert_jax.settings.fill_mask import FillMaskConfig
from bert_jax.terminal import say


def main(config: FillMaskConfig) -> int:
    """Print the most likely tokens at the mask; return the exit code."""
    for filling in load_mask_filler(config.model, best=config.best).fill(config.text):
        say(f"{filling.probability:7.2%}  {filling.token:16}  {filling.text}")
    return 0
