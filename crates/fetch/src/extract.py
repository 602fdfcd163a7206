"""Writes one member of a zip or tar archive to a path: extract.py ARCHIVE MEMBER TARGET."""

import shutil
import sys
import tarfile
import zipfile

archive, member, target = sys.argv[1:]
if zipfile.is_zipfile(archive):
    source = zipfile.ZipFile(archive).open(member)
else:
    source = tarfile.open(archive).extractfile(member)
with open(target, "wb") as file:
    shutil.copyfileobj(source, file)
