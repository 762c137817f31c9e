"""Pins how numbers are computed, so that the same seed gives the same bytes on any x86-64 machine with AVX2.

Import this module before NumPy. OpenBLAS chooses its kernels by the processor it finds and splits sums over as many
threads as there are cores, and a sum in another order rounds its last bit differently: two threads instead of one, or
the AVX-512 kernels instead of AVX2, were each seen to make another digits network. The forests and the boosted trees
came out the same. NumPy chooses kernels for exp and log too; that made no difference yet, and is pinned all the same.

On other processors (ARM) the settings have no effect: the network's bytes differ there, its predictions stay
within the tolerance.
"""

import os
import sys

_SETTINGS = {
    'OPENBLAS_CORETYPE': 'Haswell',  # the AVX2 kernels
    'NPY_DISABLE_CPU_FEATURES': 'X86_V4 AVX512_ICL AVX512_SPR',  # everything that NumPy dispatches above AVX2
    'OPENBLAS_NUM_THREADS': '1',  # the order of a sum split over threads depends on their number
    'OMP_NUM_THREADS': '1',
}

if 'numpy' in sys.modules:
    raise ImportError('arithmetic was imported after numpy, which has chosen its kernels already: import it first')
os.environ.update(_SETTINGS)
