#!/usr/bin/env bash
# Where the corpora are; local/data.sh reads this. A variable of the environment wins over this file.
# Folder names may hold spaces. Nothing is ever written into these folders.

# A LibriMix tree that is there already: the folder that holds Libri2Mix/ or Libri3Mix/.
# It is used as it is; the three others are not needed then.
LIBRIMIX=${LIBRIMIX:-}

# Otherwise the mixtures are made. LibriSpeech (https://www.openslr.org/12): the folder that holds
# train-clean-360/ (or train-clean-100/), dev-clean/ and test-clean/.
LIBRISPEECH=${LIBRISPEECH:-}

# LibriMix's metadata: the folder that holds Libri2Mix/libri2mix_*.csv. When empty, the tables that
# are needed are downloaded from https://github.com/JorisCos/LibriMix.
LIBRIMIX_METADATA=${LIBRIMIX_METADATA:-}

# Only for the noisy conditions: the folder wham_noise of http://wham.whisper.ai, which holds tr/, cv/
# and tt/ (16 kHz).
WHAM_NOISE=${WHAM_NOISE:-}

export LIBRIMIX LIBRISPEECH LIBRIMIX_METADATA WHAM_NOISE
