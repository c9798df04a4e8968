"""`bert_jax.evaluate`: scores with confidence intervals."""

from collections.abc import Mapping
from typing import Any

from bert_jax.api.keywords import ApiFunction
from bert_jax.api.results import MappingResult
from bert_jax.settings.evaluate import EvaluateConfig
from bert_jax.wording import counted


class EvaluateResult(MappingResult):
    """The content of `evaluate --json` as a mapping: scores by metric, `rows` (the number of scored rows), and more."""

    def __init__(self, scored: str, numbers: Mapping[str, Any]) -> None:
        super().__init__(numbers)
        self.scored = scored

    @property
    def scores(self) -> dict[str, float]:
        """Scores by metric."""
        return {name: value for name, value in self._values.items() if isinstance(value, float)}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % confidence intervals by metric, of the metrics that have one."""
        return {name: (low, high) for name, (low, high) in self._values["intervals"].items()}

    def title(self) -> str:
        unit = "query" if "queries" in self._values else "row"
        return f"{self.scored}: {counted(self._values['queries' if unit == 'query' else 'rows'], unit)}"

    def table(self) -> list[dict[str, Any]]:
        """Return one row per metric: its value, its 95 % interval, and the score of a constant answer."""
        from bert_jax.finetuning.reviews.review import heading_of

        rows, baseline = [], self._values.get("baseline") or {}
        for name, value in self.scores.items():
            low, high = self.intervals.get(name, (None, None))
            metric = heading_of(name, self._values.get("positive_class"))
            row = {"metric": metric, "value": value, "95 % from": low, "to": high}
            rows.append({**row, "constant": baseline.get(name)} if baseline else row)
        return rows


@ApiFunction(EvaluateConfig, "evaluate", rows="data")
def evaluate(config: EvaluateConfig) -> EvaluateResult:
    """Score a fine-tuned model on labelled rows.

    bert_jax.evaluate(model="runs/tickets", data="tickets-june.csv")
    bert_jax.evaluate(model="runs/tickets", texts=texts, labels=labels)

    The rows are passed as to `finetune`.
    """
    from bert_jax.finetuning.report.write import write_json
    from bert_jax.verbs.evaluate import evaluate as score_model

    numbers = score_model(config)
    if config.json:
        write_json(config.json, numbers)
    return EvaluateResult(str(config.model or config.predictions), numbers)
