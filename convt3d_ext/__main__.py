# SPDX-License-Identifier: BSD-3-Clause
"""``python -m convt3d_ext``."""

import sys

from convt3d_ext.cli import main

if __name__ == "__main__":
    sys.exit(main())
