# SPDX-License-Identifier: MIT
# Untested: see ../../README.md. Takes the sources around it.
set(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../../..")
set(VCPKG_BUILD_TYPE release)  # header-only

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS -DFLOWMATCH_BUILD_TESTS=OFF -DFLOWMATCH_BUILD_EXAMPLES=OFF -DFLOWMATCH_INSTALL=ON -DFLOWMATCH_BUILD_COMPILED=OFF
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/flowmatch)
vcpkg_fixup_pkgconfig()
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
