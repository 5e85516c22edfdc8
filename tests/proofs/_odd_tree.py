"""Makes odd trees and describes trees. Usage: make|change FOLDER FILES, list FOLDER.

Everything goes through directory descriptors, because some paths are longer than PATH_MAX. `list` prints one line per entry,
sorted: path as bytes, type, mode, owner, size, mtime, device, links among the entries, target, digest of the content. Blocks
of zeros do not count in the digest, so that holes of 5 GB cost nothing and may be holes or zeros.
"""
import hashlib, os, socket, stat, sys

DEEP = 300
BLOCK = 1 << 16
GIB = 1 << 30


def put(folder, name, data, mode=0o644):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode, dir_fd=folder)
    os.write(fd, data)
    os.close(fd)


def down(folder, name, mode=0o755):
    os.mkdir(name, mode, dir_fd=folder)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)


def deep(folder, name):
    at = os.dup(folder)
    for level in range(DEEP):
        below = down(at, b"%s-%03d-folder-in-folder" % (name, level))
        os.close(at)
        at = below
    put(at, b"bottom", b"deep\n")
    os.close(at)


def sparse(folder, name):
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder)
    os.ftruncate(fd, 5 * GIB)
    for offset in (0, 3 * GIB + 12345, 5 * GIB - 4):
        os.pwrite(fd, b"data", offset)
    os.close(fd)


def special(folder, prefix):
    os.mkfifo(prefix + b"fifo", 0o622, dir_fd=folder)
    os.mknod(prefix + b"null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=folder)
    os.mknod(prefix + b"disk", stat.S_IFBLK | 0o660, os.makedev(7, 200), dir_fd=folder)
    here = os.open(".", os.O_RDONLY)
    os.fchdir(folder)
    socket.socket(socket.AF_UNIX).bind(prefix + b"socket")
    os.fchdir(here)


def names(folder, prefix):
    for name in (b"\xff\xfe", b"a\nb", b"..data", b" two  words ", b"'\"$`", b"-rf", b"\xc3\xa9", b"e\xcc\x81", b"x" * 250):
        put(folder, prefix + name, b"named " + name)
    below = down(folder, prefix + b"\x80folder")
    os.symlink(b"../\xff/nowhere", b"\xfelink", dir_fd=below)
    os.link(prefix + b"\xff\xfe", b"hard\xfd", src_dir_fd=folder, dst_dir_fd=below)
    os.close(below)


def make(folder, files, prefix=b""):
    special(folder, prefix)
    sparse(folder, prefix + b"sparse")
    names(folder, prefix)
    deep(folder, prefix + b"d")
    many = down(folder, prefix + b"many")
    for number in range(files):
        put(many, b"file-%06d" % number, b"%d" % number)
    os.close(many)


def change(folder, files):
    """The same once more while it is recorded, and changes to what was there."""
    make(folder, files, b"n")
    for name in (b"fifo", b"socket", b"null"):
        os.chmod(name, 0o600, dir_fd=folder)
    os.rename(b"\xff\xfe", b"\xfd moved", src_dir_fd=folder, dst_dir_fd=folder)
    many = os.open(b"many", os.O_RDONLY, dir_fd=folder)
    for number in range(0, files, 2):
        os.unlink(b"file-%06d" % number, dir_fd=many)
    os.rename(b"d-000-folder-in-folder", b"moved", src_dir_fd=folder, dst_dir_fd=folder)
    fd = os.open(b"sparse", os.O_RDWR, dir_fd=folder)
    os.pwrite(fd, b"more", 4 * GIB)
    os.close(fd)


def digest(folder, name, size):
    fd = os.open(name, os.O_RDONLY, dir_fd=folder)
    total, offset = hashlib.sha256(), 0
    while offset < size:
        try:
            offset = os.lseek(fd, offset, os.SEEK_DATA) // BLOCK * BLOCK
        except OSError:
            break
        block = os.pread(fd, BLOCK, offset)
        if block.count(0) != len(block):
            total.update(b"%d:" % offset + block)
        offset += BLOCK
    os.close(fd)
    return total.hexdigest()


def describe(folder, path, name, groups):
    at = os.stat(name, dir_fd=folder, follow_symlinks=False)
    kind = stat.S_IFMT(at.st_mode)
    regular, link = kind == stat.S_IFREG, kind == stat.S_IFLNK
    group = "-"
    if at.st_nlink > 1 and kind != stat.S_IFDIR:
        group = repr(groups.setdefault(at.st_ino, path))
    words = [repr(path), oct(at.st_mode), at.st_uid, at.st_gid, at.st_size if regular else "-", at.st_mtime_ns]
    words += [at.st_rdev, group, os.readlink(name, dir_fd=folder) if link else "-"]
    words += [digest(folder, name, at.st_size) if regular else "-"]
    return " ".join(str(word) for word in words), kind == stat.S_IFDIR


def listing(top):
    groups = {}
    stack = [(os.open(top, os.O_RDONLY | os.O_DIRECTORY), b".")]
    print(describe(stack[0][0], b".", b".", groups)[0])
    lines = []
    while stack:
        folder, path = stack.pop()
        for name in sorted(os.fsencode(entry) for entry in os.listdir(folder)):
            line, is_folder = describe(folder, path + b"/" + name, name, groups)
            lines.append(line)
            if is_folder:
                stack.append((os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder), path + b"/" + name))
        os.close(folder)
    print("\n".join(sorted(lines)))


verb, where = sys.argv[1:3]
if verb == "list":
    listing(where)
else:
    top = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    (make if verb == "make" else change)(top, int(sys.argv[3]))
