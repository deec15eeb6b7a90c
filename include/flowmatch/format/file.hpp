// SPDX-License-Identifier: MIT
// Files as all readers and writers here treat them: opened, read whole or up to a size known before, written beside
// their place, flushed to the disk and renamed there. Every error is a std::runtime_error that names the file.
// Functions of io that run once for a file are marked as cold, so that they are made small: they take longer to compile
// than to run.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

[[noreturn, gnu::cold]] inline void fail_file(const std::string& path, Pieces what) {
  fail<std::runtime_error>(path, what);
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

inline File open_file(const std::string& path) {
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) fail_file(path, {"cannot be opened: ", std::strerror(errno)});
  return file;
}

/// All bytes of a file, or of a pipe.
inline std::string read_file(const std::string& path) {
  const File file = open_file(path);
  std::string bytes;
  char buffer[1 << 16];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, file.get())) bytes.append(buffer, n);
  if (std::ferror(file.get())) fail_file(path, {"cannot be read: ", std::strerror(errno)});
  return bytes;
}

/// A regular file open for reading, whose size is known before memory is taken for what it claims to hold.
class SizedFile {
 public:
  [[gnu::cold]] explicit SizedFile(const std::string& path) : path_(path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) fail({"expected a regular file"});
    file_ = open_file(path);  // not before: to open a pipe waits for its writer
    const bool at_end = std::fseek(file_.get(), 0, SEEK_END) == 0;
    const long end = at_end ? std::ftell(file_.get()) : -1;
    if (end < 0 || end == std::numeric_limits<long>::max() || std::fseek(file_.get(), 0, SEEK_SET) != 0)
      fail({"expected a regular file"});
    size_ = std::uint64_t(end);
  }

  [[noreturn, gnu::cold]] void fail(Pieces what) const { fail_file(path_, what); }

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  void read(void* bytes, std::size_t count, const char* what) {  // none may be at null, which fread does not take
    const std::size_t found = count > 0 ? std::fread(bytes, 1, count, file_.get()) : 0;
    if (std::ferror(file_.get())) fail({"cannot be read: ", std::strerror(errno)});
    if (found != count) fail({"expected ", count, " bytes of ", what, ", found ", found});
  }

 private:
  std::string path_;
  File file_;
  std::uint64_t size_ = 0;
};

inline std::string folder_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == path.npos ? "." : path.substr(0, slash + 1);
}

/// Waits until the names in the folder are on the disk. Returns false, with errno, if that fails; a folder that may not
/// be read or a file system that cannot do it is no failure.
inline bool flush_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno == EACCES;
  const int error = ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno;
  ::close(descriptor);
  errno = error;
  return error == 0;
}

/// A file that is written beside its place and renamed there by finish(), so that a reader sees the old file or the new
/// one, whole, also after a kill or a loss of power at any time. If a call throws, or finish() is not reached, the old
/// file is untouched and nothing is left beside it; with one exception: if the disk fails after the renaming, finish()
/// throws and the new file is in its place, whole.
class NewFile {
 public:
  [[gnu::cold]] explicit NewFile(const std::string& path)
      : path_(path), beside_(path + ".part"), folder_(folder_of(path)), file_(std::fopen(beside_.c_str(), "wb")) {
    if (!file_) fail_file(path_, {"cannot be written: ", std::strerror(errno)});
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (!renamed_) discard();
  }

  void write(const void* bytes, std::size_t count) {  // none may be at null, which fwrite does not take
    if (count > 0 && std::fwrite(bytes, 1, count, file_.get()) != count) fail();
  }
  void finish() {
    // On the disk before it has the name: else, after a loss of power, the name could stand for an empty file.
    if (std::fflush(file_.get()) != 0 || ::fsync(::fileno(file_.get())) != 0) fail();
    renamed_ = std::fclose(file_.release()) == 0 && std::rename(beside_.c_str(), path_.c_str()) == 0;
    if (!renamed_ || !flush_folder(folder_)) fail();
  }

 private:
  void discard() {
    file_.reset();
    std::remove(beside_.c_str());
  }
  [[noreturn, gnu::cold]] void fail() {
    const std::string reason = std::strerror(errno);
    if (!renamed_) discard();  // not left to the destructor, which does not run where errors end the program
    fail_file(path_, {"cannot be written: ", reason});
  }

  std::string path_, beside_, folder_;
  File file_;
  bool renamed_ = false;
};

}
}
}
