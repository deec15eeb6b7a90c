#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the golden values torch_*.txt beside this file: nets, losses, gradients and optimisers of PyTorch in float64.

Made with PyTorch 1.13 of Debian 12 (apt-get install python3-torch) on one thread. Format: a line "name rows columns",
then rows x columns numbers in C order, with 17 digits, so that they read back exactly.
"""
import math
import pathlib

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
here = pathlib.Path(__file__).parent


class File:
    def __init__(self, name):
        self.out = open(here / name, "w")

    def put(self, name, tensor):
        tensor = torch.as_tensor(tensor).detach()
        tensor = tensor.reshape(1, -1) if tensor.dim() < 2 else tensor
        self.out.write("%s %d %d\n" % (name, *tensor.shape))
        for row in tensor.tolist():
            self.out.write(" ".join("%.17g" % x for x in row) + "\n")


activations = {"silu": nn.SiLU(), "gelu": nn.GELU(), "tanh": nn.Tanh(), "relu": nn.ReLU(), "selu": nn.SELU(),
               "softplus": nn.Softplus(threshold=1000)}  # the default, 20, cuts off log(1 + e^z) at 2e-9


class Net(nn.Module):
    """Plain layers, or pre-norm residual blocks h += Linear(f(LayerNorm(h))) between input and output layer."""

    def __init__(self, widths, activation, residual=False):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        last = len(widths) - 2
        self.norms = nn.ModuleDict({str(l): nn.LayerNorm(widths[l]) for l in range(1, last)} if residual else {})
        self.f = activations[activation]
        for norm in self.norms.values():  # else scale 1 and shift 0 would hide their part
            nn.init.normal_(norm.weight, 1.0, 0.3)
            nn.init.normal_(norm.bias, 0.0, 0.3)

    def forward(self, x):
        h = self.layers[0](x)
        for l, layer in enumerate(self.layers):
            if l == 0:
                continue
            norm = self.norms[str(l)] if str(l) in self.norms else None
            h = layer(self.f(h)) if norm is None else h + layer(self.f(norm(h)))
        return h

    def blocks(self):
        """The parameters in the order of the flat vector: each norm stands before its layer."""
        for l in range(len(self.layers)):
            if str(l) in self.norms:
                yield "norms.%d.weight" % l, self.norms[str(l)].weight
                yield "norms.%d.bias" % l, self.norms[str(l)].bias
            yield "layers.%d.weight" % l, self.layers[l].weight
            yield "layers.%d.bias" % l, self.layers[l].bias


def net_input(x, t, c, frequencies):
    k_pi = math.pi * torch.arange(1, frequencies + 1)
    return torch.cat([x, t, torch.sin(t * k_pi), torch.cos(t * k_pi), c], 1)


def velocity_nets():
    """Velocity nets: loss mean(w (v - u)^2) and its gradient at all parameters and inputs."""
    out = File("torch_velocity.txt")
    for name, dim, condition, hidden, activation, residual, frequencies, n in [
            ("silu", 2, 0, [12, 10, 8], "silu", False, 0, 9),
            ("residual_gelu", 3, 2, [8, 8, 8], "gelu", True, 3, 7),
            ("residual_silu_deep", 2, 1, [6, 6, 6, 6, 6], "silu", True, 8, 5),
            ("tanh", 1, 0, [9, 7], "tanh", False, 2, 6),
            ("selu", 4, 3, [8, 6], "selu", False, 1, 6),
            ("softplus", 2, 1, [10], "softplus", False, 4, 8),
            ("relu", 2, 0, [8, 8], "relu", False, 0, 8),
            ("linear", 3, 1, [], "silu", False, 2, 5)]:
        torch.manual_seed(7)
        net = Net([dim + 1 + 2 * frequencies + condition, *hidden, dim], activation, residual)
        x, t, c = torch.randn(n, dim) * 1.5, torch.rand(n, 1), torch.randn(n, condition)
        u, w = torch.randn(n, dim), torch.rand(n, 1) * 2
        for z in (x, t, c):
            z.requires_grad_()
        v = net(net_input(x, t, c, frequencies))
        plain = ((v - u) ** 2).mean()
        plain_gradient = torch.autograd.grad(plain, [p for _, p in net.blocks()], retain_graph=True)
        loss = (w * (v - u) ** 2).mean()
        loss.backward()
        for key, value in [("x", x), ("t", t), ("c", c), ("u", u), ("w", w), ("v", v), ("loss", plain),
                           ("weighted_loss", loss), ("dx", x.grad), ("dt", t.grad),
                           ("dc", c.grad if condition else c)]:
            out.put(name + "/" + key, value)
        for (block, p), g in zip(net.blocks(), plain_gradient):
            out.put(name + "/parameter/" + block, p)
            out.put(name + "/gradient/" + block, g)
            out.put(name + "/weighted_gradient/" + block, p.grad)


def classifier():
    """An Mlp under CrossEntropyLoss; one column has outputs of some hundreds, which exp alone would not survive."""
    torch.manual_seed(8)
    out = File("torch_classifier.txt")
    net, n = Net([4, 10, 5], "silu"), 12
    x, labels = torch.randn(n, 4), torch.randint(0, 5, (n,))
    x[3] *= 2000
    x.requires_grad_()
    y = net(x)
    loss = nn.CrossEntropyLoss()(y, labels)
    loss.backward()
    for key, value in [("x", x), ("labels", labels.double()), ("y", y), ("loss", loss), ("dx", x.grad)]:
        out.put(key, value)
    for block, p in net.blocks():
        out.put("parameter/" + block, p)
        out.put("gradient/" + block, p.grad)


def optimisers():
    """100 steps each on four fixed batches in turn, and the loss before each step."""
    out = File("torch_optimisers.txt")
    torch.manual_seed(9)
    start = Net([3, 8, 8, 2], "tanh").state_dict()
    batches = [(torch.randn(16, 2), torch.rand(16, 1), torch.randn(16, 2)) for _ in range(4)]
    for i, batch in enumerate(batches):
        for key, value in zip("xtu", batch):
            out.put("%s/%d" % (key, i), value)
    for name, make in [
            ("adam", lambda p: torch.optim.Adam(p, lr=1e-2)),
            ("adam_other", lambda p: torch.optim.Adam(p, lr=3e-3, betas=(0.8, 0.95), eps=1e-3)),
            ("adamw", lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1)),
            ("sgd", lambda p: torch.optim.SGD(p, lr=5e-2)),
            ("sgd_momentum", lambda p: torch.optim.SGD(p, lr=5e-2, momentum=0.9))]:
        net = Net([3, 8, 8, 2], "tanh")
        net.load_state_dict(start)
        if name == "adam":
            for block, p in net.blocks():
                out.put("start/" + block, p)
        optimiser, losses = make(net.parameters()), []
        for step in range(100):
            x, t, u = batches[step % 4]
            loss = ((net(torch.cat([x, t], 1)) - u) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        out.put(name + "/losses", losses)
        for block, p in net.blocks():
            out.put(name + "/end/" + block, p)


velocity_nets()
classifier()
optimisers()
