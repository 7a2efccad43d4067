#!/usr/bin/env python3
"""Runs a model in ONNX Runtime straight from the vault: verified, in memory, never a plain file on disk.

    python examples/onnxruntime_fetch.py --enrolment DIR digits

fetches the model REF as the workload of DIR (made by `vault workload enroll NAME -o DIR`), runs it on
examples/digits/sample.csv, and compares its outputs with those of the plain file it was sealed from.
Needs: pip install 'model-vault[onnx]'
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import onnxruntime

import model_vault

DIGITS = Path(__file__).resolve().parent / "digits"


def run(model: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # sums in one order: what is compared is the model, not the scheduling
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs a model from the vault in ONNX Runtime.")
    parser.add_argument("reference", metavar="REF", nargs="?", default="digits", help="[NAMESPACE/]NAME[@REVISION]")
    parser.add_argument("--enrolment", metavar="DIR", help="made by vault workload enroll; MODELVAULT_ENROLMENT")
    parser.add_argument("--server", metavar="HOST:PORT", help="instead of the address in the enrolment")
    parser.add_argument("--socket", metavar="PATH", help="Unix socket of a daemon of this user, instead of mTLS")
    parser.add_argument("--plain", metavar="FILE", type=Path, default=DIGITS / "digits.onnx", help="to compare with")
    arguments = parser.parse_args()

    with (DIGITS / "sample.csv").open(newline="") as file:
        rows = np.array([row for row in csv.reader(file)], dtype=np.float32)
    labels, pixels = rows[:, 0].astype(int), np.ascontiguousarray(rows[:, 1:])

    try:
        with model_vault.connect(
            enrolment=arguments.enrolment,
            address=arguments.server,
            socket=arguments.socket,
            trust_socket=arguments.socket is not None,
        ) as client:
            artifact = client.fetch(arguments.reference)
            model = artifact.single()
    except model_vault.VaultError as e:
        print(f"onnxruntime_fetch: {e}", file=sys.stderr)
        return 1

    streamed, plain = run(model, pixels), run(arguments.plain.read_bytes(), pixels)
    accuracy = float(np.mean(streamed["probabilities"].argmax(axis=1) == labels))
    print(f"{artifact.reference}: {len(model)} bytes, signed by {' '.join(k[:16] for k in artifact.signers)}")
    print(f"accuracy on {len(labels)} images: {accuracy:.3f}")
    if streamed.keys() != plain.keys() or not all(np.array_equal(streamed[name], plain[name]) for name in plain):
        print("the outputs differ from those of the plain file")
        return 1
    print("identical outputs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
