# SPDX-License-Identifier: MIT
"""Conan 2: `conan create docs/packaging/conan -s compiler.cppstd=20`. See README.md in the folder above."""

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load


class Flowmatch(ConanFile):
    name = "flowmatch"
    description = "Flow matching on Eigen, header-only"
    license = "MIT"
    topics = ("flow-matching", "generative-model", "eigen", "header-only")
    package_type = "header-library"
    settings = "os", "compiler"  # for the checks below: they are not in the package's id
    no_copy_source = True

    @property
    def _top(self):
        return os.path.join(self.recipe_folder, "..", "..", "..")

    def set_version(self):
        text = load(self, os.path.join(self._top, "include", "flowmatch", "version.hpp"))
        self.version = ".".join(re.findall(r"#define FLOWMATCH_VERSION_\w+ (\d+)", text))

    def export_sources(self):
        copy(self, "LICENSE", self._top, self.export_sources_folder)
        copy(self, "include/*.hpp", self._top, self.export_sources_folder)

    def requirements(self):
        self.requires("eigen/[>=3.4 <6]", transitive_headers=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def package_id(self):
        self.info.clear()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"), os.path.join(self.package_folder, "include"))

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_config_version_compat", "SameMinorVersion")
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["pthread"]
