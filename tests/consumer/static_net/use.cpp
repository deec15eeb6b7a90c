// SPDX-License-Identifier: MIT
// A program that contains the nets. It prints what they answer.
#include <cinttypes>
#include <cstdio>

#include "nets.hpp"

const void* plain_in_another_unit();

int main() {
  answers_of_all(true, [](std::uint64_t bits) { std::printf("%016" PRIx64 "\n", bits); });
  return plain_in_another_unit() == &plain ? 0 : 1;
}
