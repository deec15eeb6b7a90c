# SPDX-License-Identifier: MIT
"""PyTorch and its flow-matching libraries: torch_peer.py VARIANT WORKLOAD THREADS [SECONDS].

VARIANT, training: eager (fused Adam); compile (gradient and Adam as one graph under torch.compile); torchcfm (its
matcher, and its own net of the same shape, with SELU); flow_matching (its path).
Sampling: eager (a loop); compile (the whole loop for E-one, else one step); torchcfm (torchdyn's NeuralODE, as its
examples do); flow_matching (its ODESolver). Couplings: pot (its exact solver), scipy (its assignment solver), both with
costs by torch; torchcfm (its plan sampler, its matcher). Random numbers: eager."""
import itertools
import json
import sys

from common import (ADAPTIVE, COUPLING, H_BATCH, H_BLOCKS, H_CONDITIONS, H_DIM, H_FREQUENCIES, H_TOGETHER, H_WIDTH,
                    RANDOM_NUMBERS, SAMPLING, TRAINING, arguments, dataset, measure, moons, one_hot, peak_memory_mb,
                    residual_dataset, trained_net)

variant, workload, threads, seconds = arguments()
import numpy as np
import torch
from torch import nn

torch.set_num_threads(threads)
torch.manual_seed(0)
libraries = dict(torchcfm="torchcfm", flow_matching="flow_matching", pot="POT", scipy="SciPy")
system = libraries.get(variant, f"torch {variant}")


# --- Nets: net(x, t) or net(x, t, c), t of shape (n, 1) ---------------------------------------------------------------

class Plain(nn.Module):
    def __init__(self, d, width):
        super().__init__()
        sizes = [d + 1, width, width, width, d]
        layers = []
        for a, b in zip(sizes[:-1], sizes[1:]):
            layers += [nn.Linear(a, b), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x, t):
        return self.layers(torch.cat([x, t], 1))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(H_DIM + 1 + 2 * H_FREQUENCIES + H_CONDITIONS, H_WIDTH)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(H_WIDTH), nn.SiLU(), nn.Linear(H_WIDTH, H_WIDTH))
                                    for _ in range(H_BLOCKS))
        self.last = nn.Sequential(nn.SiLU(), nn.Linear(H_WIDTH, H_DIM))
        self.register_buffer("frequencies", torch.pi * torch.arange(1, H_FREQUENCIES + 1))

    def forward(self, x, t, c):
        angles = t * self.frequencies
        h = self.first(torch.cat([x, t, angles.sin(), angles.cos(), c], 1))
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


# --- Training: functions that do one step -----------------------------------------------------------------------------

def draw(data, batch):
    """x0, x1, t and, if data has a second part, the condition."""
    rows = torch.randint(0, data[0].shape[0], (batch,))
    x1, *c = [part[rows] for part in data]
    return torch.randn_like(x1), x1, torch.rand(batch, 1), *c


def eager_training(net, data, batch):
    residual = len(data) > 1
    parameters = list(net.parameters())
    optimizer = (torch.optim.AdamW if residual else torch.optim.Adam)(parameters, 1e-3, fused=True)
    average = [p.detach().clone() for p in parameters]

    def step():
        optimizer.zero_grad()
        x0, x1, t, *c = draw(data, batch)
        loss = torch.mean((net(x0 + t * (x1 - x0), t, *c) - (x1 - x0)) ** 2)
        loss.backward()
        optimizer.step()
        if residual:
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1e-3)
        return loss
    return step


def compiled_training(net, data, batch):
    from torch.func import functional_call, grad_and_value
    residual = len(data) > 1
    keep = 1 - 1e-3 * 1e-2 if residual else 1
    parameters = {k: p.detach().clone() for k, p in net.named_parameters()}
    m = {k: torch.zeros_like(p) for k, p in parameters.items()}
    v = {k: torch.zeros_like(p) for k, p in parameters.items()}
    average = {k: p.clone() for k, p in parameters.items()} if residual else {}

    def loss(parameters, x0, x1, t, *c):
        out = functional_call(net, parameters, (x0 + t * (x1 - x0), t, *c))
        return torch.mean((out - (x1 - x0)) ** 2)

    def update(parameters, m, v, average, rate, correction, batch):
        gradient, value = grad_and_value(loss)(parameters, *batch)
        for k, p in parameters.items():
            m[k].mul_(0.9).add_(gradient[k], alpha=0.1)
            v[k].mul_(0.999).addcmul_(gradient[k], gradient[k], value=0.001)
            p.mul_(keep).sub_(rate * m[k] / ((v[k] * correction).sqrt() + 1e-8))
            if residual:
                average[k].lerp_(p, 1e-3)
        return value
    compiled = torch.compile(update)
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        with torch.no_grad():
            rate, correction = torch.tensor(1e-3 / (1 - 0.9 ** steps)), torch.tensor(1 / (1 - 0.999 ** steps))
            return compiled(parameters, m, v, average, rate, correction, draw(data, batch))
    return step


def torchcfm_training(d, width, data, batch):
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    from torchcfm.models.models import MLP
    net = MLP(dim=d, w=width, time_varying=True)
    matcher = ConditionalFlowMatcher(sigma=0.0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        x1 = data[torch.randint(0, data.shape[0], (batch,))]
        t, x_t, u_t = matcher.sample_location_and_conditional_flow(torch.randn_like(x1), x1)
        loss = torch.mean((net(torch.cat([x_t, t[:, None]], 1)) - u_t) ** 2)
        loss.backward()
        optimizer.step()
        return loss
    return step


def coupled_training():
    from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher
    d, width, batch, _ = TRAINING["A"]
    data, net = torch.from_numpy(dataset(d)), Plain(d, width)
    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        x1 = data[torch.randint(0, data.shape[0], (batch,))]
        t, x_t, u_t = matcher.sample_location_and_conditional_flow(torch.randn_like(x1), x1)
        loss = torch.mean((net(x_t, t[:, None]) - u_t) ** 2)
        loss.backward()
        optimizer.step()
    return step


def flow_matching_training(net, data, batch):
    from flow_matching.path import AffineProbPath
    from flow_matching.path.scheduler import CondOTScheduler
    path = AffineProbPath(scheduler=CondOTScheduler())
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        x1 = data[torch.randint(0, data.shape[0], (batch,))]
        s = path.sample(t=torch.rand(batch), x_0=torch.randn_like(x1), x_1=x1)
        loss = torch.pow(net(s.x_t, s.t[:, None]) - s.dx_t, 2).mean()
        loss.backward()
        optimizer.step()
        return loss
    return step


def training(name):
    if name == "H":
        net, data, batch = Residual(), tuple(map(torch.from_numpy, residual_dataset())), H_BATCH
        return dict(eager=eager_training, compile=compiled_training)[variant](net, data, batch), H_TOGETHER
    d, width, batch, together = TRAINING[name]
    data = torch.from_numpy(dataset(d))
    if variant == "torchcfm":
        return torchcfm_training(d, width, data, batch), together
    net = Plain(d, width)
    if variant == "flow_matching":
        return flow_matching_training(net, data, batch), together
    return dict(eager=eager_training, compile=compiled_training)[variant](net, (data,), batch), together


# --- Sampling: functions that make all samples ------------------------------------------------------------------------

def euler(net, x, c, n):
    for i in range(n):
        x = x + net(x, torch.full((x.shape[0], 1), i / n), *c) / n
    return x


def runge_kutta(net, x, n):
    h = 1 / n

    def v(x, t):
        return net(x, torch.full((x.shape[0], 1), t))
    for i in range(n):
        t = i * h
        a = v(x, t)
        b = v(x + h / 2 * a, t + h / 2)
        c = v(x + h / 2 * b, t + h / 2)
        d = v(x + h * c, t + h)
        x = x + h / 6 * (a + 2 * b + 2 * c + d)
    return x


def flow_matching_solver(net):
    from flow_matching.solver import ODESolver
    from flow_matching.utils import ModelWrapper

    class Velocity(ModelWrapper):
        def forward(self, x, t):
            return self.model(x, t.reshape(-1, 1).expand(x.shape[0], 1))
    return ODESolver(Velocity(net))


def adaptive(name):
    net = Plain(2, 64)
    with torch.no_grad():
        for layer, (weight, bias) in zip(net.layers[::2], trained_net()):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
    net.requires_grad_(False)
    solver, points = flow_matching_solver(net), ADAPTIVE[name]
    options = dict(step_size=None, method="dopri5", rtol=1e-5, atol=1e-5)
    if name == "E-dopri5":
        x = torch.randn(points, 2)
        return lambda: solver.sample(x_init=x, **options)
    x = torch.from_numpy(moons(points, np.random.default_rng(5)))
    return lambda: solver.compute_likelihood(x_1=x, exact_divergence=True, **options,
                                             log_p0=lambda z: -(z ** 2).sum(1) / 2 - np.log(2 * np.pi))[1]


def sampling(name):
    net_name, n, steps = SAMPLING[name]
    if net_name == "A":
        net, x, c = Plain(2, 64), torch.randn(n, 2), ()
    else:
        net, x, c = Residual(), torch.randn(n, H_DIM), (torch.from_numpy(one_hot(n)),)
    net.requires_grad_(False)
    if variant == "flow_matching":
        solver = flow_matching_solver(net)
        return lambda: solver.sample(x_init=x, step_size=1 / steps, method="rk4" if name == "E-rk4" else "euler")
    if variant == "torchcfm":
        from torchcfm.utils import torch_wrapper
        from torchdyn.core import NeuralODE
        node = NeuralODE(torch_wrapper(net.layers), solver="rk4" if name == "E-rk4" else "euler")
        times = torch.linspace(0, 1, steps + 1)
        return lambda: node.trajectory(x, t_span=times)
    if name == "E-rk4":
        return lambda: runge_kutta(net, x, steps)
    if variant == "eager":
        return lambda: euler(net, x, c, steps)
    if name == "E-one":
        whole = torch.compile(lambda x: euler(net, x, c, steps))
        return lambda: whole(x)
    one = torch.compile(lambda x, t: x + net(x, t.expand(x.shape[0], 1), *c) / steps)
    times = [torch.full((1, 1), i / steps) for i in range(steps)]

    def loop():
        y = x
        for t in times:
            y = one(y, t)
        return y
    return loop


# --- Couplings --------------------------------------------------------------------------------------------------------

def coupling(n):
    """A function that pairs the next of 16 batches."""
    data = torch.from_numpy(dataset(2))
    batches = itertools.cycle([(torch.randn(n, 2), data[torch.randint(0, len(data), (n,))]) for _ in range(16)])
    if variant == "torchcfm":
        from torchcfm.optimal_transport import OTPlanSampler
        sampler = OTPlanSampler("exact")
        return lambda: sampler.sample_plan(*next(batches))

    def costs():
        x0, x1 = next(batches)
        return (torch.cdist(x0, x1) ** 2).numpy()
    if variant == "pot":
        import ot
        weights = ot.unif(n)
        return lambda: ot.emd(weights, weights, costs())
    from scipy.optimize import linear_sum_assignment
    return lambda: linear_sum_assignment(costs())


# --- What was asked for -----------------------------------------------------------------------------------------------

if workload == "process":
    step, _ = training("A")
    for _ in range(2000):
        loss = step()
    print(json.dumps(dict(loss=float(loss), peak_rss_mb=peak_memory_mb())))
elif workload in TRAINING or workload == "H":
    step, together = training(workload)

    def steps():
        for _ in range(together):
            step()
    measure(system, workload, threads, seconds, steps, together)
elif workload in SAMPLING:
    run = sampling(workload)
    with torch.no_grad() if variant == "torchcfm" else torch.inference_mode():
        measure(system, workload, threads, seconds, run)
elif workload in ADAPTIVE:
    run = adaptive(workload)
    measure(system, workload, threads, seconds, run)
elif workload in COUPLING:
    measure(system, workload, threads, seconds, coupling(COUPLING[workload]))
elif workload == "F-step":
    measure(system, workload, threads, seconds, coupled_training())
elif workload in ("normal", "uniform"):
    fill = torch.randn if workload == "normal" else torch.rand
    measure(system, workload, threads, seconds, lambda: fill(RANDOM_NUMBERS))
else:
    sys.exit(f"no workload {workload}")
