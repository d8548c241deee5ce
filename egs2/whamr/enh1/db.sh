#!/usr/bin/env bash
# Folders of the corpora. Write them here, or set the variables in the environment, which takes
# precedence. The first is enough; without it WHAMR! is made from the other three.

# An existing WHAMR!: the folder that holds wav8k/min/{tr,cv,tt}/{mix_both_reverb,s1_anechoic,...}
# (or wav16k, max).
WHAMR=${WHAMR:-}

# WSJ0 (LDC93S6A) as wav files: the folder that holds wsj0/si_tr_s/<speaker>/<utterance>.wav, si_dt_05
# and si_et_05.
WSJ0=${WSJ0:-}

# wham_noise: the folder that holds tr, cv, tt and metadata.
WHAM_NOISE=${WHAM_NOISE:-}

# The WHAMR! scripts, whose folder data holds mix_2_spk_filenames_*.csv and reverb_params_*.csv
# (or the folder of these files itself).
WHAMR_SCRIPTS=${WHAMR_SCRIPTS:-}

export WHAMR WSJ0 WHAM_NOISE WHAMR_SCRIPTS
