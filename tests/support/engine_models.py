"""Models small enough to be made in a test, for other engines. They work by arithmetic, or by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def speaker_nets(folder: Path) -> Path:
    """Segmentation and embedding for sherpa-onnx, for which low tones are one person and high ones another."""
    from onnx import TensorProto, helper

    float32 = TensorProto.FLOAT
    segmentation = [
        helper.make_node("Abs", ["x"], ["loud"]),
        helper.make_node("Conv", ["x", "difference"], ["rough"], pads=[1, 0]),
        helper.make_node("Abs", ["rough"], ["high"]),
        helper.make_node("AveragePool", ["loud"], ["a"], kernel_shape=[991], strides=[270]),
        helper.make_node("AveragePool", ["high"], ["b"], kernel_shape=[991], strides=[270]),
        helper.make_node("Concat", ["a", "b"], ["ab"], axis=1),
        helper.make_node("Transpose", ["ab"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "bias"], ["y"]),
    ]
    constants = {
        "difference": [[[1, -1]]],
        "weights": [[0, 100, 0, 0, 0, 0, 0], [0, -100, 100, 0, 0, 0, 0]],
        "bias": [1, 0, 0, -99, -99, -99, -99],
    }
    shape = {"sample_rate": 16_000, "window_size": 160_000, "receptive_field_size": 991, "receptive_field_shift": 270}
    classes = {"num_speakers": 3, "powerset_max_classes": 2, "num_classes": 7}
    x, y = helper.make_tensor_value_info, helper.make_tensor_value_info
    _write(
        folder / "segmentation.onnx", segmentation, x("x", float32, ["N", 1, "T"]), y("y", float32, ["N", "F", 7]),
        constants, {**shape, **classes, "model_type": "pyannote-segmentation-3.0", "version": 1},
    )  # fmt: skip
    mean = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)]
    about = {"framework": "wespeaker", "language": "English", "sample_rate": 16_000, "output_dim": 80}
    _write(
        folder / "embedding.onnx", mean, x("x", float32, ["N", "T", 80]), y("y", float32, ["N", 80]),
        {}, {**about, "normalize_samples": 0, "feature_normalize_type": ""},
    )  # fmt: skip
    return folder


def _write(path: Path, nodes: Any, x: Any, y: Any, constants: dict[str, Any], about: dict[str, Any]) -> None:
    import onnx
    from onnx import helper, numpy_helper

    tensors = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {name: str(value) for name, value in about.items()})
    onnx.save(model, str(path))


def pipeline(folder: Path) -> Path:
    """A pipeline of pyannote.audio, whole but for its weights, which are random."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(1)
    frames = {"problem": Problem.MONO_LABEL_CLASSIFICATION, "resolution": Resolution.FRAME, "duration": 10.0}
    voices = {"classes": ["1", "2", "3"], "powerset_max_classes": 2, "permutation_invariant": True}
    _checkpoint(PyanNet(), folder / "segmentation", Specifications(**frames, **voices))
    chunk = {"problem": Problem.REPRESENTATION, "resolution": Resolution.CHUNK, "duration": 5.0}
    _checkpoint(WeSpeakerResNet34(), folder / "embedding", Specifications(**chunk))
    random = np.random.default_rng(1)
    (folder / "plda").mkdir()
    means = {"mean1": random.normal(size=256), "mean2": random.normal(size=128)}
    np.savez(folder / "plda" / "xvec_transform.npz", **means, lda=random.normal(size=(256, 128)))
    spread = np.sort(random.uniform(0.1, 5, 128))[::-1]
    np.savez(folder / "plda" / "plda.npz", mu=random.normal(size=128), tr=np.eye(128), psi=spread)
    (folder / "config.yaml").write_text(_PIPELINE)
    return folder


def _checkpoint(model: Any, folder: Path, specifications: Any) -> None:
    import torch

    model.specifications = specifications
    model.build()
    kind = {"module": type(model).__module__, "class": type(model).__name__}
    about = {"versions": {"pyannote.audio": "4.0.0"}, "architecture": kind, "specifications": specifications}
    folder.mkdir()
    weights = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    progress = {"pytorch-lightning_version": "2.6.0", "epoch": 0, "global_step": 0, "loops": {}}
    torch.save({**weights, **progress, "pyannote.audio": about}, folder / "pytorch_model.bin")


_PIPELINE = """
version: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    segmentation: $model/segmentation
    embedding: $model/embedding
    plda: $model/plda
params:
  segmentation: {min_duration_off: 0.0}
  clustering: {method: centroid, min_cluster_size: 12, threshold: 0.7}
"""
