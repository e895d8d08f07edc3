"""SSLMem, LayerMem, UnitMem and ClassMem as functions on arrays, and what they are used for.

References
----------
.. [1] Wang, W., Dziedzic, A., Backes, M., Boenisch, F. Localizing Memorization in SSL Vision Encoders. NeurIPS 2024;
   arXiv:2409.19069.
.. [2] Wang, W., Kaleem, M. A., Dziedzic, A., Backes, M., Papernot, N., Boenisch, F. Memorization in Self-Supervised Learning
   Improves Downstream Generalization. ICLR 2024; arXiv:2401.12233.
.. [3] Morcos, A., Barrett, D., Rabinowitz, N., Botvinick, M. On the importance of single directions for generalization.
   ICLR 2018; arXiv:1803.06959.
"""
