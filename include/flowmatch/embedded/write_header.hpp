// SPDX-License-Identifier: MIT
// A net as a C++ header: its weights become a part of the program (embedded/static_velocity_mlp.hpp).
#pragma once

#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "flowmatch/embedded/static_velocity_mlp.hpp"
#include "flowmatch/field/velocity_mlp.hpp"
#include "flowmatch/format/file.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// Throws std::invalid_argument unless a variable may have this name.
inline void check_identifier(const char* where, const std::string& name) {
  static constexpr std::string_view keywords =
      " alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class "
      "co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype "
      "default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline "
      "int "
      "long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register "
      "reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch template "
      "this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t "
      "while "
      "xor xor_eq ";
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  bool valid = !name.empty() && letter(name[0]) && name.find("__") == name.npos &&  // the rest is the compiler's
               keywords.find(' ' + name + ' ') == keywords.npos;
  for (char c : name) valid &= letter(c) || (c >= '0' && c <= '9') || c == '_';
  if (!valid) fail(where, {"expected a name that a variable may have, got \"", name, "\""});
}

/// Throws std::invalid_argument if the net is too large to be one.
inline VelocityMlpArchitecture architecture_of(const char* where, const VelocityMlpOptions& o) {
  VelocityMlpArchitecture architecture;
  if (o.hidden.size() > architecture.hidden.size())
    fail(where, {"expected at most ", architecture.hidden.size(), " hidden layers, got ", o.hidden.size()});
  const auto number = [&](const char* what, Index n) {
    if (n > std::numeric_limits<std::int16_t>::max()) fail(where, {"expected ", what, " below 2^15, got ", n});
    return int(n);
  };
  architecture.dim = number("options.dim", o.dim);
  architecture.condition_dim = number("options.condition_dim", o.condition_dim);
  for (std::size_t l = 0; l < o.hidden.size(); ++l)
    architecture.hidden[l] = number("every width in options.hidden", o.hidden[l]);
  architecture.activation = o.activation;
  architecture.residual = o.residual;
  architecture.time_frequencies = number("options.time_frequencies", o.time_frequencies);
  return architecture;
}

/// x as a literal of C++, to the bit and in every locale.
template <Real Scalar> std::string literal(Scalar x) {
  char text[64];
  const char* end = std::to_chars(text, text + sizeof text, std::abs(double(x)), std::chars_format::hex).ptr;
  return (std::signbit(x) ? "-0x" : "0x") + std::string(static_cast<const char*>(text), end) +
         (sizeof(Scalar) == 4 ? "f" : "");
}

}

/// Writes a header that defines name as a constexpr StaticVelocityMlp of this net, name_architecture and
/// name_parameters. It compiles alone, also under -fno-exceptions and -fno-rtti, in any number of files of a program,
/// and appears whole or not at all. The weights are hexadecimal literals, exact. Throws std::invalid_argument if name
/// is no name of a variable, the net has more than 16 hidden layers or a weight is not finite; std::runtime_error with
/// path and reason if the file cannot be written.
template <Real Scalar>
void write_header(const std::string& path, const VelocityMlp<Scalar>& net, const std::string& name) {
  constexpr auto where = "write_header";
  detail::check_identifier(where, name);
  detail::check_finite(where, "net.parameters()", net.parameters());
  const VelocityMlpArchitecture a = detail::architecture_of(where, net.options());
  detail::check_size(where, "net.parameters()", net.parameters().size(), a.parameters());
  const auto joined = [](const std::vector<Index>& numbers) {
    std::string text;
    for (Index n : numbers) text += (text.empty() ? "" : ", ") + std::to_string(n);
    return text;
  };
  std::string text =
      detail::concat({"// The velocity field ",
                      name,
                      ", written by flowmatch::write_header: ",
                      name,
                      ".velocity(x, t, c) and\n// ",
                      name,
                      ".sample<flowmatch::tableau::Heun, 8>(x, c).\n// clang-format off\n#pragma once\n\n"
                      "#include <flowmatch/embedded/static_velocity_mlp.hpp>\n\n"
                      "inline constexpr flowmatch::VelocityMlpArchitecture ",
                      name,
                      "_architecture = {.dim = ",
                      a.dim,
                      ", .condition_dim = ",
                      a.condition_dim,
                      ", .hidden = {",
                      joined(net.options().hidden),
                      "}, .activation = flowmatch::Activation::",
                      std::string(flowmatch::name(a.activation)),
                      ", .residual = ",
                      a.residual ? "true" : "false",
                      ", .time_frequencies = ",
                      a.time_frequencies,
                      "};\n\n"
                      "using ",
                      name,
                      "_net = flowmatch::StaticVelocityMlp<",
                      sizeof(Scalar) == 4 ? "float" : "double",
                      ", ",
                      name,
                      "_architecture>;\n\n"
                      "inline constexpr ",
                      name,
                      "_net::Parameters ",
                      name,
                      "_parameters = {"});
  for (const ParameterBlock& block : net.parameter_blocks()) {
    text += "\n    // " + block.name + " [" + joined(block.shape) + "]";
    for (Index i = 0; i < block.size(); ++i)
      text += (i % 8 == 0 ? "\n    " : " ") + detail::literal(net.parameters()(block.offset + i)) + ",";
  }
  text += "\n};\n\ninline constexpr " + name + "_net " + name + "(" + name + "_parameters);\n";
  detail::NewFile file(path);
  file.write(text.data(), text.size());
  file.finish();
}

}
}
