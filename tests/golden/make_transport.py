# SPDX-License-Identifier: MIT
"""Writes transport.txt: the least total squared distance of two sets of n points, by SciPy's linear_sum_assignment.

Each line: n dim seed total. The points are recomputed by tests/unit/coupling/optimal_transport_test.cpp from
  coordinate k of x0 is p(k), of x1 p(n dim + k) + 1, counted point by point,
  p(k) = ((2654435 k^2 + 40503 k + 977 seed) mod 65521) / 4096 - 8
All coordinates are exact in float. Needs numpy and scipy.
"""
import pathlib

import numpy as np
from scipy.optimize import linear_sum_assignment


def points(k, seed):
    return ((2654435 * k**2 + 40503 * k + 977 * seed) % 65521) / 4096 - 8


lines = []
for n in (10, 100, 256, 777, 1024, 2000):
    for dim, seed in ((2, 1), (8, 2)):
        k = np.arange(n * dim, dtype=np.int64)
        x0, x1 = points(k, seed).reshape(n, dim), points(n * dim + k, seed).reshape(n, dim) + 1
        cost = ((x0[:, None] - x1[None]) ** 2).sum(2)
        lines.append(f"{n} {dim} {seed} {float(cost[linear_sum_assignment(cost)].sum())!r}\n")
(pathlib.Path(__file__).parent / "transport.txt").write_text("".join(lines))
