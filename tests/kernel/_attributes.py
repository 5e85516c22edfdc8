"""Calls along with which the kernel changes extended attributes that no call names: ACLs and capabilities."""
import ctypes
import os
import struct

NO_ID = 0xFFFFFFFF
OWNER, USER, GROUP, MASK, OTHERS = 1, 2, 4, 16, 32
libc = ctypes.CDLL(None)


def acl(mask, owner=7, others=0):
    entries = [(OWNER, owner, 0), (USER, 5, 1000), (GROUP, 5, 0), (MASK, mask, 0), (OTHERS, others, 0)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)


def put(path, value, name="security.capability", text="text"):
    with open(path, "w") as file:
        file.write(text)
    os.setxattr(path, name, value)


os.mkdir("d")
os.setxattr("d", "system.posix_acl_default", acl(7, others=5))
open("d/new", "w").close()
os.mkdir("d/folder", 0o750)
os.mkdir("d/folder/deep")
os.symlink("new", "d/symlink")
os.mknod("d/fifo", 0o10666)
unnamed = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o620)
os.write(unnamed, b"unnamed")
libc.linkat(-100, b"/proc/self/fd/%d" % unnamed, -100, b"d/named later", 0x400)
open("moved", "w").close()
os.rename("moved", "d/moved")  # has no ACL: it was not made there
RENAME_WHITEOUT = 4  # what it leaves behind is made there
libc.renameat2(-100, b"d/moved", -100, b"d/moved on", RENAME_WHITEOUT)
os.rename("d/moved", "whiteout")

put("chmod", acl(7), "system.posix_acl_access")
os.chmod("chmod", 0o641)
put("minimal", acl(7), "system.posix_acl_access")
os.setxattr("minimal", "system.posix_acl_access", acl(7)[:4] + acl(7)[4:12] + acl(7)[20:28] + acl(7)[36:])
os.mkdir("both")
os.setxattr("both", "system.posix_acl_access", acl(3, owner=6))
os.setxattr("both", "system.posix_acl_default", acl(1))
os.removexattr("both", "system.posix_acl_default")
open("both/plain", "w").close()

for name in ["write", "append", "truncate", "opened", "owner", "kept", "moves", "mode", "allocated", "reserved", "punched"]:
    put(name, CAPABILITY)
with open("write", "r+") as file:
    file.write("other")
with open("append", "a") as file:
    file.write("more")
os.truncate("truncate", 4)  # to the size that it has
os.close(os.open("opened", os.O_WRONLY | os.O_TRUNC))
os.chown("owner", 12, -1)
os.utime("kept", (5, 5))
os.rename("moves", "moved away")
os.chmod("mode", 0o711)
allocated = os.open("allocated", os.O_WRONLY)
os.posix_fallocate(allocated, 0, 9)
for name, mode in [("reserved", 1), ("punched", 3)]:  # FALLOC_FL_KEEP_SIZE, and with FALLOC_FL_PUNCH_HOLE
    libc.fallocate64(os.open(name, os.O_WRONLY), mode, ctypes.c_long(1), ctypes.c_long(2))
os.posix_fallocate(os.open("punched", os.O_WRONLY), 0, 2)
