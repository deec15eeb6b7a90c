// SPDX-License-Identifier: MIT
// Two nets with a bottleneck between them: few numbers that say what a picture shows.
#pragma once

#include "support/fit.hpp"

namespace support {

struct Autoencoder {
  flowmatch::Mlp<float> encoder, decoder;

  /// x = decoder(encoder(x)) in the mean square; x: dim x n, codes of `latents` numbers.
  Autoencoder(const Eigen::MatrixXf& x, flowmatch::Index latents, flowmatch::Rng& rng, const FitOptions& options)
      : encoder({.in = x.rows(), .hidden = {256, 256}, .out = latents}, rng),
        decoder({.in = latents, .hidden = {256, 256}, .out = x.rows()}, rng) {
    namespace fm = flowmatch;
    fm::AdamW adam(decoder.parameters(), {.weight_decay = options.weight_decay});
    const fm::CosineRate rate{.peak = options.learning_rate, .warmup = 50, .steps = options.steps};
    fm::Mlp<float>::Workspace workspace;
    Eigen::MatrixXf a, y, dy, dz;
    Eigen::VectorXf decoder_gradient(decoder.parameters().size());
    int step = 0;
    // The encoder is trained as any net, under a loss of its output that runs the decoder, forward and back.
    fit(encoder, x.cols(), rng, options, "autoencoder", [&](auto indices, auto& backprop, auto& gradient) {
      fm::take_columns(x, indices, a);
      const auto error = fm::mean_squared_error(a);
      decoder_gradient.setZero();
      const float value = backprop(
          encoder, a,
          [&](const auto& z, fm::Index first, auto&& loss_dz) {
            y.resize(x.rows(), z.cols());
            dy.resize(x.rows(), z.cols());
            decoder.forward(z, y, workspace);
            const float share = error(y, first, dy);
            decoder.backward(dy, workspace, decoder_gradient, dz);
            loss_dz = dz;
            return share;
          },
          gradient);
      adam.options.learning_rate = rate(step++);
      adam.step(decoder.parameters(), decoder_gradient);
      return value;
    });
  }

  Eigen::MatrixXf encode(const Eigen::MatrixXf& x) const { return evaluate(encoder, x); }
  Eigen::MatrixXf decode(const Eigen::MatrixXf& z) const { return evaluate(decoder, z); }
};

}
