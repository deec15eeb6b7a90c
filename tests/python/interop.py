# SPDX-License-Identifier: MIT
"""usage: interop.py FOLDER NETS COMPILER...

What C++ and Python hand each other, in FOLDER: nets to PyTorch, ONNX and back, arrays to NumPy and back, and the
blocks of docs/python.md. NETS is the program of nets.cpp; the compiler's command lacks source and output. Prints what
is wrong, and how many checks passed.
"""
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import onnxruntime
import safetensors
import torch
from safetensors.torch import save_file

root = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(root / "examples/python"))
import export_onnx
import flowmatch_torch

program, compile_command = pathlib.Path(sys.argv[2]).resolve(), sys.argv[3:]
os.chdir(sys.argv[1])
torch.set_num_threads(1)
passed, failed, worst = 0, 0, {}


def check(what, holds):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    if not holds:
        print("FAILED:", what)


def check_close(what, group, got, expected, tolerance):
    """All numbers within tolerance times the largest one expected. The worst of each group is printed at the end."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    error = np.abs(got - expected).max() / np.abs(expected).max() if got.shape == expected.shape else np.inf
    worst[group] = max(worst.get(group, 0), error)
    check("%s: error %g" % (what, error), error <= tolerance)


def nets(*arguments):
    """Runs the C++ program; returns its error, which is empty if all is well."""
    return subprocess.run([program, *map(str, arguments)], stderr=subprocess.PIPE, text=True).stderr.strip()


def message_of(call, *arguments):
    """What a ValueError of the call says, or nothing."""
    try:
        call(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def numbers(name, *parts):
    return [np.load("%s_%s.npy" % (name, part)) for part in parts]


def torch_velocity(net, x, t, c):
    with torch.no_grad():
        return net(torch.tensor(x), torch.tensor(t), torch.tensor(c)).numpy()


# PyTorch and C++ sum in different orders: a few roundings of each layer. Those of float are 6e-8, of double 1e-16.
TOLERANCE = {"float": 1e-6, "double": 1e-14}


def velocity_nets():
    """Every net of C++ in PyTorch and onnxruntime; the same file, and a changed one, back in C++."""
    for file in sorted(pathlib.Path().glob("*_v.npy")):
        name = file.name[:-len("_v.npy")]
        scalar = name.split("_")[-1]
        x, t, c, v, euler = numbers(name, "x", "t", "c", "v", "euler")
        net = flowmatch_torch.load(name + ".safetensors")
        check_close(name + " in PyTorch", "PyTorch " + scalar, torch_velocity(net, x, t, c), v, TOLERANCE[scalar])
        if "steep" not in name:  # where every step would blow up what the one before rounded
            check_close(name + " by Euler", "Euler " + scalar,
                        flowmatch_torch.transport(net, torch.tensor(x), torch.tensor(c), steps=10), euler,
                        10 * TOLERANCE[scalar])

        session = onnxruntime.InferenceSession(export_onnx.model_of(name + ".safetensors").SerializeToString(),
                                               providers=["CPUExecutionProvider"])
        inputs = {key.name: value.astype(np.float32) for key, value in zip(session.get_inputs(), (x, t, c))}
        check_close(name + " in onnxruntime", "onnxruntime, weights of " + scalar, session.run(["v"], inputs)[0], v,
                    1e-6 if scalar == "float" else 2e-6)  # double is rounded first

        flowmatch_torch.save("back.safetensors", net)
        check(name + " back", nets("velocity", scalar, "back.safetensors", name + "_x.npy", name + "_t.npy",
                                   name + "_c.npy", "back.npy") == "")
        check(name + " back, to the bit", (np.load("back.npy") == v).all())

        optimiser = torch.optim.SGD(net.parameters(), lr=1e-2)  # a step changes every tensor that the samples see
        net(torch.tensor(x), torch.tensor(t), torch.tensor(c)).square().mean().backward()
        optimiser.step()
        changed = torch_velocity(net, x, t, c)
        check(name + " has changed", np.abs(changed - v).max() > 1e-5 * np.abs(v).max())
        flowmatch_torch.save("changed.safetensors", net)
        check(name + " changed and back", nets("velocity", scalar, "changed.safetensors", name + "_x.npy",
                                               name + "_t.npy", name + "_c.npy", "changed.npy") == "")
        check_close(name + " changed", "back in C++ " + scalar, np.load("changed.npy"), changed, TOLERANCE[scalar])


def model():
    """A net with units, of its data and of its conditions."""
    x, c, samples = numbers("model", "x", "c", "samples")
    model = flowmatch_torch.load("model.safetensors")
    check_close("a model", "model", model.sample(torch.tensor(x), torch.tensor(c), steps=10), samples, 1e-6)
    z = torch.randn(20, 2)
    check_close("units there and back", "model", model.normalizer(model.normalizer.inverse(z)), z, 1e-5)
    check("a constant row", (samples[:, 3] == 7).all())


def new_nets():
    """Nets that begin in PyTorch."""
    torch.manual_seed(1)
    x, t, c = torch.randn(20, 2), torch.rand(20, 1), torch.randint(0, 4, (20, 1)).float()
    c = torch.cat([c, torch.randn(20, 3)], 1)
    for net in (flowmatch_torch.ConditionalVelocityMlp(dim=2, hidden=[8, 8], classes=3, vector_dim=3, residual=True),
                flowmatch_torch.ConditionalVelocityMlp(dim=2, hidden=[8], classes=3, vector_dim=3, zero_output=True)):
        flowmatch_torch.save("new.safetensors", net)
        for part, value in zip("xtc", (x, t, c)):
            np.save("new_%s.npy" % part, value.numpy())
        check("a new net", nets("velocity", "float", "new.safetensors", "new_x.npy", "new_t.npy", "new_c.npy",
                                "new_v.npy") == "")
        v = torch_velocity(net, x.numpy(), t.numpy(), c.numpy())
        if net.options["zero_output"]:
            check("a net that starts with 0", (v == 0).all() and (np.load("new_v.npy") == 0).all())
        else:
            check_close("a new net", "back in C++ float", np.load("new_v.npy"), v, 1e-6)


def damage():
    """A flipped bit, in a file of either side, is found by both."""
    flowmatch_torch.save("silu_float_back.safetensors", flowmatch_torch.load("silu_float.safetensors"))
    for name in ("silu_float", "silu_float_back"):
        whole = pathlib.Path(name + ".safetensors").read_bytes()
        pathlib.Path("damaged.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        readers = (flowmatch_torch.load, export_onnx.model_of)
        for read in readers:
            check(name + " damaged, in Python", "expected checksum" in message_of(read, "damaged.safetensors"))
        check(name + " damaged, in C++", "damaged.safetensors: expected checksum" in nets(
            "velocity", "float", "damaged.safetensors", *["silu_float_%s.npy" % part for part in "xtcv"]))
        key = b'"flowmatch.format_version":"'
        pathlib.Path("newer.safetensors").write_bytes(whole.replace(key + b"1", key + b"2"))
        for read in readers:
            check(name + " of a newer format", "expected format version 1, got 2" in
                  message_of(read, "newer.safetensors"))


def state_dicts():
    """save_file(model.state_dict()) of modules that know nothing of flowmatch, loaded by load_state_dict."""
    torch.manual_seed(2)
    nn = torch.nn
    x, t, c = numbers("silu_float", "x", "t", "c")
    k = np.arange(1, 9)
    features = torch.tensor(np.concatenate([x, t, np.sin(k * np.pi * t), np.cos(k * np.pi * t)], 1))  # in double

    def imported(what, model, *names, scalar="float", tolerance=1e-6):
        """model(features) against v of the net that takes the model's numbers."""
        save_file(model.state_dict(), "state.safetensors", {"format": "pt"})
        files = ["x.npy", "t.npy", "c.npy"]
        for file, value in zip(files, (x, t, c)):
            np.save(file, value.astype(np.float64 if scalar == "double" else np.float32))
        error = nets("import", scalar, "silu_%s.safetensors" % scalar, "state.safetensors", *files, "v.npy", *names)
        check("%s: %s" % (what, error), error == "")
        with torch.no_grad():
            check_close(what, "state_dict, " + what, np.load("v.npy"), model.double()(features), tolerance)

    def sequential():
        return nn.Sequential(nn.Linear(19, 16), nn.SiLU(), nn.Linear(16, 12), nn.SiLU(), nn.Dropout(0),
                             nn.Linear(12, 2))

    imported("float", sequential())
    imported("double", sequential().double(), scalar="double", tolerance=1e-14)
    imported("double rounded to float", sequential().double())
    imported("half", sequential().half())
    imported("bfloat16", sequential().bfloat16())

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.velocity = sequential()

        def forward(self, z):
            return self.velocity(z)

    imported("behind a prefix", Wrapped())

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.hidden, self.last = nn.Linear(19, 16), nn.Linear(16, 12), nn.Linear(12, 2)

        def forward(self, z):
            return self.last(nn.functional.silu(self.hidden(nn.functional.silu(self.first(z)))))

    names = ["layers.%d.%s=%s.%s" % (l, part, module, part)
             for l, module in enumerate(("first", "hidden", "last")) for part in ("weight", "bias")]
    imported("a map of names", Named(), *names)
    arguments = ["import", "float", "silu_float.safetensors", "state.safetensors",
                 *["silu_float_%s.npy" % part for part in "xtcv"]]
    error = nets(*arguments)
    for l, module in enumerate(("first", "hidden", "last")):
        for part in ("weight", "bias"):
            check("missing: " + error, 'no tensor "layers.%d.%s"' % (l, part) in error)
            check("unknown: " + error, 'unknown tensor "%s.%s"' % (module, part) in error)
    save_file(nn.Sequential(nn.Linear(19, 16), nn.Linear(12, 16)).state_dict(), "state.safetensors")
    error = nets(*arguments)
    check("ill-shaped: " + error, 'tensor "1.weight" should be F32, F64, F16 or BF16 [12,16], is F32 [16,12]' in error
          and 'no tensor for "layers.2.weight"' in error)

    class Labelled(nn.Module):
        """A net of one's own with labels and a vector; only the table and the vector for none have flowmatch's names."""

        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(21, 8), nn.Tanh(), nn.Linear(8, 2))
            self.condition_embedding = nn.Embedding(4, 16)
            self.condition_null = nn.Parameter(torch.randn(2))

        def forward(self, x, t, c):
            label, none = c[:, 0].long(), c[:, :1] == 3
            vector = torch.where(none, self.condition_null, c[:, 1:])
            return self.net(torch.cat([x, t, self.condition_embedding(label), vector], 1))

    model, architecture = Labelled(), flowmatch_torch.ConditionalVelocityMlp(
        dim=2, hidden=[8], classes=3, vector_dim=2, activation="tanh")
    flowmatch_torch.save("labelled.safetensors", architecture)
    save_file(model.state_dict(), "state.safetensors")
    x, t = torch.randn(20, 2), torch.rand(20, 1)
    c = torch.cat([torch.arange(20)[:, None] % 4, torch.randn(20, 2)], 1)
    for file, value in zip("xtc", (x, t, c)):
        np.save(file + ".npy", value.numpy())
    error = nets("import", "float", "labelled.safetensors", "state.safetensors", "x.npy", "t.npy", "c.npy", "v.npy")
    check("labels: " + error, error == "")
    with torch.no_grad():
        check_close("labels", "state_dict, labels", np.load("v.npy"), model(x, t, c), 1e-6)


def arrays():
    """NumPy to C++ and back: every dtype, byte order, memory order, version, number of axes; others are refused."""
    values = np.arange(-60, 60)
    for dtype in ("u1", "i1", "<i4", ">i4", "<i8", ">i8", "<f4", ">f4", "<f8", ">f8"):
        for shape in ((120,), (20, 6), (5, 4, 6), (1, 120), (0, 3)):
            array = (values / 8 if "f" in dtype else values).astype(dtype)[:np.prod(shape)].reshape(shape)
            for order in "CF":
                for version in ((1, 0), (2, 0), (3, 0)) if shape == (20, 6) else (None,):
                    with open("in.npy", "wb") as file:
                        np.lib.format.write_array(file, np.asarray(array, order=order), version)
                    for scalar, written in (("float", "<f4"), ("double", "<f8")):
                        what = "%s %s %s %s %s" % (dtype, shape, order, version, scalar)
                        error = nets("npy", scalar, "in.npy", "out.npy")
                        check("%s: %s" % (what, error), error == "")
                        out = np.load("out.npy")
                        check(what, out.dtype == written and out.flags.c_contiguous
                              and np.array_equal(out, array.reshape(shape[0], int(np.prod(shape[1:])))))
    special = np.array([[np.inf, -np.inf, np.nan], [-0.0, 1e-310, 1.7e308]])
    np.save("in.npy", special)
    check("special values", nets("npy", "double", "in.npy", "out.npy") == ""
          and np.load("out.npy").tobytes() == special.tobytes())
    for dtype in ("?", "<i2", "<u2", "<u4", "<u8", "<f2", "<c8", "<U3", "S2", "<M8[s]", [("a", "<f4")]):
        np.save("in.npy", np.zeros((2, 3), dtype))
        check("%s is refused" % dtype, "in.npy: expected " in nets("npy", "float", "in.npy", "out.npy"))
    np.save("in.npy", np.float32(1))
    check("no axes", "at least one axis" in nets("npy", "float", "in.npy", "out.npy"))
    np.save("in.npy", np.array([[1, 2**24 + 1]]))
    check("too large for float", "up to 2^24, found 16777217" in nets("npy", "float", "in.npy", "out.npy"))
    check("but not for double", nets("npy", "double", "in.npy", "out.npy") == "")


def page():
    """Runs the blocks of docs/python.md in their order. Its C++ is one program, whose argument is the number of a block."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (root / "docs/python.md").read_text(), re.M | re.S)
    cases = enumerate(block for language, block in blocks if language == "cpp")
    pathlib.Path("page.cpp").write_text("""#include <flowmatch/flowmatch.hpp>
namespace fm = flowmatch;
int main(int, char** arguments) {
const int block = std::atoi(arguments[1]);
fm::Rng rng(42);
%s}
""" % "".join("if (block == %d) {\n%s}\n" % case for case in cases))
    subprocess.run([*compile_command, "page.cpp", "-o", "page"], check=True)
    os.symlink(root, "flowmatch")
    os.environ["PATH"] = os.path.dirname(sys.executable) + ":" + os.environ["PATH"]
    module, names, count = (root / "examples/python/flowmatch_torch.py").read_text(), {}, 0
    for language, block in blocks:
        if language == "cpp":
            subprocess.run(["./page", str(count)], check=True)
            count += 1
        elif language == "sh":
            subprocess.run(["bash", "-euc", block], check=True)
        elif block not in module:
            exec(compile(block, "docs/python.md", "exec"), names)
    check("samples of the page", names["samples"].shape == (1000, 2) and np.isfinite(names["x"]).all())
    # Noise has variance 1 in each coordinate, two moons 0.75 and 0.25: the flow of the page leads there.
    for samples in (names["samples"].numpy(), names["x"]):
        check("two moons, variance %s" % samples.var(0), np.abs(samples.var(0) - [0.75, 0.25]).max() < 0.15)
    shown = [block for language, block in blocks if block in module]
    check("the page shows a part of the module, and %d blocks" % len(blocks), len(shown) == 1 and len(blocks) >= 12)


print("Python %s, NumPy %s, PyTorch %s, safetensors %s, onnxruntime %s" % (
    sys.version.split()[0], np.__version__, torch.__version__, safetensors.__version__, onnxruntime.__version__))
subprocess.run([program, "make", "."], check=True)
velocity_nets()
model()
new_nets()
damage()
state_dicts()
arrays()
page()
for group, error in worst.items():
    print("largest error relative to the largest velocity, %s: %.1e" % (group, error))
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed > 0)
