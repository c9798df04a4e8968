"""A small builder of ONNX graphs: nodes one after the other, each weight stored once, and the layers of the encoder."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_jax.errors import UserError
from bert_jax.trees import Flat, Shape

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

OPSET = 17  # the first with LayerNormalization, so that runtimes from 2022 on read the file
IR_VERSION = 8  # what came with it
Dims = tuple[int | str, ...]


def onnx_package() -> Any:
    """The onnx package, imported only now. Raises UserError where it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise UserError("onnx is not installed: pip install 'bert_jax[onnx]'") from None
    return onnx


class GraphBuilder:
    """A graph under construction. Values are known by their names; a weight by its path in `params`."""

    def __init__(self, params: Flat) -> None:
        self._onnx = onnx_package()
        self._params = params
        self._nodes: list[NodeProto] = []
        self._weights: dict[str, TensorProto] = {}
        self._constants: dict[tuple[str, Shape, bytes], str] = {}
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []

    def input(self, name: str, shape: Dims) -> str:
        """A whole number input of the graph."""
        kind = self._onnx.TensorProto.INT64
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, value: str, shape: Dims) -> None:
        """The graph gives `value`, float32, under this name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=f"output/{name}"))
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """What an operator of the standard set makes of the inputs."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def has(self, path: str) -> bool:
        return path in self._params

    def weight(self, path: str, rows: int | None = None) -> str:
        """The parameter at `path`, or its first rows: stored once, however often it is asked for."""
        if path not in self._weights:
            array = np.ascontiguousarray(self._params[path][:rows], np.float32)
            self._weights[path] = self._onnx.numpy_helper.from_array(array, path)
        return path

    def number(self, value: float) -> str:
        """A scalar constant: int64 from an int, float32 from a float."""
        return self.constant(np.array(value, np.int64 if isinstance(value, int) else np.float32))

    def ints(self, *values: int) -> str:
        """A vector of whole numbers, as shapes and axes are given."""
        return self.constant(np.array(values, np.int64))

    def constant(self, value: np.ndarray) -> str:
        """A constant of the graph; equal ones are one."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._weights[name] = self._onnx.numpy_helper.from_array(value, name)
            self._constants[key] = name
        return self._constants[key]

    def model(self, name: str, metadata: dict[str, str]) -> "ModelProto":
        """The finished model."""
        helper = self._onnx.helper
        weights = list(self._weights.values())
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, weights)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="bert_jax")
        helper.set_model_props(model, metadata)
        return model

    def dense(self, x: str, at: str) -> str:
        """A dense layer, with a bias where there is one."""
        x = self.op("MatMul", x, self.weight(f"{at}/kernel"))
        return self.op("Add", x, self.weight(f"{at}/bias")) if self.has(f"{at}/bias") else x

    def norm(self, x: str, at: str, epsilon: float) -> str:
        bias = [self.weight(f"{at}/bias")] if self.has(f"{at}/bias") else []
        return self.op("LayerNormalization", x, self.weight(f"{at}/scale"), *bias, axis=-1, epsilon=epsilon)

    def cast(self, x: str, kind: str) -> str:
        """x in another type, FLOAT or BOOL or what else TensorProto lists."""
        return self.op("Cast", x, to=getattr(self._onnx.TensorProto, kind))

    def slice(self, x: str, start: int, end: int, axis: int) -> str:
        return self.op("Slice", x, self.ints(start), self.ints(end), self.ints(axis))


def onnx_gelu(g: GraphBuilder, x: str) -> str:
    """In the order of nodes that runtimes know and run as one."""
    turned = g.op("Erf", g.op("Div", x, g.number(math.sqrt(2.0))))
    return g.op("Mul", g.op("Mul", x, g.op("Add", turned, g.number(1.0))), g.number(0.5))


def onnx_gelu_tanh(g: GraphBuilder, x: str) -> str:
    cube = g.op("Mul", g.op("Mul", x, x), x)
    inner = g.op("Add", x, g.op("Mul", cube, g.number(0.044715)))
    turned = g.op("Tanh", g.op("Mul", inner, g.number(math.sqrt(2.0 / math.pi))))
    return g.op("Mul", g.op("Mul", x, g.op("Add", turned, g.number(1.0))), g.number(0.5))


def onnx_silu(g: GraphBuilder, x: str) -> str:
    return g.op("Mul", x, g.op("Sigmoid", x))


ONNX_ACTIVATIONS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "gelu": onnx_gelu,
    "gelu_tanh": onnx_gelu_tanh,
    "relu": lambda g, x: g.op("Relu", x),
    "silu": onnx_silu,
    "tanh": lambda g, x: g.op("Tanh", x),
}
