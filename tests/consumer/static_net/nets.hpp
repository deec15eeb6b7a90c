// SPDX-License-Identifier: MIT
// What write.cpp has written, in its order.
#pragma once

#include "answers.hpp"
#include "plain.hpp"
#include "relu_net.hpp"
#include "residual.hpp"
#include "selu_net.hpp"
#include "softplus_net.hpp"
#include "tanh_net.hpp"
#include "twice.hpp"

/// print(bits) for what the nets answer. A machine that computes doubles in software gives other bits of them: the net
/// of doubles is the last, and may be left out.
template <class Print> void answers_of_all(bool doubles, const Print& print) {
  answers(plain, print);
  answers(residual, print);
  answers(tanh_net, print);
  answers(relu_net, print);
  answers(selu_net, print);
  answers(softplus_net, print);
  if (doubles) answers(twice, print);
}
