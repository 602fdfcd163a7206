#!/bin/bash
# An archive with Slurm alone: one task of an array for each video, then one gallery of all people.
#
#   VIDEOS=videos.tsv OUT=runs slurm/submit.sh      # videos.tsv: columns name and path, tab-separated, with a header
#
# Submit again at will: finished stages are skipped. Logs are written to the present folder.
set -eu
export VIDEOS OUT WEIGHTS="${WEIGHTS:-}"
here=$(dirname "$0")
last=$(($(wc -l < "$VIDEOS") - 2))
videos=$(sbatch --parsable --array="0-$last%${AT_ONCE:-200}" "$here/video.sbatch")
sbatch --parsable --dependency="afterany:$videos" "$@" "$here/library.sbatch"
