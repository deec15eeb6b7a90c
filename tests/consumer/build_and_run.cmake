# SPDX-License-Identifier: MIT
# cmake -D consumer=NAME ... -P build_and_run.cmake: builds consumer/NAME as a user would, in a folder of its own, and
# runs it.
file(REMOVE_RECURSE "${work_dir}")
file(MAKE_DIRECTORY "${work_dir}")
set(here "${source_dir}/tests/consumer")
set(compile "${compiler}" -std=c++20 -pthread "-I${source_dir}/include" -isystem "${eigen_include_dir}")
set(warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY WORKING_DIRECTORY "${work_dir}")
endfunction()

# fails(MESSAGE COMMAND...): the command must fail and its output contain the message.
function(fails message)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT WORKING_DIRECTORY "${work_dir}"
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output ECHO_ERROR_VARIABLE)
  string(FIND "${output}" "${message}" place)
  if(result EQUAL 0 OR place EQUAL -1)
    message(FATAL_ERROR "Expected failure with \"${message}\", got result ${result} and \"${output}\"")
  endif()
endfunction()

# A project with CMake: consumer/NAME/CMakeLists.txt.
function(build_project)
  run("${CMAKE_COMMAND}" -S "${here}/${consumer}" -B . -G "${generator}" -D "CMAKE_CXX_COMPILER=${compiler}"
      -D "Eigen3_DIR=${eigen_dir}" ${ARGN})
  run("${CMAKE_COMMAND}" --build .)
  run("${work_dir}/program")
endfunction()

if(consumer STREQUAL "find_package")
  run("${CMAKE_COMMAND}" --install "${flowmatch_build_dir}" --prefix "${work_dir}/prefix")
  build_project(-D "CMAKE_PREFIX_PATH=${work_dir}/prefix")

elseif(consumer STREQUAL "add_subdirectory")
  build_project(-D "flowmatch_source_dir=${source_dir}")

elseif(consumer STREQUAL "fetch_content")
  build_project(-D "FETCHCONTENT_SOURCE_DIR_FLOWMATCH=${source_dir}")

elseif(consumer STREQUAL "pkg_config")  # from an installed folder that was moved
  run("${CMAKE_COMMAND}" --install "${flowmatch_build_dir}" --prefix "${work_dir}/installed")
  file(RENAME "${work_dir}/installed" "${work_dir}/moved to")
  file(COPY "${here}/pkg_config/Makefile" "${here}/main.cpp" DESTINATION "${work_dir}")
  set(ENV{PKG_CONFIG_PATH} "${work_dir}/moved to/share/pkgconfig:$ENV{PKG_CONFIG_PATH}")
  run(make "CXX=${compiler}")
  run("${work_dir}/program")

elseif(consumer STREQUAL "bare")  # one call of the compiler, at -O2, where some warnings first appear
  run(${compile} ${warnings} -O2 "${here}/main.cpp" -o program)
  run("${work_dir}/program")

elseif(consumer STREQUAL "tutorial")
  # Every program and every command of docs/tutorial.md, as they stand there; they print what it says, but for digits.
  # The commands name g++: where this build's compiler is clang, the programs are checked only.
  file(CREATE_LINK "${source_dir}" "${work_dir}/flowmatch" SYMBOLIC)
  file(READ "${source_dir}/docs/tutorial.md" text)
  set(programs "")
  while(text MATCHES "```([a-z]*)\n(.*)")
    set(language "${CMAKE_MATCH_1}")
    string(FIND "${CMAKE_MATCH_2}" "\n```" end)
    string(SUBSTRING "${CMAKE_MATCH_2}" 0 ${end} block)
    math(EXPR end "${end} + 4")
    string(SUBSTRING "${CMAKE_MATCH_2}" ${end} -1 text)
    if(language STREQUAL "cpp")
      if(NOT block MATCHES "^// ([a-z_]+)\\.cpp: ")
        message(FATAL_ERROR "A program of docs/tutorial.md does not begin with its name, \"// name.cpp: \":\n${block}")
      endif()
      list(APPEND programs ${CMAKE_MATCH_1})
      file(WRITE "${work_dir}/${CMAKE_MATCH_1}.cpp" "${block}\n")
      run(${compile} ${warnings} -fsyntax-only ${CMAKE_MATCH_1}.cpp)  # by the compiler of this build
    elseif(compiler MATCHES "clang")
      continue()
    elseif(language STREQUAL "sh")
      file(WRITE "${work_dir}/commands.sh" "${block}\n")
      execute_process(COMMAND sh -eux commands.sh COMMAND_ERROR_IS_FATAL ANY WORKING_DIRECTORY "${work_dir}"
                      OUTPUT_VARIABLE printed ECHO_OUTPUT_VARIABLE)
    else()
      string(REGEX REPLACE "[0-9]+" "0" expected "${block}\n")
      string(REGEX REPLACE "[0-9]+" "0" printed "${printed}")
      if(NOT printed STREQUAL expected)
        message(FATAL_ERROR "docs/tutorial.md says that the commands above print\n${block}")
      endif()
    endif()
  endwhile()
  list(LENGTH programs count)
  if(count LESS 5)
    message(FATAL_ERROR "Expected at least 5 programs in docs/tutorial.md, got ${count}: ${programs}")
  endif()
  foreach(program IN LISTS programs)
    if(NOT compiler MATCHES "clang" AND NOT EXISTS "${work_dir}/${program}")
      message(FATAL_ERROR "No command of docs/tutorial.md builds ${program}.cpp")
    endif()
  endforeach()

elseif(consumer STREQUAL "no_exceptions")
  foreach(flags -fno-rtti "-fno-rtti;-fno-exceptions")
    run(${compile} ${warnings} ${flags} "${here}/no_exceptions.cpp" -o program)
    run("${work_dir}/program")
    fails("flowmatch: Sampler: expected 3 rows in c, got 4\n" "${work_dir}/program" shape)
    fails("flowmatch: Mlp: expected options.in >= 1, got 0\n" "${work_dir}/program" thread)
    fails("flowmatch: missing.safetensors: cannot be opened: " "${work_dir}/program" file)
  endforeach()

elseif(consumer STREQUAL "static_net")
  # Nets as headers, in a program that knows neither Eigen nor a heap: the same bits as those of the nets in memory.
  set(nets "${here}/static_net")
  run(${compile} -O2 "${nets}/write.cpp" -o write)  # as below: without optimisation nothing is fused
  execute_process(COMMAND "${work_dir}/write" COMMAND_ERROR_IS_FATAL ANY WORKING_DIRECTORY "${work_dir}"
                  OUTPUT_VARIABLE expected)
  foreach(flags -O2 "-O2;-fno-rtti;-fno-exceptions" -Os)
    foreach(unit use another_unit)
      run("${compiler}" -std=c++20 ${warnings} ${flags} "-I${source_dir}/include" "-I${work_dir}"
          -c "${nets}/${unit}.cpp" -o ${unit}.o -MD -MF ${unit}.d)
    endforeach()
    run("${compiler}" use.o another_unit.o -o use)
    execute_process(COMMAND "${work_dir}/use" COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE answered)
    if(NOT answered STREQUAL expected)
      message(FATAL_ERROR "The nets in the program do not answer as those in memory:\n${answered}not\n${expected}")
    endif()
    file(READ "${work_dir}/use.d" needed)
    execute_process(COMMAND nm -u use.o COMMAND_ERROR_IS_FATAL ANY WORKING_DIRECTORY "${work_dir}" OUTPUT_VARIABLE called)
    if(needed MATCHES "Eigen" OR called MATCHES "_Zn|malloc|__cxa|_Unwind_Resume")  # _Zn: operator new
      message(FATAL_ERROR "A net in the program needs Eigen, the heap or exceptions:\n${called}${needed}")
    endif()
  endforeach()

  # The programs of docs/embedded.md: one that trains, one that contains the net.
  file(READ "${source_dir}/docs/embedded.md" text)
  set(count 0)
  while(text MATCHES "```cpp\n(.*)")
    string(FIND "${CMAKE_MATCH_1}" "```" end)
    string(SUBSTRING "${CMAKE_MATCH_1}" 0 ${end} block${count})
    string(SUBSTRING "${CMAKE_MATCH_1}" ${end} -1 text)
    math(EXPR count "${count} + 1")
  endwhile()
  if(NOT count EQUAL 2)
    message(FATAL_ERROR "Expected 2 programs in docs/embedded.md, got ${count}")
  endif()
  file(WRITE "${work_dir}/train.cpp" "#include <flowmatch/flowmatch.hpp>\nnamespace fm = flowmatch;\nint main() {\n"
       "  fm::Rng rng(1);\n  Eigen::MatrixXf actions(2, 300), observations(2, 300);\n"
       "  fm::fill_normal(rng, actions);\n  fm::fill_normal(rng, observations);\n${block0}}\n")
  file(WRITE "${work_dir}/act.cpp" "${block1}\nint main() { return act({1, 2}, {3, 4}) == act({1, 2}, {3, 4}) ? 0 : 1; }\n")
  run(${compile} ${warnings} train.cpp -o train)
  run("${work_dir}/train")
  run("${compiler}" -std=c++20 ${warnings} -O2 -fno-rtti -fno-exceptions "-I${source_dir}/include" act.cpp -o act)
  run("${work_dir}/act")

elseif(consumer STREQUAL "mixed_flags")
  # Objects that disagree about Eigen's alignment, or about what an error does, must not link: the linker misses the
  # function with the namespace of the first in its signature. Nothing is run, so that any x86-64 will do.
  function(objects name)
    foreach(unit a b)
      run(${compile} ${ARGN} -c "${here}/mixed_flags/${unit}.cpp" -o ${unit}_${name}.o)
    endforeach()
    run("${compiler}" -pthread a_${name}.o b_${name}.o -o program_${name})
  endfunction()
  function(mixture_fails name other namespace)
    fails("has_parameters(flowmatch::${namespace}::VelocityMlp<float> const&)"
          "${CMAKE_COMMAND}" -E env LC_ALL=C "${compiler}" -pthread a_${name}.o b_${other}.o -o mixed)
  endfunction()
  objects(align16)
  objects(abort -fno-exceptions)
  mixture_fails(align16 abort ${abi}_align16)
  mixture_fails(abort align16 ${abi}_align16_abort)
  if(x86_64)
    objects(align32 -mavx)
    objects(align64 -mavx512f -mfma)
    mixture_fails(align16 align32 ${abi}_align16)
    mixture_fails(align32 align16 ${abi}_align32)
    mixture_fails(align64 align32 ${abi}_align64)
  endif()

else()
  message(FATAL_ERROR "No consumer ${consumer}")
endif()
