// SPDX-License-Identifier: MIT
// The nets on a bare Cortex-M, without a C library: prints what they answer through the debugger (semihosting).
#include "nets.hpp"

extern "C" {
extern const std::uint32_t stack_top[];  // of board.ld
void reset();

void* memcpy(void* to, const void* from, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
  return to;
}
void* memset(void* to, int value, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) static_cast<char*>(to)[i] = char(value);
  return to;
}
}

namespace {

void call_debugger(int operation, const void* argument) {
  register int r0 asm("r0") = operation;
  register const void* r1 asm("r1") = argument;
  asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void print(std::uint64_t bits) {
  char line[18] = {};
  for (int k = 0; k < 16; ++k) line[k] = "0123456789abcdef"[(bits >> (60 - 4 * k)) & 15];
  line[16] = '\n';
  call_debugger(0x04, line);
}

[[gnu::noinline]] void run() {
  answers_of_all(__ARM_FP & 8, print);  // does the processor have doubles?
}

}

void reset() {
  *reinterpret_cast<volatile std::uint32_t*>(0xe000ed88) |= 0xfu << 20;  // the floating-point unit may be used
  asm volatile("dsb\nisb");
  run();
  call_debugger(0x18, reinterpret_cast<const void*>(0x20026));  // the program ends well
  for (;;) {}
}

[[gnu::section(".vectors"), gnu::used]] const void* const vectors[] = {stack_top,
                                                                       reinterpret_cast<const void*>(&reset)};
