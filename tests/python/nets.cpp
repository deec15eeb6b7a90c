// SPDX-License-Identifier: MIT
// The C++ side of tests/python/interop.py. SCALAR is float or double; X, T, C, V are .npy files, one row per sample.
//   nets make FOLDER                                    nets of all kinds, with inputs, velocities and Euler's samples
//   nets velocity SCALAR NET X T C V                    writes v(x, t, c) of a net in a file
//   nets import SCALAR NET STATE X T C V [BLOCK=TENSOR] that of a PyTorch state_dict, for the architecture of NET
//   nets npy SCALAR IN OUT                              reads and writes an array
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace fm = flowmatch;
using fm::Index;

namespace {

template <class Net> void fill_conditions(const Net&, fm::Rng& rng, fm::Matrix<typename Net::Scalar>& c) {
  fm::fill_normal(rng, c);
}
/// All labels, none of them included, for which the vector is not looked at.
template <class Scalar>
void fill_conditions(const fm::ConditionalVelocityMlp<Scalar>& net, fm::Rng& rng, fm::Matrix<Scalar>& c) {
  fm::fill_normal(rng, c);
  const Index classes = net.options().classes;
  for (Index j = 0; j < c.cols(); ++j) c(0, j) = Scalar(j % (classes + 1));
}

template <class Net> void make(const std::string& path, Net net, fm::Rng& rng, int factor = 1) {
  using Scalar = typename Net::Scalar;
  fm::Vector<Scalar> noise(net.parameters().size());
  fm::fill_normal(rng, noise);
  net.parameters() += Scalar(0.05) * noise;  // so that no norm is the identity and no embedding zero
  net.parameters() *= Scalar(factor);
  const Index n = 100;
  fm::Matrix<Scalar> x(net.dim(), n), c(net.condition_dim(), n), v(net.dim(), n);
  fm::RowVector<Scalar> t(n);
  fm::fill_normal(rng, x);
  fm::fill_uniform(rng, t);
  t = (3 * t.array() - 1).eval();  // beyond [0, 1] too
  fill_conditions(net, rng, c);
  net(x, t, c, v);
  fm::save(path + ".safetensors", net);
  fm::save_npy(path + "_x.npy", x);
  fm::save_npy(path + "_t.npy", t);
  fm::save_npy(path + "_c.npy", c);
  fm::save_npy(path + "_v.npy", v);
  fm::save_npy(path + "_euler.npy", fm::transport(net, x, c, fm::Euler{}, {.steps = 10}));
}

/// A model with a constant row, two components and conditions, and its samples by Euler from noise x.
void make_model(const std::string& path, fm::Rng& rng) {
  fm::Matrix<float> data(4, 100), c(2, 100), x(2, 100);
  fm::fill_normal(rng, data);
  fm::fill_normal(rng, c);
  fm::fill_normal(rng, x);
  data.row(3).setConstant(7);
  c = (5 + 2 * c.array()).matrix().eval();
  fm::Normalizer<float> normalizer(data), of_conditions(c);
  normalizer.components.resize(2, 4);
  normalizer.components << 0.6f, 0.8f, 0, 0, 0, 0, -1, 0;
  normalizer.deviation.resize(2);
  normalizer.deviation << 1.5f, 0.25f;
  const fm::FlowModel model(fm::VelocityMlp({.dim = 2, .condition_dim = 2, .hidden = {16, 16}}, rng), normalizer,
                            of_conditions);
  fm::save(path + ".safetensors", model);
  fm::save_npy(path + "_x.npy", x);
  fm::save_npy(path + "_c.npy", c);
  const auto z = fm::transport(model.net, x, of_conditions(c), fm::Euler{}, {.steps = 10});
  fm::save_npy(path + "_samples.npy", normalizer.inverse(z));
}

template <class Scalar> void make_all(const std::string& folder) {
  fm::Rng rng(1);
  const std::string end = sizeof(Scalar) == 4 ? "_float" : "_double";
  const auto velocity = [&](const std::string& name, const fm::VelocityMlpOptions& options, int factor = 1) {
    make(folder + "/" + name + end, fm::VelocityMlp<Scalar>(options, rng), rng, factor);
  };
  const auto conditional = [&](const std::string& name, const fm::ConditionalVelocityMlpOptions& options) {
    make(folder + "/" + name + end, fm::ConditionalVelocityMlp<Scalar>(options, rng), rng);
  };
  for (const auto& activation : fm::detail::activation_names) {
    const std::string name(activation.name);
    const auto f = activation.activation;
    velocity(name, {.dim = 2, .hidden = {16, 12}, .activation = f, .time_frequencies = 8});
    velocity(name + "_steep", {.dim = 2, .hidden = {16}, .activation = f}, 20);  // the tails of activations
    velocity(name + "_residual",
             {.dim = 3, .condition_dim = 2, .hidden = {16, 16, 16, 16}, .activation = f, .residual = true});
  }
  velocity("linear", {.dim = 3, .condition_dim = 1, .time_frequencies = 2});
  velocity("shallow", {.dim = 1, .hidden = {8}, .residual = true, .zero_output = true});
  velocity("wide", {.dim = 16, .hidden = {128, 128, 128}, .residual = true, .time_frequencies = 8});
  conditional("label", {.dim = 2, .classes = 3, .hidden = {16, 16}});
  conditional("vector", {.dim = 2, .vector_dim = 4, .hidden = {16, 16}, .activation = fm::Activation::tanh});
  conditional("label_and_vector", {.dim = 4,
                                   .classes = 10,
                                   .embedding_dim = 6,
                                   .vector_dim = 1,
                                   .hidden = {32, 32, 32},
                                   .residual = true,
                                   .time_frequencies = 3});
}

template <class Net> void write_velocity(const Net& net, const std::vector<std::string>& files) {
  using Scalar = typename Net::Scalar;
  const auto x = fm::load_npy<Scalar>(files.at(0)), t = fm::load_npy<Scalar>(files.at(1));
  fm::Matrix<Scalar> v(x.rows(), x.cols());
  net(x, t.row(0), fm::load_npy<Scalar>(files.at(2)), v);
  fm::save_npy(files.at(3), v);
}

/// body(net), with the net in the file, of whichever kind.
template <class Scalar, class Body> void with_net(const std::string& path, const Body& body) {
  for (const auto& [key, value] : fm::read_safetensors(path).metadata)
    if (key == "kind" && value == "conditional_velocity_mlp")
      return body(fm::load_conditional_velocity_mlp<Scalar>(path));
  body(fm::load_velocity_mlp<Scalar>(path));
}

template <class Scalar> void run(const std::string& command, std::vector<std::string> files) {
  const std::string first = files.at(0);
  files.erase(files.begin());
  if (command == "npy") return fm::save_npy(files.at(0), fm::load_npy<Scalar>(first));
  with_net<Scalar>(first, [&](auto net) {
    if (command == "import") {
      fm::TensorNames names;
      for (std::size_t i = 5; i < files.size(); ++i)
        names.emplace_back(files[i].substr(0, files[i].find('=')), files[i].substr(files[i].find('=') + 1));
      fm::load_state_dict(files.at(0), net, names);
      files.erase(files.begin());
    } else if (command != "velocity") {
      throw std::invalid_argument("no command " + command);
    }
    write_velocity(net, files);
  });
}

}

int main(int count, char** arguments) {
  try {
    const std::vector<std::string> words(arguments + 1, arguments + count);
    if (words.at(0) == "make") {
      make_all<float>(words.at(1));
      make_all<double>(words.at(1));
      fm::Rng rng(2);
      make_model(words.at(1) + "/model", rng);
    } else if (words.at(1) == "float") {
      run<float>(words[0], {words.begin() + 2, words.end()});
    } else {
      run<double>(words[0], {words.begin() + 2, words.end()});
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
