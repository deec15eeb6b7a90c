// SPDX-License-Identifier: MIT
// A field for one sample at a time: the same bits as in a tile, whatever the net.
#include <flowmatch/field/velocity_mlp.hpp>

#include "catch.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

/// v of each column of x by itself, and of all in one tile.
template <class Scalar> void check_against_tile(const fm::VelocityMlpOptions& options) {
  const Index n = 5;
  fm::Rng rng(std::uint64_t(options.dim));
  const fm::VelocityMlp<Scalar> net(options, rng);
  const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, options.dim, n);
  const fm::Matrix<Scalar> c = test::normal<Scalar>(rng, options.condition_dim, n);
  fm::RowVector<Scalar> t(n);
  fm::fill_uniform(rng, t);
  fm::Matrix<Scalar> together(options.dim, n), alone(options.dim, n);
  typename fm::VelocityMlp<Scalar>::Workspace workspace;
  net.forward(x, t, c, together, workspace);
  typename fm::VelocityMlp<Scalar>::OneSample one(net);
  for (Index j = 0; j < n; ++j) one(x.col(j), t.col(j), c.col(j), alone.col(j));
  CHECK(alone == together);  // to the bit
}

}

TEMPLATE_TEST_CASE("one sample has the bits that it has in a tile, for every activation", "[field]", float, double) {
  for (const auto& row : fm::detail::activation_names)
    for (const bool residual : {false, true}) {
      INFO(row.name << ", residual " << residual);
      check_against_tile<TestType>({.dim = 3,
                                    .condition_dim = 2,
                                    .hidden = {33, 33, 33},
                                    .activation = row.activation,
                                    .residual = residual,
                                    .time_frequencies = 3});
    }
}

TEMPLATE_TEST_CASE("one sample has the bits that it has in a tile, for every width", "[field]", float, double) {
  for (Index width : {1, 2, 3, 7, 15, 16, 17, 31, 63, 64, 65, 100, 129, 257})
    for (const bool residual : {false, true}) {
      INFO("width " << width << ", residual " << residual);
      check_against_tile<TestType>({.dim = 1 + width % 67, .hidden = {width, width}, .residual = residual});
      check_against_tile<TestType>({.dim = width, .hidden = {5}, .residual = residual, .time_frequencies = 1});
    }
  check_against_tile<TestType>({.dim = 4});
}

TEST_CASE("one sample is a snapshot: the field may change or go", "[field]") {
  fm::Rng rng(1);
  auto net = std::make_unique<fm::VelocityMlp<>>(fm::VelocityMlpOptions{.dim = 2, .hidden = {8}}, rng);
  fm::VelocityMlp<>::OneSample one(*net);
  const Eigen::MatrixXf x = Eigen::MatrixXf::Ones(2, 1), none(0, 1);
  const Eigen::RowVectorXf t = Eigen::RowVectorXf::Constant(1, 0.5f);
  Eigen::MatrixXf before(2, 1), after(2, 1), v(2, 1);
  fm::VelocityMlp<>::Workspace workspace;
  net->forward(x, t, none, before, workspace);
  net->parameters() *= 2;
  net->forward(x, t, none, after, workspace);
  net.reset();
  one(x, t, none, v);
  CHECK(v == before);
  CHECK(v != after);
}
