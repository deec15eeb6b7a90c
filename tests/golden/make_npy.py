# SPDX-License-Identifier: MIT
"""Writes npy/*.npy: arrays of every supported dtype, order and version, as NumPy itself saves them.

Element e, counted in C order, is (37 e mod 101) - 50, or 37 e mod 101 for unsigned types; for floats divided by 8.
tests/unit/format/npy_test.cpp recomputes them, and compares f4, f8 and f4_no_samples with what save_npy writes. Needs numpy.
"""
import pathlib

import numpy as np

folder = pathlib.Path(__file__).parent / "npy"
folder.mkdir(exist_ok=True)


def save(name, dtype, shape, fortran=False, version=None):
    values = (37 * np.arange(np.prod(shape))) % 101 - (0 if "u" in dtype else 50)
    array = (values / 8 if "f" in dtype else values).astype(dtype).reshape(shape)
    with open(folder / f"{name}.npy", "wb") as file:
        np.lib.format.write_array(file, np.asfortranarray(array) if fortran else array, version)


save("u1_images", "|u1", (4, 3, 5))
save("i1", "|i1", (7, 3))
save("i4", "<i4", (6, 2))
save("i4_big_endian", ">i4", (6, 2))
save("i8_flat", "<i8", (9,))
save("i8_big_endian", ">i8", (2, 4))
save("f4", "<f4", (5, 3))
save("f4_big_endian", ">f4", (5, 3))
save("f4_fortran", "<f4", (5, 3), fortran=True)
save("f8_fortran_images", "<f8", (3, 2, 4, 2), fortran=True)
save("f8", "<f8", (4, 2))
save("f8_big_endian", ">f8", (4, 2))
save("f8_version_2", "<f8", (4, 2), version=(2, 0))
save("f8_version_3", "<f8", (4, 2), version=(3, 0))
save("f4_no_samples", "<f4", (0, 3))
