# SPDX-License-Identifier: BSD-3-Clause
"""What the tests and the command line check and time, shipped so that users can run it too.

===============  ===========================================================================
module           answers
===============  ===========================================================================
``cases``        which problems (one notation, tiers, hand-chosen edges)?
``workloads``    which layers of real networks (suites kernelbench, real, synthetic)?
``operands``     on which data, in which memory layout, through which call?
``reference``    what is the right answer?
``compare``      is a result right?
``verification`` is this machine's convt3d_ext right for a case?
``timing``       how long does it take, and what could this machine do at best?
===============  ===========================================================================
"""
