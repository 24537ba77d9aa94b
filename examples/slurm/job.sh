#!/bin/sh
#SBATCH --time=01:00:00
#SBATCH --ntasks=1
# Replace the last line by your own processing.
epn=$1 project=$2 data=$3
echo "$epn of $project: $(find "$data" -type f | wc -l) files in $data"
