# SPDX-License-Identifier: MIT
# cmake -D consumer=NAME ... -P build_and_run.cmake: builds consumer/NAME as a project of its own and runs it.
# bare has no build system: one compiler call with -I, at -O2, where some warnings first appear; there must be none.
file(REMOVE_RECURSE "${work_dir}")
file(MAKE_DIRECTORY "${work_dir}")
set(here "${source_dir}/tests/consumer")

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY WORKING_DIRECTORY "${work_dir}")
endfunction()

if(consumer STREQUAL "bare")
  run("${compiler}" -std=c++20 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -pthread
      "-I${source_dir}/include" -isystem "${eigen_include_dir}" "${here}/main.cpp" -o program)
else()
  if(consumer STREQUAL "find_package")
    run("${CMAKE_COMMAND}" --install "${flowmatch_build_dir}" --prefix "${work_dir}/prefix")
  endif()
  run("${CMAKE_COMMAND}" -S "${here}/${consumer}" -B . -G "${generator}" -D "CMAKE_CXX_COMPILER=${compiler}"
      -D "CMAKE_PREFIX_PATH=${work_dir}/prefix" -D "Eigen3_DIR=${eigen_dir}" -D "flowmatch_source_dir=${source_dir}")
  run("${CMAKE_COMMAND}" --build .)
endif()
run("${work_dir}/program")
