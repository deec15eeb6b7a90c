# SPDX-License-Identifier: MIT
"""Writes assignment.txt: the least total of linear assignment problems, by SciPy's linear_sum_assignment.

Each line: kind n seed total. The costs are recomputed by tests/unit/assignment/assignment_test.cpp from these formulas:
  integer    c_ij = (7919 i^2 + 104729 j^2 + 31337 i j + seed) mod 10007
  tied       c_ij = (7919 i^2 + 104729 j^2 + 31337 i j + seed) mod 5
  distance   c_ij = |x_i - y_j|^2, x_i = (p(2 i), p(2 i + 1)), y_j = (p(2 n + 2 j), p(2 n + 2 j + 1)),
             p(k) = ((2654435 k^2 + 40503 k + 977 seed) mod 65521) / 4096 - 8
All totals are exact. Needs numpy and scipy.
"""
import pathlib

import numpy as np
from scipy.optimize import linear_sum_assignment


def points(k, seed):
    return ((2654435 * k**2 + 40503 * k + 977 * seed) % 65521) / 4096 - 8


def cost(kind, n, seed):
    i, j = np.arange(n, dtype=np.int64)[:, None], np.arange(n, dtype=np.int64)[None, :]
    if kind == "distance":
        return sum((points(2 * i + d, seed) - points(2 * n + 2 * j + d, seed)) ** 2 for d in (0, 1))
    return (7919 * i**2 + 104729 * j**2 + 31337 * i * j + seed) % {"integer": 10007, "tied": 5}[kind]


lines = []
for kind in ("integer", "tied", "distance"):
    for n in (10, 33, 64, 65, 100, 200, 300):
        for seed in (1, 2):
            c = cost(kind, n, seed)
            lines.append(f"{kind} {n} {seed} {float(c[linear_sum_assignment(c)].sum())!r}\n")
(pathlib.Path(__file__).parent / "assignment.txt").write_text("".join(lines))
