# Installs the package in a fresh Debian and runs the program there, as an ordinary user and without a network.
#
# `cargo xtask dist --test` starts this script in a mount namespace of its own: the system is in memory, and
# nothing stays mounted, however the script ends. Arguments: the folder to mount the system on; the package; the
# tarball; the clip; the folder of the weights; where to put the runs; the release; a file with options of apt;
# the sources of apt.
set -eu
debian=$1 package=$2 tarball=$3 clip=$4 weights=$5 runs=$6 release=$7 options=$8
shift 8

mount -t tmpfs -o mode=755 tmpfs "$debian"
# Only what the package depends on is installed: what it recommends must not be needed here.
export package
mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
    --aptopt="$options" --dpkgopt=force-unsafe-io \
    --customize-hook='cp "$package" "$1/tmp"' \
    --customize-hook='chroot "$1" apt-get install -qq --no-install-recommends "/tmp/${package##*/}" >/dev/null' \
    --customize-hook='chroot "$1" apt-cache show ffmpeg python3-pip opencv-data xdg-utils >/dev/null' \
    "$release" "$debian" "$@" >&2

user=/srv/viewer
chroot "$debian" useradd --uid 1000 --create-home --home-dir "$user" viewer
mkdir "$debian$user/weights"
cp "$clip" "$debian$user/clip.mkv"
# The weights of the detector and of the embedders that a run uses by default; those of retail only where they are present.
cp "$weights"/yunet.* "$weights"/sface.* "$debian$user/weights"
if [ -e "$weights/retail.safetensors" ]; then
    cp "$weights"/retail.* "$debian$user/weights"
fi
tar --extract --gzip --directory "$debian$user" --file "$tarball"
chown -R 1000:1000 "$debian$user"

as_viewer() {
    unshare --net --pid --fork --mount-proc --root="$debian" --setuid=1000 --setgid=1000 --wd="$user" \
        env --ignore-environment HOME="$user" PATH=/usr/bin:/bin LANG=C.UTF-8 "$@"
}

as_viewer sh -eu <<'VIEWER'
facetrack --version >&2
facetrack doctor --weights-dir weights >/dev/null
facetrack run clip.mkv --weights-dir weights --quiet >/dev/null
facetrack validate runs/clip
facetrack-*/bin/facetrack validate runs/clip
cmp facetrack-*/bin/facetrack /usr/bin/facetrack
for page in facetrack facetrack-run facetrack-stage-ingest; do
    gzip --decompress --stdout "/usr/share/man/man1/$page.1.gz" | grep --quiet "^\.TH $page 1"
done
bash -c '. /usr/share/bash-completion/completions/facetrack && complete -p facetrack' >/dev/null
test -s /usr/share/zsh/vendor-completions/_facetrack
test -s /usr/share/fish/vendor_completions.d/facetrack.fish
test -s /usr/share/doc/facetrack/copyright
VIEWER

cp -r "$debian$user/runs" "$runs"
chroot "$debian" dpkg --purge facetrack >/dev/null
test ! -e "$debian/usr/share/doc/facetrack"
