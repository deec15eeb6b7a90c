// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string>
#include <typeinfo>

namespace test {

/// What f throws: its message if it is of the expected type (itself, not a base class), else an explanation.
template <class Expected, class F> std::string message_of(const F& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return (typeid(e) == typeid(Expected) ? "" : "an exception of another type: ") + std::string(e.what());
  }
  return "nothing thrown";
}

}
