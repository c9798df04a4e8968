"""A small builder of ONNX graphs with the layers of the encoder. Each weight is stored once."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_jax.errors import UserError
from bert_jax.trees import Flat, Shape

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

OPSET = 17  # the first with LayerNormalization; runtimes from 2022 on read it
IR_VERSION = 8  # released with opset 17
Dims = tuple[int | str, ...]


def onnx_package() -> Any:
    """Import and return the onnx package. Raises UserError where it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise UserError("onnx is not installed: pip install 'bert_jax[onnx]'") from None
    return onnx


class GraphBuilder:
    """An ONNX graph under construction. Values are referred to by name, weights by their path in `params`."""

    def __init__(self, params: Flat) -> None:
        self._onnx = onnx_package()
        self._params = params
        self._nodes: list[NodeProto] = []
        self._weights: dict[str, TensorProto] = {}
        self._constants: dict[tuple[str, Shape, bytes], str] = {}
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []

    def input(self, name: str, shape: Dims) -> str:
        """Add an int64 input to the graph and return its name."""
        kind = self._onnx.TensorProto.INT64
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, value: str, shape: Dims) -> None:
        """Make `value`, float32, an output of the graph called `name`."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=f"output/{name}"))
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with an operator of the standard set and return the name of its output."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def has(self, path: str) -> bool:
        return path in self._params

    def weight(self, path: str, rows: int | None = None) -> str:
        """Store the parameter at `path`, or its first rows, on the first call, and return its name."""
        if path not in self._weights:
            array = np.ascontiguousarray(self._params[path][:rows], np.float32)
            self._weights[path] = self._onnx.numpy_helper.from_array(array, path)
        return path

    def number(self, value: float) -> str:
        """Return the name of a scalar constant: int64 for an int, float32 for a float."""
        return self.constant(np.array(value, np.int64 if isinstance(value, int) else np.float32))

    def ints(self, *values: int) -> str:
        """Return the name of an int64 vector, the form of shapes and axes."""
        return self.constant(np.array(values, np.int64))

    def constant(self, value: np.ndarray) -> str:
        """Return the name of a constant. Equal constants are stored once."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._weights[name] = self._onnx.numpy_helper.from_array(value, name)
            self._constants[key] = name
        return self._constants[key]

    def model(self, name: str, metadata: dict[str, str]) -> "ModelProto":
        """Return the finished model with a graph of this name and these metadata properties."""
        helper = self._onnx.helper
        weights = list(self._weights.values())
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, weights)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="bert_jax")
        helper.set_model_props(model, metadata)
        return model

    def dense(self, x: str, path: str) -> str:
        """Apply the dense layer at `path`, with a bias where the parameters have one."""
        x = self.op("MatMul", x, self.weight(f"{path}/kernel"))
        return self.op("Add", x, self.weight(f"{path}/bias")) if self.has(f"{path}/bias") else x

    def norm(self, x: str, path: str, epsilon: float) -> str:
        """Apply the LayerNorm at `path` over the last axis."""
        bias = [self.weight(f"{path}/bias")] if self.has(f"{path}/bias") else []
        return self.op("LayerNormalization", x, self.weight(f"{path}/scale"), *bias, axis=-1, epsilon=epsilon)

    def cast(self, x: str, kind: str) -> str:
        """Cast x to another type of TensorProto, such as FLOAT or BOOL."""
        return self.op("Cast", x, to=getattr(self._onnx.TensorProto, kind))

    def slice(self, x: str, start: int, end: int, axis: int) -> str:
        return self.op("Slice", x, self.ints(start), self.ints(end), self.ints(axis))


def onnx_gelu(g: GraphBuilder, x: str) -> str:
    """Apply GELU by erf, in the order of nodes that runtimes recognise and fuse."""
    erf = g.op("Erf", g.op("Div", x, g.number(math.sqrt(2.0))))
    return g.op("Mul", g.op("Mul", x, g.op("Add", erf, g.number(1.0))), g.number(0.5))


def onnx_gelu_tanh(g: GraphBuilder, x: str) -> str:
    """Apply GELU by its tanh approximation."""
    cube = g.op("Mul", g.op("Mul", x, x), x)
    inner = g.op("Add", x, g.op("Mul", cube, g.number(0.044715)))
    tanh = g.op("Tanh", g.op("Mul", inner, g.number(math.sqrt(2.0 / math.pi))))
    return g.op("Mul", g.op("Mul", x, g.op("Add", tanh, g.number(1.0))), g.number(0.5))


def onnx_silu(g: GraphBuilder, x: str) -> str:
    return g.op("Mul", x, g.op("Sigmoid", x))


ONNX_ACTIVATIONS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "gelu": onnx_gelu,
    "gelu_tanh": onnx_gelu_tanh,
    "relu": lambda g, x: g.op("Relu", x),
    "silu": onnx_silu,
    "tanh": lambda g, x: g.op("Tanh", x),
}
