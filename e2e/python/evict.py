"""Takes every file of the image that this runs in out of the page cache, and says what share of the largest one stays.

For a container of that image, as root, for the kernel tells nobody else what is in memory. What this program itself is
made of, the interpreter and the C library, stays.
"""

import ctypes
import json
import mmap
import os

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


def files():
    """Those of the image alone: other mounts are not its own."""
    image = os.stat("/").st_dev
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if os.lstat(os.path.join(folder, name)).st_dev == image]
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def resident(path):
    """The share of a file's pages that are in memory."""
    size = os.path.getsize(path)
    pages = -(-size // mmap.PAGESIZE)
    with open(path, "rb") as file:
        address = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    told = ctypes.create_string_buffer(pages)
    if LIBC.mincore(address, size, told) != 0:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(page & 1 for page in told.raw) / pages


os.sync()
largest = max(files(), key=os.path.getsize)
for path in files():
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
print(json.dumps({"largest": largest, "bytes": os.path.getsize(largest), "resident": resident(largest)}))
