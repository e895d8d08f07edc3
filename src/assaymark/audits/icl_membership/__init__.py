"""Can an outsider tell from the generated text alone whether a sample is among the demonstrations of a prompt?"""
