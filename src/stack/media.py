"""Runs in a container that sees the volume of uploaded files, and may only read it.

argv: what to do, and the folder where the volume is.

  list   one line for each entry below the folder, its fields separated by tabs, and `end` with their number last:
         kind (file, folder, link, other), path, mode, owner, group, modified (ns), size, changed (ns), inode, target
  read   reads paths, as `list` writes them, from its standard input, one a line, and writes a tar archive of these
         files. One that changed while it was read follows again, up to three times; if it changed even then, an empty
         entry marked VIATIQUE.unstable follows. One that is gone is left out.

Paths are written with every byte outside of printable ASCII as %XX.
"""

import os
import stat
import sys

SAFE = bytes(byte for byte in range(0x21, 0x7F) if byte != 0x25)
TRIES = 3
PIECE = 1 << 18


def quoted(path):
    if not path.translate(None, SAFE):
        return path.decode("ascii")
    return "".join(chr(byte) if byte in SAFE else "%%%02X" % byte for byte in path)


def unquoted(text):
    first, *rest = text.split(b"%")
    return first + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in rest)


def facts(seen):
    return (seen.st_mtime_ns, seen.st_size, seen.st_ctime_ns, seen.st_ino)


def line(root, path, seen):
    kind, target = "other", ""
    if stat.S_ISREG(seen.st_mode):
        kind = "file"
    elif stat.S_ISDIR(seen.st_mode):
        kind = "folder"
    elif stat.S_ISLNK(seen.st_mode):
        kind, target = "link", quoted(os.readlink(os.path.join(root, path)))
    mode = stat.S_IMODE(seen.st_mode)
    modified, size, changed, inode = facts(seen)
    return (
        f"{kind}\t{quoted(path)}\t{mode}\t{seen.st_uid}\t{seen.st_gid}"
        f"\t{modified}\t{size}\t{changed}\t{inode}\t{target}\n"
    )


def list_entries(root):
    count, folders = 1, [b""]
    sys.stdout.write(line(root, b".", os.lstat(root)))
    while folders:
        folder = folders.pop()
        above = folder + b"/" if folder else b""
        try:
            entries = os.scandir(root + b"/" + folder)
        except FileNotFoundError:
            continue
        lines = []
        with entries:
            for entry in entries:
                path = above + entry.name
                try:
                    lines.append(line(root, path, entry.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
        sys.stdout.write("".join(lines))
        count += len(lines)
    sys.stdout.write("end\t%d\n" % count)


class AsLongAsItWas:
    """What tar was told of its length stands; of one that has become shorter the rest is zeros."""

    def __init__(self, file):
        self.file = file

    def read(self, length):
        data = self.file.read(length)
        return data + bytes(length - len(data))


def header(tarfile, path, seen, **marks):
    info = tarfile.TarInfo(path)
    info.size = seen.st_size
    info.mode, info.uid, info.gid = stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid
    info.mtime = seen.st_mtime_ns // 1_000_000_000
    info.pax_headers = {"VIATIQUE." + name: value for name, value in marks.items()}
    return info


def read_files(root):
    # Not for a listing: it takes as long as listing some thousand files.
    import tarfile

    out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT, bufsize=PIECE)
    out.copybufsize = PIECE
    for asked in sys.stdin.buffer:
        asked = asked.rstrip(b"\n")
        path = os.path.join(root, unquoted(asked))
        for attempt in range(1, TRIES + 1):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                if os.path.lexists(path) and not os.path.islink(path):
                    raise
                break
            with os.fdopen(handle, "rb") as file:
                before = os.fstat(handle)
                if not stat.S_ISREG(before.st_mode):
                    break
                told = " ".join(map(str, facts(before)))
                out.addfile(header(tarfile, asked.decode("ascii"), before, stat=told), AsLongAsItWas(file))
                after = os.fstat(handle)
            if facts(before) == facts(after):
                break
            if attempt == TRIES:
                info = header(tarfile, asked.decode("ascii"), after, unstable="1")
                info.size = 0
                out.addfile(info)
    out.close()
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    work = {"list": list_entries, "read": read_files}[sys.argv[1]]
    work(os.fsencode(sys.argv[2]))
