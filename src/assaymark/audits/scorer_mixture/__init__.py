"""Is an image adult or not safe for work, decided more reliably than by any one network?

Answers with the weights of a mixture of scorers found by ordinary least squares, what each scorer contributes, and how the
mixture compares with every single scorer and their average. M. Al-Shabi, T. Connie, A. B. J. Teoh. Smart Content Recognition
from Images Using a Mixture of Convolutional Neural Networks. ICCST 2017; arXiv 1612.09506.
"""
