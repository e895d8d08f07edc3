"""CLIPMem as functions on arrays: alignment and score, towers, detection of wrong captions, utility, removal, paraphrases.

References
----------
.. [1] Wang, Dziedzic, Kim, Backes, Boenisch. Captured by Captions: On Memorization and its Mitigation in CLIP Models. ICLR
   2025, arXiv 2502.07830.
.. [2] Wang, Kaleem, Dziedzic, Backes, Papernot, Boenisch. Memorization in Self-Supervised Learning Improves Downstream
   Generalization. ICLR 2024, arXiv 2401.12233.
.. [3] Jayaraman, Guo, Chaudhuri. Deja Vu Memorization in Vision-Language Models. NeurIPS 2024, arXiv 2402.02103.
"""
