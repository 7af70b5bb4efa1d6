"""Networks that turn recordings into features; the only room that imports PyTorch.

``neurogpt`` (EEG), ``duin`` (intracranial EEG) and ``elm`` (one neuron) hold one architecture each and can be
read alone; ``checkpoint`` converts, saves and opens their weights.
"""
