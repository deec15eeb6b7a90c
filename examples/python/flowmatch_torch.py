# SPDX-License-Identifier: MIT
"""The velocity fields of flowmatch as PyTorch modules, and the files of both: load(path) and save(path, net).

A sample is a row here: x [n, dim], t a number or [n], c [n, condition_dim]. Needs torch, numpy and safetensors.
"""
import math
import zlib

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "tanh": torch.tanh, "relu": F.relu, "selu": F.selu,
               "softplus": lambda z: F.softplus(z, threshold=40)}  # PyTorch's 20 cuts off what double still sees
OPTIONS = ("dim", "condition_dim", "hidden", "activation", "residual", "time_frequencies", "zero_output", "classes",
           "embedding_dim")


class VelocityMlp(nn.Module):
    """Layers on [x, t, sin(k pi t), cos(k pi t), c], k = 1 .. time_frequencies: plain, or pre-norm residual blocks."""

    def __init__(self, dim, hidden, condition_dim=0, activation="silu", residual=False, time_frequencies=0,
                 zero_output=False):
        super().__init__()
        self.options = dict(kind="velocity_mlp", dim=dim, condition_dim=condition_dim, hidden=list(hidden),
                            activation=activation, residual=int(residual), time_frequencies=time_frequencies,
                            zero_output=int(zero_output))
        widths = [dim + 1 + 2 * time_frequencies + condition_dim, *hidden, dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        blocks = range(1, len(hidden)) if residual else []
        self.norms = nn.ModuleDict({str(l): nn.LayerNorm(widths[l]) for l in blocks})
        if zero_output:
            nn.init.zeros_(self.layers[-1].weight)
            nn.init.zeros_(self.layers[-1].bias)

    def forward(self, x, t, c=None):
        f = ACTIVATIONS[self.options["activation"]]
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device).reshape(-1, 1).expand(len(x), 1)
        k = torch.arange(1, self.options["time_frequencies"] + 1, device=x.device)
        angle = math.pi * torch.remainder(k * t, 2)  # the period is taken off first, which keeps digits
        h = torch.cat([x, t, angle.sin(), angle.cos()] + ([] if c is None else [c]), 1)
        h = self.layers[0](h)
        for l, layer in enumerate(self.layers[1:], 1):
            h = h + layer(f(self.norms[str(l)](h))) if str(l) in self.norms else layer(f(h))
        return h


class ConditionalVelocityMlp(VelocityMlp):
    """c = [label, vector]: a class 0 .. classes - 1, or classes for no condition, and vector_dim further numbers."""

    def __init__(self, dim, hidden, classes=1, embedding_dim=16, vector_dim=0, **options):
        super().__init__(dim, hidden, embedding_dim + vector_dim, **options)
        self.options.update(kind="conditional_velocity_mlp", classes=classes, embedding_dim=embedding_dim)
        self.condition_embedding = nn.Embedding(classes + 1, embedding_dim)
        if vector_dim > 0:
            self.condition_null = nn.Parameter(torch.zeros(vector_dim))

    def forward(self, x, t, c):
        label, vector = c[:, 0].long(), c[:, 1:]
        if vector.shape[1] > 0:
            is_none = label == self.options["classes"]
            vector = torch.where(is_none[:, None], self.condition_null, vector)
        return super().forward(x, t, torch.cat([self.condition_embedding(label), vector], 1))


@torch.no_grad()
def transport(net, x0, c=None, steps=50):
    """dx/dt = v(x, t, c) from x0, which is noise, at t = 0 to samples at t = 1, in steps of Euler."""
    x = x0
    for i in range(steps):
        x = x + net(x, i / steps, c) / steps
    return x


class Normalizer:
    """Data in the units of a net, z = normalizer(x), and back, x = normalizer.inverse(z)."""

    def __init__(self, mean, scale, components=None, deviation=None):
        self.mean, self.scale, self.components, self.deviation = mean, scale, components, deviation

    def __call__(self, x):
        z = torch.where(self.scale > 0, (x - self.mean) / self.scale, torch.zeros_like(x))
        return z if self.components is None else z @ self.components / self.deviation

    def inverse(self, z):
        return self.mean + self.scale * (z if self.components is None else (z * self.deviation) @ self.components.T)


class FlowModel:
    """A net with the units of its data, and of its conditions if it has any."""

    def __init__(self, net, normalizer, condition_normalizer=None):
        self.net, self.normalizer, self.condition_normalizer = net, normalizer, condition_normalizer

    def sample(self, noise, c=None, steps=50):
        """Samples in the units of the data, from noise [n, dim of the net] and conditions in their own units."""
        c = None if c is None else self.condition_normalizer(c)
        return self.normalizer.inverse(transport(self.net, noise, c, steps))


def load(path):
    """The net or FlowModel in a file of flowmatch: of save in C++, or of save below. Damage is an error."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    kind = metadata.get("kind", "none")
    nets = {"velocity_mlp": VelocityMlp, "conditional_velocity_mlp": ConditionalVelocityMlp}
    net_kind = kind.replace("flow_model", "velocity_mlp")
    if net_kind not in nets:
        raise ValueError("%s: expected a net or a model of flowmatch, got kind %s" % (path, kind))
    if metadata.get("flowmatch.format_version") != "1":
        raise ValueError("%s: expected format version 1, got %s" % (path, metadata.get("flowmatch.format_version")))
    if metadata.get("flowmatch.checksum") != checksum(metadata, tensors):
        raise ValueError("%s: expected checksum %s for what is in the file" % (path, checksum(metadata, tensors)))

    def part(prefix):
        return {name[len(prefix):]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    options = {key: int(text) if text.isdigit() else text for key, text in metadata.items() if key in OPTIONS}
    options["hidden"] = [int(width) for width in metadata["hidden"].split(",") if width]
    if "classes" in options:
        options["vector_dim"] = options.pop("condition_dim") - options["embedding_dim"]
    net, prefix = nets[net_kind](**options), "" if kind == net_kind else "net."
    net.to(tensors[prefix + "layers.0.weight"].dtype).load_state_dict(part(prefix))
    if kind == net_kind:
        return net
    of_conditions = part("condition_normalizer.")
    return FlowModel(net, Normalizer(**part("normalizer.")), Normalizer(**of_conditions) if of_conditions else None)


def save(path, net):
    """Writes a net, as load_velocity_mlp or load_conditional_velocity_mlp reads it in C++."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    metadata = {key: str(value) for key, value in net.options.items()}
    metadata["hidden"] = ",".join(map(str, net.options["hidden"]))
    metadata["flowmatch.format_version"] = "1"
    metadata["flowmatch.checksum"] = checksum(metadata, tensors)
    save_file(tensors, path, metadata)


def checksum(metadata, tensors):
    """CRC-32 of keys and values but its own, then of name, dtype, shape and bytes of each tensor; all sorted."""
    parts = [text for key in sorted(metadata) if key != "flowmatch.checksum" for text in (key, metadata[key])]
    crc = zlib.crc32("".join(text + "\0" for text in parts).encode())
    for name in sorted(tensors):
        array = tensors[name].numpy()
        shape = ",".join(map(str, array.shape))
        crc = zlib.crc32(("%s\0F%d\0%s\0" % (name, 8 * array.itemsize, shape)).encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return "%08x" % crc
