"""ESPnet's ``espnet2.bin.enh_scoring`` with the plugin registered."""

from espnet2.bin.enh_scoring import get_parser, main

import espnet2_tisdiss

# importing the package registers the plugin, also in processes started from this one
__all__ = ["espnet2_tisdiss", "get_parser", "main"]

if __name__ == "__main__":
    main()
