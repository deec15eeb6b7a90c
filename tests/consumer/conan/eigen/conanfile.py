# SPDX-License-Identifier: MIT
"""Stands in for ConanCenter's recipe of Eigen, with its name, target and version: the headers of this system."""

import os

from conan import ConanFile


class Eigen(ConanFile):
    name = "eigen"
    version = "3.4.0"
    package_type = "header-library"

    def package_info(self):
        self.cpp_info.includedirs = [os.environ["EIGEN_INCLUDE_DIR"]]
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_file_name", "Eigen3")
        self.cpp_info.set_property("cmake_target_name", "Eigen3::Eigen")
        self.cpp_info.set_property("pkg_config_name", "eigen3")
