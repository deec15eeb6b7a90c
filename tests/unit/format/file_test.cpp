// SPDX-License-Identifier: MIT
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <flowmatch/format/file.hpp>
#include <string>

#include "catch.hpp"
#include "support/files.hpp"
#include "support/message.hpp"

using flowmatch::detail::NewFile;
using test::Folder, test::read, test::write;

namespace {

std::string writing(const std::string& path, const std::string& bytes) {
  return test::message_of<std::runtime_error>([&] {
    NewFile file(path);
    file.write(bytes.data(), bytes.size());
    file.finish();
  });
}

}

TEST_CASE("a file is read whole, whatever its bytes and its size", "[io]") {
  const Folder folder;
  for (const std::size_t size : {0u, 1u, 65535u, 65536u, 65537u, 200000u}) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = char(i * i % 251);
    write(folder / "f", bytes);
    CHECK(flowmatch::detail::read_file(folder / "f") == bytes);
  }
}

TEST_CASE("a file that cannot be read is named with the reason", "[io]") {
  const auto reading = [](const std::string& path) {
    return test::message_of<std::runtime_error>([&] { flowmatch::detail::read_file(path); });
  };
  const Folder folder;
  const std::string missing = folder / "missing", directory = folder.path.string();
  CHECK(reading(missing) == "flowmatch: " + missing + ": cannot be opened: No such file or directory");
  CHECK(reading(directory) == "flowmatch: " + directory + ": cannot be read: Is a directory");
}

TEST_CASE("a new file takes the place of the old one when it is finished, and not before", "[io]") {
  const Folder folder;
  write(folder / "f", "old");
  write(folder / "f.part", "left by a crash");
  {
    NewFile file(folder / "f");
    file.write("ne", 2);
    CHECK(read(folder / "f") == "old");
    file.write("w", 1);
    file.finish();
    CHECK(read(folder / "f") == "new");
  }
  CHECK(read(folder / "f") == "new");
  CHECK(folder.files() == 1);
  {
    NewFile file(folder / "f");
    file.write("never finished", 14);
  }
  CHECK(read(folder / "f") == "new");
  CHECK(folder.files() == 1);
}

TEST_CASE("a full disk leaves the old file and nothing beside it, whenever it is noticed", "[io]") {
  const Folder folder;
  const std::string path = folder / "f";
  write(path, "old");
  rlimit limit{};  // on the size of files
  REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit before = limit;
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  limit.rlim_cur = 100;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  const std::string at_write = writing(path, std::string(100000, 'x'));
  const std::string at_close = writing(path, std::string(101, 'x'));  // until then it is in the stream's buffer
  const std::string fits = writing(folder / "g", std::string(100, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(at_write == "flowmatch: " + path + ": cannot be written: File too large");
  CHECK(at_close == at_write);
  CHECK(fits == "nothing thrown");
  CHECK(read(path) == "old");
  CHECK(folder.files() == 2);
}

TEST_CASE("a place where no file can be is an error that leaves nothing", "[io]") {
  const Folder folder;
  std::filesystem::create_directory(folder / "d");
  const std::string place = folder / "d", nowhere = folder / "no/f";
  CHECK(writing(place, "x") == "flowmatch: " + place + ": cannot be written: Is a directory");
  CHECK(writing(nowhere, "x") == "flowmatch: " + nowhere + ": cannot be written: No such file or directory");
  CHECK(folder.files() == 1);
}
