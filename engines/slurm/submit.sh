#!/bin/bash
# An archive with Slurm alone: one task of an array for each video, then one gallery of all people.
#
#   VIDEOS=videos.tsv OUT=runs ./submit.sh          # videos.tsv: columns name and path, tab-separated, with a header
#
# Submit again at will: finished stages are skipped.
set -eu
export VIDEOS OUT WEIGHTS="${WEIGHTS:-}"
cd "$(dirname "$0")"
last=$(($(wc -l < "$VIDEOS") - 2))
videos=$(sbatch --parsable --array="0-$last%${AT_ONCE:-200}" video.sbatch)
sbatch --parsable --dependency="afterany:$videos" "$@" library.sbatch
