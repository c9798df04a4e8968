"""The vectors of texts in ONNX operators, a second implementation of model/vectors.py."""

from bert_jax.convert.export.onnx_builder import GraphBuilder
from bert_jax.model.vectors import VectorConfig


class PoolingGraph:
    """Poolings of hidden states (batch, length, width) in a graph. Each method returns a value (batch, width)."""

    def __init__(self, g: GraphBuilder, hidden: str) -> None:
        self.g, self.hidden = g, hidden
        self.present = g.cast(g.cast("attention_mask", "BOOL"), "FLOAT")  # B L

    def cls(self) -> str:
        return self._hidden_at(self.g.op("ArgMax", self.present, axis=1, keepdims=1))

    def lasttoken(self) -> str:
        return self._hidden_at(self.g.op("ArgMax", self.present, axis=1, keepdims=1, select_last_index=1))

    def max(self) -> str:
        mask = self.g.op("Unsqueeze", self.g.cast("attention_mask", "BOOL"), self.g.ints(2))  # B L 1
        masked = self.g.op("Where", mask, self.hidden, self.g.number(float("-inf")))
        return self.g.op("ReduceMax", masked, axes=[1], keepdims=0)

    def mean(self) -> str:
        total, weight = self._sums(self.present)
        return self.g.op("Div", total, weight)

    def mean_sqrt_len_tokens(self) -> str:
        total, weight = self._sums(self.present)
        return self.g.op("Div", total, self.g.op("Sqrt", weight))

    def weightedmean(self) -> str:
        end = self.g.op("Add", self.g.op("Shape", "attention_mask", start=1, end=2), self.g.ints(1))
        positions = self.g.op("Range", self.g.number(1), self.g.op("Squeeze", end), self.g.number(1))
        total, weight = self._sums(self.g.op("Mul", self.present, self.g.cast(positions, "FLOAT")))
        return self.g.op("Div", total, weight)

    def _hidden_at(self, position: str) -> str:
        """Return the hidden state at one position of each row: B 1 to B D."""
        return self.g.op("GatherND", self.hidden, position, batch_dims=1)

    def _sums(self, weight: str) -> tuple[str, str]:
        """Return the weighted sum over the tokens and the sum of the weights, at least 1: B D and B 1."""
        column = self.g.op("Unsqueeze", weight, self.g.ints(2))  # B L 1
        total = self.g.op("ReduceSum", self.g.op("Mul", self.hidden, column), self.g.ints(1), keepdims=0)
        count = self.g.op("ReduceSum", column, self.g.ints(1), keepdims=0)
        return total, self.g.op("Max", count, self.g.number(1.0))


def add_vectors(g: GraphBuilder, vectors: VectorConfig, hidden: str) -> str:
    """Add the vectors of texts to the graph and return their value (batch, entries)."""
    pooler = PoolingGraph(g, hidden)
    value = g.op("Concat", *(getattr(pooler, name)() for name in vectors.pooling), axis=-1)
    if vectors.normalize:
        length = g.op("ReduceL2", value, axes=[1], keepdims=1)
        value = g.op("Div", value, g.op("Max", length, g.number(1e-12)))
    return value if vectors.width is None else g.slice(value, 0, vectors.width, 1)
