# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced by examples/run and tests/run: finds out what is missing, installs it with apt-get, configures and builds.
# Expects $root, the top folder of the project.
: "${root:?}"

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

missing_packages=() missing_names=()
missing() { missing_packages+=("$1") missing_names+=("$2"); }

# need_command PACKAGE COMMAND...: any of the commands will do.
need_command() {
  local package=$1 command
  shift
  for command in "$@"; do have "$command" && return; done
  missing "$package" "$1"
}

# need_header PACKAGE NAME HEADER...: any of the headers, in the system's or the user's folders.
need_header() {
  local package=$1 name=$2 header folder folders
  shift 2
  IFS=:\; read -r -a folders <<<"/usr:/usr/local:${CMAKE_PREFIX_PATH:-}"
  for header in "$@"; do
    for folder in "${folders[@]}"; do [[ -n $folder && -e $folder/include/$header ]] && return; done
  done
  missing "$package" "$name"
}

need_toolchain() {
  need_command g++ g++ clang++
  need_command cmake cmake
  need_command ninja-build ninja make
  if [[ -z ${Eigen3_DIR:-} ]]; then need_header libeigen3-dev Eigen eigen3/Eigen/Core Eigen/Core; fi
}

# Installs what the need_... calls found missing: directly as root, after a question on a terminal, else not at all.
install_missing() {
  if ((${#missing_packages[@]})); then
    local as_root=(env) command log answer
    say "Missing: ${missing_names[*]}"
    command="apt-get install --yes --no-install-recommends ${missing_packages[*]}"
    if ! have apt-get; then
      say "Please install them; in Debian's names: ${missing_packages[*]}"
      return 1
    fi
    if [[ $(id -u) != 0 ]]; then
      if ! have sudo || [[ ! -t 0 ]]; then
        say "Please run, as root:  apt-get update && $command"
        return 1
      fi
      read -r -p "Run 'sudo $command'? [Y/n] " answer
      if [[ ! ${answer:-y} =~ ^[Yy] ]]; then return 1; fi
      sudo -v  # asks for the password here, before the output goes to a file
      as_root=(sudo env)
    fi
    say "Installing: ${missing_packages[*]}"
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" DEBIAN_FRONTEND=noninteractive \
      apt-get install --yes --no-install-recommends "${missing_packages[@]}"; } </dev/null >"$log" 2>&1; then
      tail -n 30 "$log" >&2
      say "apt-get could not install ${missing_packages[*]}; the whole log: $log"
      return 1
    fi
    rm -f "$log"
    missing_packages=() missing_names=()
  fi
  local version
  version=$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
  if [[ $(printf '%s\n' 3.25 "$version" | sort -V | head -n 1) != 3.25 ]]; then
    say "CMake $version is too old: 3.25 or newer is needed (Debian 12, Ubuntu 24.04 and later have it)."
    return 1
  fi
}

# quietly LOG COMMAND...: shows the output only if the command fails.
quietly() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  if ! "$@" </dev/null >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    say "Failed: $*"
    say "The whole log: $log"
    return 1
  fi
}

# configure PRESET [BUILD [CMAKE ARGUMENTS...]]: into build/BUILD, with ninja if there is one. A folder that was
# configured before keeps its generator.
configure() {
  local preset=$1 build=${2:-$1} generator=()
  shift "$(($# > 1 ? 2 : 1))"
  if [[ ! -e $root/build/$build/CMakeCache.txt ]] && have ninja; then generator=(-G Ninja); fi
  (cd "$root" && cmake --preset "$preset" -B "build/$build" ${generator[@]+"${generator[@]}"} "$@")
}

build() { cmake --build "$root/build/$1" --parallel "${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}" "${@:2}"; }
