#!/usr/bin/env bash
# Folders of the corpora; local/data.sh reads this file. Variables of the environment take precedence.
# Folder names may contain spaces. Nothing is ever written into these folders.

# An existing LibriMix tree: the folder that holds Libri2Mix/ or Libri3Mix/.
# It is used unchanged; then the three others are not needed.
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
