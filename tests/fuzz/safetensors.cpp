// SPDX-License-Identifier: MIT
// Any bytes are a safetensors file or a std::runtime_error. What was read, every tensor of it can be converted; written
// with a checksum that is right, it is read again, and it makes a net or a model or is refused. So files without our
// checksum, of which the corpus has some, reach what a checksum would hide from changes.
#include <stdexcept>

#include "flowmatch/io/checkpoint.hpp"
#include "flowmatch/io/flow_model_file.hpp"
#include "memory_file.hpp"

namespace fm = flowmatch;

namespace {

template <class F> bool succeeds(const F& f) {
  try {
    f();
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fm::Safetensors file;
  if (!succeeds([&] { file = fm::read_safetensors(fuzz::memory_file(bytes, size)); })) return 0;
  for (const fm::TensorEntry& tensor : file.tensors) {
    const bool real = succeeds([&] { fm::tensor_numbers<float>(file, tensor); });
    const bool whole = succeeds([&] { fm::tensor_indices(file, tensor); });
    fuzz::expect(!(real && whole));
  }
  const std::string again = fm::detail::serialized_header(file) + std::string(file.data.begin(), file.data.end());
  const std::string& path = fuzz::memory_file(reinterpret_cast<const std::uint8_t*>(again.data()), again.size());
  const fm::Safetensors back = fm::read_safetensors(path);
  fuzz::expect(back.metadata == file.metadata && back.data == file.data && back.tensors.size() == file.tensors.size());
  succeeds([&] { fm::load_flow_model<>(path); });
  succeeds([&] { fm::load_flow_model<fm::ConditionalVelocityMlp<float>>(path); });
  succeeds([&] { fm::load_velocity_mlp<double>(path); });
  static fm::Rng rng(1);
  static fm::VelocityMlp net({.dim = 1, .hidden = {1}}, rng);
  static fm::Trainer trainer(net, {.ema_decay = 0});
  succeeds([&] { fm::resume(path, trainer); });
  return 0;
}
