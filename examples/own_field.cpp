// SPDX-License-Identifier: MIT
// A velocity field of your own: any class with these members trains, samples and takes part in everything else.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
namespace fm = flowmatch;

/// v(x, t) = W cos(A [x; t] + b) with fixed random A and b: only the weights W are learned. The backward pass is one
/// line, since v is linear in W.
struct FourierField {
  using Scalar = float;
  struct Workspace {
    Eigen::MatrixXf features;  // what backward needs from forward
  };
  Eigen::MatrixXf A;
  Eigen::VectorXf b;
  Eigen::MatrixXf W;

  FourierField(fm::Index features, fm::Rng& rng) : A(features, 3), b(features), W(Eigen::MatrixXf::Zero(2, features)) {
    fm::fill_normal(rng, A);
    fm::fill_uniform(rng, b);
    A *= 1.5f;
    b *= 6.2832f;
  }
  fm::Index dim() const { return 2; }
  fm::Index condition_dim() const { return 0; }
  Eigen::Map<Eigen::VectorXf> parameters() { return {W.data(), W.size()}; }
  Eigen::Map<const Eigen::VectorXf> parameters() const { return {W.data(), W.size()}; }

  void forward(const auto& x, const auto& t, const auto& /*c*/, auto&& v, Workspace& w) const {
    w.features = A.leftCols(2) * x + A.col(2) * t;
    w.features = (w.features.colwise() + b).array().cos();
    v = W * w.features;
  }
  void backward(const auto& dv, Workspace& w, auto&& gradient) const {  // gradient += dW
    Eigen::Map<Eigen::MatrixXf>(gradient.data(), W.rows(), W.cols()) += dv * w.features.transpose();
  }
};
static_assert(fm::TrainableField<FourierField>);

int main() {
  fm::Rng rng(42);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 10000);

  FourierField field(256, rng);
  fm::Trainer trainer(field, {.steps = 2000, .learning_rate = 5e-3, .cosine = true});
  trainer.run(data, rng, [](const fm::TrainingStep& now) {
    if (now.step % 400 == 0) std::printf("step %4d  loss %.3f\n", int(now.step), now.loss);
  });

  const Eigen::MatrixXf x = fm::sample(field, 1000, rng, fm::Rk4{}, {.steps = 50});
  const Eigen::MatrixXf fresh = fm::toy::two_moons(rng, 1000), more = fm::toy::two_moons(rng, 1000);
  std::printf("2-Wasserstein distance to fresh data: %.3f (other fresh data: %.3f)\n", fm::wasserstein2(x, fresh),
              fm::wasserstein2(more, fresh));
}
