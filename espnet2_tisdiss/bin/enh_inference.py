"""ESPnet's own ``espnet2.bin.enh_inference``, with the plugin registered."""

from espnet2.bin.enh_inference import get_parser, main

import espnet2_tisdiss

# importing the package registers it, here and in the processes that this one starts
__all__ = ["espnet2_tisdiss", "get_parser", "main"]

if __name__ == "__main__":
    main()
