#!/usr/bin/env python3
"""How `digits.onnx` was made: a small classifier of handwritten digits, trained on the UCI digits set of scikit-learn.

    pip install scikit-learn skl2onnx && python train.py

Input `pixels`: float32 [n, 64], 8x8 grey values divided by 16. Output `probabilities`: float32 [n, 10].
"""

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32)
train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=0.25, random_state=7, stratify=labels)
model = MLPClassifier(hidden_layer_sizes=(512, 512), random_state=7, max_iter=60).fit(train_x, train_y)
print(f"accuracy on {len(test_y)} held-out images: {model.score(test_x, test_y):.4f}")

onnx_model = to_onnx(model, test_x[:1], options={"zipmap": False}, target_opset=17)
onnx_model.graph.input[0].name = "pixels"
for node in onnx_model.graph.node:
    node.input[:] = ["pixels" if name == "X" else name for name in node.input]
with open("digits.onnx", "wb") as out:
    out.write(onnx_model.SerializeToString())
np.savetxt("sample.csv", np.column_stack([test_y[:20], test_x[:20]]), delimiter=",", fmt="%g")
