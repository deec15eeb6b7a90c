// SPDX-License-Identifier: MIT
#include "flowmatch/io/parameters.hpp"

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "support/files.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

template <class Number> fm::Safetensors file_of(const std::vector<Number>& numbers, const std::string& dtype) {
  const auto* bytes = reinterpret_cast<const char*>(numbers.data());
  const std::uint64_t size = numbers.size() * sizeof(Number);
  return {.metadata = {},
          .tensors = {{.name = "a", .dtype = dtype, .shape = {Index(numbers.size())}, .begin = 0, .end = size}},
          .data = {bytes, bytes + size}};
}
template <class Scalar> bool same(Scalar a, Scalar b) { return a == b || (std::isnan(a) && std::isnan(b)); }

}

TEMPLATE_TEST_CASE("every number of 16 bits converts to its value", "[io]", float, double) {
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = std::uint16_t(i);
  const fm::Safetensors half = file_of(all, "F16"), brain = file_of(all, "BF16");
  const fm::Vector<TestType> f16 = fm::tensor_numbers<TestType>(half, half.tensors[0]),
                             bf16 = fm::tensor_numbers<TestType>(brain, brain.tensors[0]);
  REQUIRE(f16.size() == 65536);
  int wrong = 0;
  for (Index i = 0; i < 65536; ++i) {
    const TestType expected = TestType(float(Eigen::numext::bit_cast<Eigen::half>(std::uint16_t(i))));
    wrong += !same(f16(i), expected) || std::signbit(f16(i)) != (i >= 32768);
    wrong +=
        !same(bf16(i), TestType(std::bit_cast<float>(std::uint32_t(i) << 16))) || std::signbit(bf16(i)) != (i >= 32768);
  }
  CHECK(wrong == 0);
  CHECK(f16(0x3c00) == 1);
  CHECK(f16(0x0001) == std::ldexp(TestType(1), -24));
  CHECK(f16(0xfbff) == -65504);
  CHECK(f16(0x7c00) == std::numeric_limits<TestType>::infinity());
  CHECK(bf16(0x3f80) == 1);
}

TEST_CASE("floats and doubles come as they are, doubles rounded to floats where asked", "[io]") {
  const fm::Safetensors singles = file_of<float>({1.5f, -0.1f}, "F32"), doubles = file_of<double>({0.1, 1e300}, "F64");
  CHECK(fm::tensor_numbers<double>(singles, singles.tensors[0]) == Eigen::Vector2d(1.5, double(-0.1f)));
  CHECK(fm::tensor_numbers<double>(doubles, doubles.tensors[0]) == Eigen::Vector2d(0.1, 1e300));
  CHECK(fm::tensor_numbers<float>(doubles, doubles.tensors[0])(0) == 0.1f);
  CHECK(std::isinf(fm::tensor_numbers<float>(doubles, doubles.tensors[0])(1)));
}

TEST_CASE("arrays of every type are written, read back, and refused as another kind", "[io]") {
  const test::Folder folder;
  const std::vector<std::int64_t> whole = {std::numeric_limits<std::int64_t>::min(), -1, 1};
  const std::vector<std::uint8_t> bytes = {0, 255};
  const std::vector<float> singles = {1, 2, 3, 4, 5, 6};
  const std::vector<double> doubles = {0.1};
  fm::Safetensors file;
  fm::add_tensor<std::uint8_t>(file, "bytes", {2}, bytes);
  fm::add_tensor<std::int64_t>(file, "whole", {3, 1}, whole);  // not aligned in the file
  fm::add_tensor<float>(file, "singles", {2, 3}, singles);
  fm::add_tensor<double>(file, "double", {}, doubles);
  fm::add_tensor<float>(file, "none", {0, 3}, {});
  fm::write_safetensors(folder / "f", file);
  const fm::Safetensors back = fm::read_safetensors(folder / "f");
  CHECK(fm::tensor_indices(back, back.tensor("whole")) == whole);
  CHECK(fm::tensor_indices(back, back.tensor("bytes")) == std::vector<std::int64_t>{0, 255});
  CHECK(fm::tensor_numbers(back, back.tensor("singles")).transpose() == Eigen::RowVectorXf::LinSpaced(6, 1, 6));
  CHECK(fm::tensor_numbers<double>(back, back.tensor("double"))(0) == 0.1);
  CHECK(fm::tensor_numbers(back, back.tensor("none")).size() == 0);
  CHECK(back.tensor("whole").shape == std::vector<Index>{3, 1});

  CHECK(test::message_of<std::runtime_error>([&] { fm::tensor_numbers(back, back.tensor("whole")); }) ==
        "flowmatch: " + (folder / "f") + ": tensor \"whole\": expected F64, F32, F16 or BF16, got I64");
  CHECK(test::message_of<std::runtime_error>([&] { fm::tensor_indices(back, back.tensor("singles")); }) ==
        "flowmatch: " + (folder / "f") + ": tensor \"singles\": expected I64 or U8, got F32");

  fm::add_tensor<double>(file, "short", {2}, doubles);
  CHECK(test::message_of<std::invalid_argument>([&] { fm::write_safetensors(folder / "g", file); }) ==
        "flowmatch: write_safetensors: tensor \"short\": expected 16 bytes for F64 [2], got data_offsets [58, 66)");
}
