#!/usr/bin/env bash
# Folders of the recordings; local/data.sh reads this file. The options --voices, --public and --noise
# of run.sh and variables of the environment take precedence. Folder names may contain spaces. Nothing
# is ever written into these folders.

# Recordings of single speakers: a folder with utterances.tsv, or with a folder for each speaker.
VOICES=${VOICES:-}

# Instead of VOICES: the public data sets that the README lists, in their published form.
PUBLIC_VOICES=${PUBLIC_VOICES:-}

# Recordings of noise without speech, in any folders; without them there are no noisy mixtures.
NOISE=${NOISE:-}

export VOICES PUBLIC_VOICES NOISE
