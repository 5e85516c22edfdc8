"""Attributes that the kernel stores otherwise than a call says: in a user namespace, and after a write that failed."""
import ctypes
import os
import struct

NO_ID = 0xFFFFFFFF
NEW_USER = 0x10000000
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
SYS_WRITE, EFAULT_AT = 1, 16
libc = ctypes.CDLL(None)

entries = [(1, 7, NO_ID), (2, 5, 0), (4, 5, NO_ID), (16, 7, NO_ID), (32, 0, NO_ID)]
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

fd = os.open("bad address", os.O_CREAT | os.O_WRONLY)
os.write(fd, b"text")
os.setxattr("bad address", "security.capability", CAPABILITY)
libc.write(fd, ctypes.c_void_p(EFAULT_AT), 100)

os.mkdir("folder")
open("capable", "w").close()
for name in ["folder", "capable"]:
    os.chown(name, 1000, 1000)
os.chmod(".", 0o777)
if os.fork() == 0:
    os.setgroups([])
    os.setgid(1000)
    os.setuid(1000)
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self stays ours
    assert libc.unshare(NEW_USER) == 0
    for name, text in [("setgroups", "deny"), ("uid_map", "0 1000 1"), ("gid_map", "0 1000 1")]:
        with open("/proc/self/" + name, "w") as file:
            file.write(text)
    os.setxattr("folder", "system.posix_acl_default", acl)
    open("folder/has it", "w").close()
    os.setxattr("capable", "security.capability", CAPABILITY)
    os._exit(0)
assert os.wait()[1] == 0
