"""Runs in a container that sees the volume of uploaded files; to save it, one that may only read it.

argv: what to do, and the folder where the volume is, and what more is named.

  list        one line for each entry below the folder, its fields separated by tabs, and `end` with their number last:
              kind (file, folder, link, other), path, mode, owner, group, modified (ns), size, changed (ns), inode,
              target. What `put` and `back` have set aside is left out.
  read        reads paths, as `list` writes them, from its standard input, one a line, and writes a tar archive of these
              files. One that changed while it was read follows again, up to three times; if it changed even then, an
              empty entry marked VIATIQUE.unstable follows. One that is gone is left out.
  put NAME    reads a tar archive and puts what is in it in its place, each file in one step. What stood there, and what
              the archive marks VIATIQUE.aside, is set aside under this name: nothing is ever removed. `end` with the
              number of entries comes last.
  back FROM TO
              puts back what was set aside under one name, and sets what stands there now, and what was put where nothing
              had stood, aside under the other. `end` comes last.
  asides      the names under which something is set aside, one a line, and `end` with their number.

Paths are written with every byte outside of printable ASCII as %XX.
"""

import os
import stat
import sys

# Where what gave way stands: in the volume itself, so that it is moved and not copied.
HIDDEN = b".viatique-deploy"
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
                if path == HIDDEN:
                    continue
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


class Aside:
    """What gave way, and which paths were taken where nothing had stood: enough to put all of it back."""

    def __init__(self, root, name):
        self.root = root
        self.files = os.path.join(root, HIDDEN, name, b"files")
        os.makedirs(self.files, exist_ok=True)
        self.taken = open(os.path.join(root, HIDDEN, name, b"taken"), "ab", buffering=0)

    def take(self, path):
        """Makes the place free."""
        if not self.move(path):
            self.taken.write(quoted(path).encode("ascii") + b"\n")

    def move(self, path):
        place = os.path.join(self.root, path)
        if not os.path.lexists(place):
            return False
        to, number = os.path.join(self.files, path), 0
        while os.path.lexists(to):
            number += 1
            to = os.path.join(self.files, path + b".%d" % number)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        os.rename(place, to)
        return True


def put_files(root, name):
    import shutil
    import tarfile

    os.umask(0o077)
    aside = Aside(root, name)
    arriving = os.path.join(root, HIDDEN, b"arriving")
    count = 0
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|", bufsize=PIECE) as archive:
        for entry in archive:
            count += 1
            path = unquoted(entry.name.encode("ascii"))
            place = os.path.join(root, path)
            if "VIATIQUE.aside" in entry.pax_headers:
                aside.move(path)
                continue
            if entry.isdir() and os.path.isdir(place) and not os.path.islink(place):
                continue
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if entry.isdir():
                aside.take(path)
                os.mkdir(place)
                os.chown(place, entry.uid, entry.gid)
                os.chmod(place, entry.mode)
            elif entry.issym():
                aside.take(path)
                os.symlink(unquoted(entry.linkname.encode("ascii")), place)
                os.chown(place, entry.uid, entry.gid, follow_symlinks=False)
            else:
                with open(arriving, "wb") as file:
                    shutil.copyfileobj(archive.extractfile(entry), file, PIECE)
                    os.fchown(file.fileno(), entry.uid, entry.gid)
                    os.fchmod(file.fileno(), entry.mode)
                modified = int(entry.pax_headers["VIATIQUE.modified"])
                os.utime(arriving, ns=(modified, modified))
                aside.take(path)
                os.rename(arriving, place)
    os.sync()
    print("end\t%d" % count)


def put_back(root, name, other):
    os.umask(0o077)
    folder = os.path.join(root, HIDDEN, name)
    aside = Aside(root, other)
    try:
        with open(os.path.join(folder, b"taken"), "rb") as taken:
            for line in taken:
                aside.move(unquoted(line.rstrip(b"\n")))
    except FileNotFoundError:
        pass
    files = os.path.join(folder, b"files")
    folders, count = [b""], 0
    while folders:
        below = folders.pop()
        for entry in list(os.scandir(os.path.join(files, below)) if os.path.isdir(files) else ()):
            path = os.path.join(below, entry.name)
            place = os.path.join(root, path)
            # A folder that stands is only the way to what was in it.
            if entry.is_dir(follow_symlinks=False) and os.path.isdir(place) and not os.path.islink(place):
                folders.append(path)
                continue
            os.makedirs(os.path.dirname(place), exist_ok=True)
            aside.take(path)
            os.rename(entry.path, place)
            count += 1
    if os.path.isdir(folder):
        import shutil

        # Nothing is left in it but folders, and the list.
        shutil.rmtree(folder)
    os.sync()
    print("end\t%d" % count)


def list_asides(root):
    try:
        names = sorted(entry.name for entry in os.scandir(os.path.join(root, HIDDEN)) if entry.is_dir())
    except FileNotFoundError:
        names = []
    for name in names:
        print(os.fsdecode(name))
    print("end\t%d" % len(names))


if __name__ == "__main__":
    work = {
        "list": list_entries,
        "read": read_files,
        "put": put_files,
        "back": put_back,
        "asides": list_asides,
    }[sys.argv[1]]
    work(*map(os.fsencode, sys.argv[2:]))
