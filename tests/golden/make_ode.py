# SPDX-License-Identifier: MIT
"""Writes ode.txt: adaptive solutions by SciPy's solve_ivp (RK45, which is Dormand-Prince 5(4) with I control).

For each problem, direction and tolerance rtol = atol: the state at from + (to - from) i / 8, i = 0 .. 8 (one row a
state), and the number of evaluations. Backward solutions start where forward ones are at that time. tests/unit/ode/adaptive_test.cpp has the same problems. The reference is DOP853 at
1e-13. Written with SciPy 1.17.1.
"""
import pathlib

import numpy as np
from scipy.integrate import solve_ivp

problems = {
    "rotation": (lambda t, x: np.array([-0.3 * x[0] - 2 * x[1], 2 * x[0] - 0.3 * x[1]]), [1.0, 0.5], 5.0, 5.0),
    "seasons": (lambda t, x: np.cos(3 * t) * x + t, [0.2, -0.7], 3.0, 3.0),
    "logistic": (lambda t, x: x * (1 - x), [0.1, 1.7], 4.0, 4.0),
    "van_der_pol": (lambda t, x: np.array([x[1], 5 * (1 - x[0] ** 2) * x[1] - x[0]]), [2.0, 0.0], 12.0, 0.25),
}


def rows(values):
    return "".join(" ".join(repr(float(v)) for v in row) + "\n" for row in values)


text = ""
for name, (f, initial, end, back) in problems.items():
    for direction, (t0, t1) in {"forward": (0.0, end), "backward": (back, 0.0)}.items():
        start = initial
        if t0 > 0:
            start = solve_ivp(f, (0.0, t0), initial, "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        at = t0 + (t1 - t0) * np.arange(9) / 8
        exact = solve_ivp(f, (t0, t1), start, "DOP853", at, rtol=1e-13, atol=1e-13)
        text += f"{name}.{direction}.reference 9 2\n" + rows(exact.y.T)
        for digits in (3, 5, 7, 9):
            tolerance = float(f"1e-{digits}")
            s = solve_ivp(f, (t0, t1), start, "RK45", at, rtol=tolerance, atol=tolerance)
            assert s.success
            text += f"{name}.{direction}.{digits}.states 9 2\n" + rows(s.y.T)
            text += f"{name}.{direction}.{digits}.evaluations 1 1\n{s.nfev}\n"
(pathlib.Path(__file__).parent / "ode.txt").write_text(text)
