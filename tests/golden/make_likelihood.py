#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes likelihood.txt beside this file: log-densities of flows with the weights of torch_velocity.txt.

Independent of the library: velocity by PyTorch, divergence by its automatic differentiation, and 400 steps of RK4
backward from t = 1 to 0, all in float64; half as many steps agree to 1e-9, which it checks. Made with PyTorch 1.13 of
Debian 12 (apt-get install python3-torch). The format is that of make_torch.py.
"""
import math
import pathlib

import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
here = pathlib.Path(__file__).parent


def read(path):
    blocks, words = {}, iter(path.read_text().split())
    for name in words:
        rows, columns = int(next(words)), int(next(words))
        blocks[name] = torch.tensor([float(next(words)) for _ in range(rows * columns)]).reshape(rows, columns)
    return blocks


def velocity(blocks, name, frequencies, activation, residual):
    """v(x, t, c) of a net in torch_velocity.txt; x: (n, dim), t: a number."""
    prefix = name + "/parameter/"
    parameter = {key[len(prefix):]: value for key, value in blocks.items() if key.startswith(prefix)}
    last = sum(key.startswith("layers.") for key in parameter) // 2 - 1

    def layer(l, a):
        return a @ parameter["layers.%d.weight" % l].T + parameter["layers.%d.bias" % l].flatten()

    def field(x, t, c):
        k_pi_t = math.pi * t * torch.arange(1, frequencies + 1).repeat(len(x), 1)
        h = layer(0, torch.cat([x, torch.full((len(x), 1), t), torch.sin(k_pi_t), torch.cos(k_pi_t), c], 1))
        for l in range(1, last + 1):
            if residual and l < last:
                scale, shift = (parameter["norms.%d.%s" % (l, key)].flatten() for key in ("weight", "bias"))
                h = h + layer(l, activation(F.layer_norm(h, (len(scale),), scale, shift)))
            else:
                h = layer(l, activation(h))
        return h

    return field


def log_density(field, x, c, steps):
    def rate(x, t):  # dx/dt and d(integral of the divergence)/dt
        x = x.detach().requires_grad_()
        v = field(x, t, c)
        return v.detach(), sum(torch.autograd.grad(v[:, i].sum(), x, retain_graph=True)[0][:, i]
                               for i in range(x.shape[1]))

    integral, h = torch.zeros(len(x)), -1 / steps
    for step in range(steps):
        t = 1 + step * h
        v1, d1 = rate(x, t)
        v2, d2 = rate(x + h / 2 * v1, t + h / 2)
        v3, d3 = rate(x + h / 2 * v2, t + h / 2)
        v4, d4 = rate(x + h * v3, t + h)
        x = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        integral = integral + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)  # of the divergence, from 1 to 0
    return torch.distributions.Normal(0, 1).log_prob(x).sum(1) + integral


blocks = read(here / "torch_velocity.txt")
with open(here / "likelihood.txt", "w") as out:
    for name, frequencies, activation, residual in [
            ("silu", 0, F.silu, False), ("residual_gelu", 3, F.gelu, True), ("tanh", 2, torch.tanh, False),
            ("softplus", 4, lambda z: F.softplus(z, threshold=1000), False), ("linear", 2, None, False)]:
        field = velocity(blocks, name, frequencies, activation, residual)
        x, c = blocks[name + "/x"], blocks[name + "/c"].reshape(len(blocks[name + "/x"]), -1)
        half, whole = (log_density(field, x, c, steps) for steps in (200, 400))
        assert (half - whole).abs().max() < 1e-9, (name, (half - whole).abs().max())
        out.write("%s 1 %d\n%s\n" % (name, len(x), " ".join("%.17g" % value for value in whole.tolist())))
