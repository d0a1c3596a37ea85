"""How neural nets run here: onnxruntime on the CPU, one thread, no spinning, quiet.

Worker processes are the unit of parallelism (two of one thread beat one of two), so a net never takes a second core.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # must precede the import

import onnxruntime

from batch.engine import weights


def session(name: str) -> onnxruntime.InferenceSession:
    """A ready net from the model file ``name`` of weights.HASHES."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it would keep the memory of the longest chunk for ever, and is no faster
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(weights.read(name), options, providers=["CPUExecutionProvider"])
