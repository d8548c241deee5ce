"""Making exported graphs smaller: precomputed constants, and weights of fewer bits."""

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from espnet2_tisdiss.choices import Precision
from espnet2_tisdiss.onnx.model import ERRORS_ONLY

LEAST_WEIGHTS = 256  # size from which a tensor is stored in half precision


def fold_constants(path: Path) -> None:
    """Precompute what depends on no input, in place, so that the graph loads faster."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = ERRORS_ONLY
    options.optimized_model_filepath = str(path.with_suffix(".folded"))
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    path.with_suffix(".folded").replace(path)


def lower_precision(path: Path, precision: Precision) -> None:
    """Lower the precision of a graph in place.

    Args:
        path: the graph.
        precision: ``float16`` stores the weights in it, and computes in float32 as before; ``int8``
            computes matrix products with weights in 8-bit integers, and stores the other weights
            in float16.
    """
    if precision == "float32":
        return
    if precision == "int8":
        before = logging.root.manager.disable
        # it recommends preprocessing that fold_constants has already done
        logging.disable(logging.WARNING)
        try:
            quantize_dynamic(
                path,
                path,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["MatMul"],
            )
        finally:
            logging.disable(before)
    model = onnx.load(path)
    _store_halves(model.graph)
    onnx.save(model, path)


def _store_halves(graph: onnx.GraphProto) -> None:
    """Store the weights of a graph in float16; they are converted when it is loaded."""
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < LEAST_WEIGHTS:
            continue
        name, stored = weight.name, f"{weight.name}.float16"
        half = numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(numpy_helper.from_array(half, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
