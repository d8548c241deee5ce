"""The suffixes by which recordings are found in folders.

A file that is named directly may have any suffix, because the content decides how it is read.
"""

# read by libsndfile; NIST sphere files of corpora are .sph, .nist, .wv1 and .wv2
_SNDFILE = """
    .wav .wave .wavex .bwf .rf64 .w64 .flac .aiff .aif .aifc .au .snd .caf .mp3 .mp2 .ogg .oga .opus
    .sph .nist .wv1 .wv2 .avr .htk .svx .8svx .iff .mat .mat4 .mat5 .mpc2k .paf .pvf .sd2 .sds .sf
    .ircam .voc .wve .xi .gsm
"""
# read by FFmpeg: phones, meeting programs, video
_FFMPEG = """
    .m4a .m4b .m4r .aac .adts .mp4 .m4v .mov .qt .3gp .3gpp .3g2 .amr .awb .wma .wmv .asf .mkv .mka
    .webm .weba .avi .flv .f4v .mpg .mpeg .vob .ts .mts .m2ts .ogv .ogx .spx .ac3 .eac3 .dts .ape
    .wv .tta .mpc
"""
READABLE_SUFFIXES = frozenset((_SNDFILE + _FFMPEG).split())
