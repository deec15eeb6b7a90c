// SPDX-License-Identifier: MIT
// Errors are exceptions, and all of them leave from here. Under -fno-exceptions the same messages go to standard error
// and std::abort() ends the program. Such objects have a namespace of their own (core/types.hpp), so that a program
// that mixes the two does not link.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

#include "flowmatch/core/types.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

#if defined(__cpp_exceptions)

template <class Error> [[noreturn]] void raise(const std::string& message) { throw Error(message); }

/// What f() throws; null if it does not.
template <class F> std::exception_ptr caught(const F& f) noexcept {
  try {
    f();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

/// Returns f(). If it throws an Error, throws a std::runtime_error with the text explain(message) instead.
template <class Error, class F, class Explain> auto explained(const F& f, const Explain& explain) {
  try {
    return f();
  } catch (const Error& error) {
    throw std::runtime_error(explain(error.what()));
  }
}

#else

template <class Error> [[noreturn]] void raise(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
}
template <class F> std::exception_ptr caught(const F& f) {
  f();
  return nullptr;
}
template <class Error, class F, class Explain> auto explained(const F& f, const Explain&) { return f(); }

#endif

}
}
}
