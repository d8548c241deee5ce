#!/usr/bin/env bash
# Where the recordings are; local/data.sh reads this. The options --voices, --public and --noise of
# run.sh and variables of the environment win over this file. Folder names may hold spaces. Nothing is
# ever written into these folders.

# Recordings of single speakers: a folder with utterances.tsv, or with a folder for each speaker.
VOICES=${VOICES:-}

# In place of VOICES: the public data sets that the README lists, as their owners publish them.
PUBLIC_VOICES=${PUBLIC_VOICES:-}

# Recordings of noise without speech, in any folders; without them there are no noisy mixtures.
NOISE=${NOISE:-}

export VOICES PUBLIC_VOICES NOISE
