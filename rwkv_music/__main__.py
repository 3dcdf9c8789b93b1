"""`python -m rwkv_music` is `rwkv-music`."""

import sys

from rwkv_music.cli import main

if __name__ == "__main__":
    sys.exit(main())
