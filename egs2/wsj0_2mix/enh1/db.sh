#!/usr/bin/env bash
# Folders of the corpora: write a folder after its :-, or set the variable in the environment, which
# takes precedence. One of the first two is enough.

# An existing WSJ0-2mix (and -3mix): the folder that holds 2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}
# (or 3speakers/..., wav16k, max), or a folder below it.
WSJ0_2MIX=${WSJ0_2MIX:-}

# WSJ0 (LDC93S6A): a folder with wsj0/si_tr_s/<speaker>/<utterance>.wav, si_dt_05 and si_et_05, or with the
# discs 11-1.1, 11-2.1, ... (sphere files; needs the program sph2pipe), five levels down at most.
WSJ0=${WSJ0:-}

# The folder that holds mix_2_spk_{tr,cv,tt}.txt (or mix_3_spk_...) and, there or in its folder activlev,
# activlev_*.txt: the folder metadata of https://github.com/mpariente/pywsj0-mix.
# What is missing is downloaded.
WSJ0_MIX_LISTS=${WSJ0_MIX_LISTS:-}

export WSJ0_2MIX WSJ0 WSJ0_MIX_LISTS
