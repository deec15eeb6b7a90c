# SPDX-License-Identifier: MIT
"""JAX: jax_peer.py VARIANT WORKLOAD THREADS [SECONDS].

VARIANT: scan, many steps in one jitted lax.scan, Adam by hand: the fastest form of training in JAX that we know;
scan_rbg, the same with the cheaper generator unsafe_rbg; jit, for sampling and random numbers."""
import functools
import json
import sys

from common import (ADAPTIVE, H_BATCH, H_BLOCKS, H_CONDITIONS, H_DIM, H_FREQUENCIES, H_TOGETHER, H_WIDTH,
                    RANDOM_NUMBERS, SAMPLING, TRAINING, arguments, dataset, measure, moons, one_hot, peak_memory_mb,
                    residual_dataset, trained_net)

variant, workload, threads, seconds = arguments()
import jax
import jax.numpy as jnp
import numpy as np

if variant == "scan_rbg":
    jax.config.update("jax_default_prng_impl", "unsafe_rbg")
system = f"jax {variant}"


# --- Nets -------------------------------------------------------------------------------------------------------------

def linear(key, rows, columns):
    k1, k2 = jax.random.split(key)
    bound = rows ** -0.5
    return jax.random.uniform(k1, (rows, columns), minval=-bound, maxval=bound), \
        jax.random.uniform(k2, (columns,), minval=-bound, maxval=bound)


def plain_net(key, d, width):
    sizes = [d + 1, width, width, width, d]
    return [linear(k, a, b) for k, a, b in zip(jax.random.split(key, 4), sizes[:-1], sizes[1:])]


def plain(net, x, t):
    x = jnp.concatenate([x, t], 1)
    for i, (weight, bias) in enumerate(net):
        x = x @ weight + bias
        if i < len(net) - 1:
            x = jax.nn.silu(x)
    return x


def residual_net(key):
    keys = jax.random.split(key, H_BLOCKS + 2)
    inputs = H_DIM + 1 + 2 * H_FREQUENCIES + H_CONDITIONS
    blocks = [(jnp.ones(H_WIDTH), jnp.zeros(H_WIDTH), *linear(k, H_WIDTH, H_WIDTH)) for k in keys[2:]]
    return linear(keys[0], inputs, H_WIDTH), blocks, linear(keys[1], H_WIDTH, H_DIM)


def residual(net, x, t, c):
    (first, first_bias), blocks, (last, last_bias) = net
    angles = jnp.pi * t * jnp.arange(1, H_FREQUENCIES + 1)
    h = jnp.concatenate([x, t, jnp.sin(angles), jnp.cos(angles), c], 1) @ first + first_bias
    for scale, shift, weight, bias in blocks:
        mean = h.mean(1, keepdims=True)
        variance = ((h - mean) ** 2).mean(1, keepdims=True)
        h += jax.nn.silu((h - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift) @ weight + bias
    return jax.nn.silu(h) @ last + last_bias


# --- Training ---------------------------------------------------------------------------------------------------------

def loss(net, field, x0, x1, t, *c):
    return jnp.mean((field(net, x0 + t * (x1 - x0), t, *c) - (x1 - x0)) ** 2)


def draw(key, batch, data):
    """x0, x1, t and, if data has a second part, the condition."""
    k1, k2, k3 = jax.random.split(key, 3)
    rows = jax.random.randint(k2, (batch,), 0, data[0].shape[0])
    x1, *c = [part[rows] for part in data]
    return jax.random.normal(k1, x1.shape), x1, jax.random.uniform(k3, (batch, 1)), *c


def make_step(field, batch, weight_decay, average_decay):
    """Adam, or AdamW with averaged weights."""
    def step(state, data):
        net, m, v, average, k, key = state
        key, draw_key = jax.random.split(key)
        value, gradient = jax.value_and_grad(loss)(net, field, *draw(draw_key, batch, data))
        k += 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
        rate, correction, keep = 1e-3 / (1 - 0.9 ** k), 1 / (1 - 0.999 ** k), 1 - 1e-3 * weight_decay
        net = jax.tree.map(lambda p, m, v: keep * p - rate * m / (jnp.sqrt(v * correction) + 1e-8), net, m, v)
        if average_decay:
            d = jnp.minimum(average_decay, k / (k + 9))
            average = jax.tree.map(lambda a, p: a + (1 - d) * (p - a), average, net)
        return (net, m, v, average, k, key), value
    return step


def training(net, data, step, together):
    """A function that runs `together` steps and returns their losses."""
    def zeros():  # three of their own: their memory is reused for the result
        return jax.tree.map(jnp.zeros_like, net)
    average = jax.tree.map(jnp.copy, net) if len(data) > 1 else ()
    state = (net, zeros(), zeros(), average, jnp.float32(0), jax.random.key(1))
    data = tuple(map(jnp.asarray, data))
    run = jax.jit(lambda state, data: jax.lax.scan(lambda s, _: step(s, data), state, None, length=together),
                  donate_argnums=0)

    def steps():
        nonlocal state
        state, values = run(state, data)
        return values
    return steps


# --- Sampling ---------------------------------------------------------------------------------------------------------

def euler(field, n):
    def step(i, x, net, c):
        t = jnp.full((x.shape[0], 1), i / n)
        return x + field(net, x, t, *c) / n
    return jax.jit(lambda net, x, *c: jax.lax.fori_loop(0, n, lambda i, x: step(i, x, net, c), x))


def runge_kutta(field, n):
    h = 1 / n

    def step(i, x, net):
        v = lambda x, t: field(net, x, jnp.full((x.shape[0], 1), t))
        t = i * h
        a = v(x, t)
        b = v(x + h / 2 * a, t + h / 2)
        c = v(x + h / 2 * b, t + h / 2)
        d = v(x + h * c, t + h)
        return x + h / 6 * (a + 2 * b + 2 * c + d)
    return jax.jit(lambda net, x: jax.lax.fori_loop(0, n, lambda i, x: step(i, x, net), x))


def solve(field, t0, t1, y, net):
    """By diffrax, with one step for the whole batch."""
    import diffrax
    control = diffrax.PIDController(rtol=1e-5, atol=1e-5)
    return diffrax.diffeqsolve(diffrax.ODETerm(field), diffrax.Dopri5(), t0, t1, None, y, args=net,
                               stepsize_controller=control, max_steps=4096).ys


def at_time(net, x, t):
    return plain(net, x, jnp.full((x.shape[0], 1), t))


@jax.jit
def dopri5(net, x):
    return solve(lambda t, y, net: at_time(net, y, t), 0.0, 1.0, x, net)


@jax.jit
def log_likelihood(net, x):
    def field(t, y, net):
        jacobian = jax.vmap(jax.jacfwd(lambda z: at_time(net, z[None], t)[0]))(y[0])
        return at_time(net, y[0], t), jnp.trace(jacobian, axis1=1, axis2=2)
    x0, integral = solve(field, 1.0, 0.0, (x, jnp.zeros(x.shape[0])), net)
    return -(x0[-1] ** 2).sum(1) / 2 - jnp.log(2 * jnp.pi) + integral[-1]


# --- What was asked for -----------------------------------------------------------------------------------------------

key = jax.random.key(0)
together = 1
if workload in TRAINING or workload == "process":
    d, width, batch, together = TRAINING["A" if workload == "process" else workload]
    run = training(plain_net(key, d, width), (dataset(d),), make_step(plain, batch, 0, 0), together)
elif workload == "H":
    together = H_TOGETHER
    run = training(residual_net(key), residual_dataset(), make_step(residual, H_BATCH, 1e-2, 0.999), together)
elif workload in SAMPLING:
    name, n, steps = SAMPLING[workload]
    if name == "A":
        sampler = (runge_kutta if workload == "E-rk4" else euler)(plain, steps)
        inputs = plain_net(key, 2, 64), jax.random.normal(key, (n, 2))
    else:
        sampler = euler(residual, steps)
        inputs = residual_net(key), jax.random.normal(key, (n, H_DIM)), jnp.asarray(one_hot(n))
    run = functools.partial(sampler, *inputs)
elif workload in ADAPTIVE:
    net = [(jnp.asarray(weight.T), jnp.asarray(bias)) for weight, bias in trained_net()]
    points = ADAPTIVE[workload]
    if workload == "G-likelihood":
        run = functools.partial(log_likelihood, net, jnp.asarray(moons(points, np.random.default_rng(5))))
    else:
        run = functools.partial(dopri5, net, jax.random.normal(key, (points, 2)))
elif workload in ("normal", "uniform"):
    fill = getattr(jax.random, workload)

    def next_numbers(key):
        key, k = jax.random.split(key)
        return key, fill(k, (RANDOM_NUMBERS,))
    generate = jax.jit(next_numbers)

    def run():
        global key
        key, values = generate(key)
        return values
else:
    sys.exit(f"no workload {workload}")

if workload == "process":
    for _ in range(2000 // together):
        losses = run()
    print(json.dumps(dict(loss=float(losses[-1]), peak_rss_mb=peak_memory_mb())))
else:
    measure(system, workload, threads, seconds, lambda: jax.block_until_ready(run()), together)
