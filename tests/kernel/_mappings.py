"""
Stores through mappings that are moved in part, seen twice, or one of many; after each the file is copied aside and a folder made.
  _mappings.py ASIDE
"""
import ctypes
import mmap
import os
import shutil
import sys

PAGE = 4096
MAYMOVE, SYNC = 1, 4
libc = ctypes.CDLL(None)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
aside = sys.argv[1]


def mapped(name, pages):
    with open(name, "wb") as file:
        file.write(b"a" * PAGE * pages)
    fd = os.open(name, os.O_RDWR)
    at = libc.mmap(None, PAGE * pages, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, ctypes.c_long(0))
    os.close(fd)
    return at


def remapped(at, old, new):
    return libc.mremap(ctypes.c_void_p(at), ctypes.c_size_t(old), ctypes.c_size_t(new), MAYMOVE)


def unmapped(at, pages):
    libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(PAGE * pages))


def stored(name, at, text):
    ctypes.memmove(at, text, len(text))
    libc.msync(ctypes.c_void_p(at & -PAGE), ctypes.c_size_t(PAGE), SYNC)
    shutil.copy(name, os.path.join(aside, name))
    os.mkdir("after " + name)


part = mapped("part", 4)
unmapped(remapped(part + 2 * PAGE, PAGE, 2 * PAGE), 2)
stored("part", part + 100, b"what stayed")

twice = mapped("twice", 3)
second = remapped(twice, 0, 2 * PAGE)
unmapped(twice, 3)
stored("twice", second + PAGE + 5, b"the second view")

many = [mapped("many%d" % i, 1) for i in range(20)]
for at in many[:17]:
    unmapped(at, 1)
stored("many18", many[18] + 7, b"one of many")
if os.fork() == 0:
    stored("many19", many[19] + 7, b"a child has as many")
    os._exit(0)
os.wait()
